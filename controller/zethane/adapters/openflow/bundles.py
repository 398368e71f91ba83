"""Bundles of one connection: changes that take effect all at once (ONF extension 230).

A switch leaves out of a bundle what it refuses to take in, and commits the rest. So the commit follows when a barrier
has shown that all was taken; what is sent meanwhile waits, and reaches the switch later.
"""

from __future__ import annotations

import asyncio
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from zethane.adapters.openflow import encode
from zethane.adapters.openflow.requests import Request, Requests
from zethane.adapters.openflow.writer import Gate, Writer
from zethane.pipeline.change import Change
from zethane.service.written import Watches, Written

_OPEN, _COMMIT, _DISCARD = 0, 4, 6
_ONF_BUNDLE = (0x4F4E4600, 2300)


def _start(places: range) -> int:
    return places.start


@dataclass(slots=True, eq=False)
class Members:
    """A bundle's messages by their numbers, and what has become of them.

    A switch tells at once what it refuses to take in, long before the commit, and forgets a bundle that is left alone.
    To one that it does not know it adds as to a new one: what is refused before must not be committed.
    """

    number: int
    watches: tuple[Written, ...]
    """Who was watching when it was begun."""
    first: int = 0
    places: list[range] = field(default_factory=list)
    """Where the messages are behind the first one, in order."""
    refused: str | None = None
    request: Request | None = None
    """What is waited for now, when it is being committed."""

    def add(self, xid: int) -> None:
        """One message more."""
        self.first = self.first or xid
        place = self._place(xid)
        if self.places and self.places[-1].stop == place:
            self.places[-1] = range(self.places[-1].start, place + 1)
        else:
            self.places.append(range(place, place + 1))

    def _place(self, xid: int) -> int:
        """How far a number is from the first; they begin again from 1."""
        return (xid - self.first) % 0xFFFFFFFF

    def __contains__(self, xid: int) -> bool:
        # There may be thousands of pieces, with set-ups in between, and a switch that sends errors and nothing else.
        place = self._place(xid)
        found = bisect_right(self.places, place, key=_start)
        return found > 0 and place in self.places[found - 1]

    def refuse(self, why: str) -> None:
        """The switch will not have it; only the first reason is told."""
        if self.refused is None:
            self.refused = why
        if self.request is not None:
            self.request.fail(why)


class Bundles:
    """Those that are on their way to a switch."""

    def __init__(self, loop: asyncio.AbstractEventLoop, writer: Writer, requests: Requests, watches: Watches) -> None:
        self._loop = loop
        self._writer = writer
        self._requests = requests
        self._watches = watches
        self._next = 1
        self._open: list[Members] = []

    def begin(self) -> Members:
        """Begin one. One that is never committed goes with the connection, or when nothing is added to it for some
        seconds."""
        members = Members(self._next, tuple(self._watches.active))
        self._next = members.number % 0xFFFFFFFF + 1
        members.add(xid := self._writer.next_xid())
        self._open.append(members)
        self._writer.send(encode.bundle_control(members.number, _OPEN, xid))
        return members

    def add(self, members: Members, changes: Sequence[Change]) -> None:
        """Write members of a bundle that is open."""
        self._watches.changes(changes)
        for body in encode.bodies.of(changes):
            members.add(xid := self._writer.next_xid())
            self._writer.send(encode.bundle_member(members.number, body, xid))

    def discard(self, members: Members) -> None:
        """Let go of a bundle that is open."""
        if members in self._open:
            self._open.remove(members)
            self._writer.send(encode.bundle_control(members.number, _DISCARD, self._writer.next_xid()))

    def commit(self, members: Members) -> asyncio.Task[None]:
        """Have a bundle taken and committed."""
        self._watches.committed(members.watches)
        last = self._writer.next_xid()
        self._writer.send(encode.barrier_request(last))
        members.request = taken = self._requests.expect(last)
        if members.refused is not None:
            members.refuse(members.refused)
        gate = self._writer.wait_behind()
        task = self._loop.create_task(self._commit(members, last, taken, gate))
        # One that is cancelled before it has begun does nothing by itself, and all would wait behind it for good.
        task.add_done_callback(lambda _: self._let_go(members, gate))
        return task

    async def _commit(self, members: Members, last: int, taken: Request, gate: Gate) -> None:
        try:
            await self._requests.wait(last, taken)
            xid = self._writer.next_xid()
            # Errors at the commit name the member that caused them, too.
            members.request = request = self._requests.expect(xid)
            self._writer.open(gate, encode.bundle_control(members.number, _COMMIT, xid))
            await self._requests.wait(xid, request)
        finally:
            self._let_go(members, gate)

    def _let_go(self, members: Members, gate: Gate) -> None:
        """A bundle is committed or not; what waits behind it goes out."""
        if members in self._open:
            self._open.remove(members)
        if gate in self._writer.gates:
            discard = encode.bundle_control(members.number, _DISCARD, self._writer.next_xid())
            self._writer.open(gate, discard)

    def replied(self, xid: int, body: bytes) -> None:
        """The switch has done something with a bundle, if this is about one."""
        if len(body) >= 16 and struct.unpack_from("!II", body) == _ONF_BUNDLE:
            self._requests.answer(xid, body)

    def refuse(self, xid: int, what: str) -> None:
        """The switch refuses a message, which may be a part of one."""
        for members in self._open:
            if xid in members:
                members.refuse(what)

    def fail(self, reason: str) -> None:
        """The connection is gone, and all of them with it."""
        for members in self._open:
            members.refuse(reason)
        self._open.clear()


class OpenBundle:
    """Implements `service.switch.Bundle`. It begins with its first member."""

    def __init__(self, bundles: Bundles) -> None:
        self.size = 0
        self._bundles = bundles
        self._members: Members | None = None

    def add(self, changes: Sequence[Change]) -> None:
        """Write these behind the others."""
        self.size += len(changes)
        self._bundles.add(self._begun(), changes)

    @property
    def is_refused(self) -> bool:
        """Whether the switch has refused a part of it, or let all of it go."""
        return self._members is not None and self._members.refused is not None

    def commit(self) -> asyncio.Task[None]:
        """Let all of them take effect; the task raises ChannelError if the switch refuses, and nothing has changed."""
        return self._bundles.commit(self._begun())

    def discard(self) -> None:
        """Let none of them take effect, ever."""
        if self._members is not None:
            self._bundles.discard(self._members)

    def _begun(self) -> Members:
        if self._members is None:
            self._members = self._bundles.begin()
        return self._members
