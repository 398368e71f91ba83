"""Bounds the bodies of requests before anything reads them, and reads what an application leaves unread.

A body that is still on its way when the answer is complete would have the connection reset: the client would lose the
answer.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyTooLargeError(HTTPException):
    """The body of a request went over the limit while it was read: the rest is not, so the connection ends."""

    def __init__(self) -> None:
        super().__init__(413, "The request is too large.", {"connection": "close"})


class BodyLimit:
    """Refuses bodies of more than `limit` bytes: by the length they declare, and by what is really sent.

    No answer begins before the body has come; for how long that may take, the server has its deadlines.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._declared(scope) > self._limit:
            await _too_large(scope, receive, send)
            return
        started = complete = False
        received = 0

        async def read() -> Message:
            nonlocal received, complete
            message = await receive()
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            return message

        async def counted() -> Message:
            message = await read()
            if received > self._limit:
                raise BodyTooLargeError
            return message

        async def noting_start(message: Message) -> None:
            nonlocal started
            while not (started or complete or received > self._limit):
                await read()
            started = True
            await send(message)

        try:
            await self._app(scope, counted, noting_start)
        except BodyTooLargeError:
            if started:
                raise
            await _too_large(scope, receive, send)

    def _declared(self, scope: Scope) -> int:
        """The declared length; the HTTP parser has bounded how many digits it may have."""
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        return max((int(value) for value in lengths if value.isdigit()), default=0)


async def _too_large(scope: Scope, receive: Receive, send: Send) -> None:
    # The rest of the body is not read: the connection cannot be used again.
    response = Response("The request is too large.\n", 413, {"connection": "close"}, "text/plain; charset=utf-8")
    await response(scope, receive, send)
