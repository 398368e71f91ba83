"""Requests of one connection that wait for their answers (OpenFlow 1.3.5 §7.3.5, §7.3.8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from zethane.adapters.openflow import encode
from zethane.adapters.openflow.writer import Writer
from zethane.errors import ChannelError

_MULTIPART_MORE = 1


@dataclass(slots=True)
class Request:
    """A request that waits for its answer; list answers collect their parts."""

    answer: asyncio.Future[bytes]
    limit: int
    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def fail(self, why: str) -> None:
        """There is no answer, if there was none before."""
        if not self.answer.done():
            self.answer.set_exception(ChannelError(why))
            self.answer.exception()  # retrieved: a waiter that was cancelled will not do it


class Requests:
    """By their numbers. Each is waited for as long as `seconds`, and may bring `list_bytes` if nothing else is said;
    `give_up` is called with a reason when the connection has to end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        writer: Writer,
        seconds: float,
        list_bytes: int,
        give_up: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._writer = writer
        self._seconds = seconds
        self._list_bytes = list_bytes
        self._give_up = give_up
        self._waiting: dict[int, Request] = {}
        self._closed_for: str | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def ask(self, build: Callable[[int], bytes]) -> bytes:
        """The answer to what `build` makes of a number. Raises ChannelError."""
        xid = self._writer.next_xid()
        self._writer.send(build(xid))
        return await self.wait(xid, self.expect(xid))

    async def barrier(self) -> None:
        """Return when the switch has processed all that was sent before. Raises ChannelError."""
        await self.ask(encode.barrier_request)

    def expect(self, xid: int, limit: int | None = None) -> Request:
        """An answer of at most `limit` bytes is to come."""
        request = Request(self._loop.create_future(), limit or self._list_bytes)
        self._waiting[xid] = request
        if self._closed_for is not None:
            request.answer.set_exception(ChannelError(self._closed_for))
        return request

    async def wait(self, xid: int, request: Request) -> bytes:
        """The answer. Raises ChannelError."""
        try:
            return await asyncio.wait_for(request.answer, self._seconds)
        except asyncio.TimeoutError:
            self._give_up("no answer to a request")
            raise ChannelError("no answer to a request") from None
        finally:
            self._waiting.pop(xid, None)

    def forget(self, xid: int, request: Request) -> None:
        """Nobody waits for this one any more."""
        self._waiting.pop(xid, None)
        request.answer.cancel()

    def answer(self, xid: int, body: bytes) -> None:
        """An answer has come. What nobody asked for is passed over."""
        request = self._waiting.get(xid)
        if request is not None and not request.answer.done():
            request.answer.set_result(body)

    def part(self, xid: int, body: bytes) -> None:
        """A part of a list has come. Raises ChannelError if that makes too much."""
        request = self._waiting.get(xid)
        if request is None or len(body) < 8:
            return
        request.size += len(body)
        if request.size > request.limit:
            raise ChannelError("an answer is too long")
        request.parts.append(body[8:])
        if not int.from_bytes(body[2:4], "big") & _MULTIPART_MORE:
            self.answer(xid, b"".join(request.parts))

    def refuse(self, xid: int, what: str) -> bool:
        """The switch answers with an error. False if nobody waits for the answer."""
        request = self._waiting.get(xid)
        if request is None:
            return False
        if not request.answer.done():
            request.answer.set_exception(ChannelError(what))
        return True

    def close(self, reason: str) -> None:
        """Whoever asks from here on has this for an answer."""
        self._closed_for = reason

    def fail(self, reason: str) -> None:
        """Whoever waits has this for an answer, and who asks from here on."""
        self._closed_for = reason
        for request in self._waiting.values():
            request.fail(reason)
        self._waiting.clear()
