"""An answer does not begin before the request's body has come, whatever the application reads of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zethane.api.body_limit import BodyLimit

LIMIT = 10


async def heedless(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without a look at the body."""
    await PlainTextResponse("done")(scope, receive, send)


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads it all."""
    while (await receive()).get("more_body"):
        pass
    await PlainTextResponse("done")(scope, receive, send)


class Client:
    """Sends a body in pieces, and notes how many of them were read when the answer began."""

    def __init__(self, pieces: Sequence[bytes], *, leaves: bool = False) -> None:
        self._left: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": leaves or number + 1 < len(pieces)}
            for number, piece in enumerate(pieces)
        ]
        self._left += [{"type": "http.disconnect"}] if leaves else []
        self.status = 0
        self.unread = -1

    async def receive(self) -> Message:
        return self._left.pop(0)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.unread = message["status"], len(self._left)

    async def ask(self, app: BodyLimit) -> Client:
        await app({"type": "http", "method": "POST", "headers": []}, self.receive, self.send)
        return self


@pytest.mark.parametrize("app", [heedless, reading])
@pytest.mark.parametrize("pieces", [[b""], [b"{}"], [b"", b"{", b"}"]])
async def test_the_answer_begins_when_all_of_the_body_has_come(app: ASGIApp, pieces: list[bytes]) -> None:
    client = await Client(pieces).ask(BodyLimit(app, LIMIT))
    assert (client.status, client.unread) == (200, 0)


async def test_a_body_that_never_ends_is_not_waited_for() -> None:
    client = await Client([b"x" * 6] * 5).ask(BodyLimit(heedless, LIMIT))
    assert (client.status, client.unread) == (200, 3)
    assert (await Client([b"x" * 6] * 5).ask(BodyLimit(reading, LIMIT))).status == 413


async def test_who_hangs_up_in_the_middle_is_not_waited_for() -> None:
    client = await Client([b"x"], leaves=True).ask(BodyLimit(heedless, LIMIT))
    assert client.unread == 0
