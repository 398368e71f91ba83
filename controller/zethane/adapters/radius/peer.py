"""One port of one server: its sockets, what is on its way, retransmission, and whether it is alive.

A packet's identifier has 8 bits, so that a socket can wait for 256 answers; beyond that there are more sockets.
Answers are told apart by socket and identifier, and believed by their authenticators; all else is counted and
left alone: the right answer may still come (RFC 2865 §3).
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from zethane.adapters.radius.packet import InvalidPacket, Packet, Request, read
from zethane.errors import ZethaneError

IDENTIFIERS = 256
MAX_SOCKETS = 8
RECEIVE_BUFFER = 2**20
RESOLVE_TIMEOUT = 5.0

_log = structlog.get_logger("zethane.radius")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for. Times in seconds."""

    timeout: float = 3.0
    attempts: int = 3
    dead_time: float = 60.0


class NotAnswered(ZethaneError):  # noqa: N818  # says what happened
    """No valid answer came; `invalid` tells whether any came at all."""

    def __init__(self, server: str, *, invalid: bool) -> None:
        self.invalid = invalid
        super().__init__(f"{server} has not answered")


Check = Callable[[Request, Packet], None]
"""Raises InvalidPacket for what is no answer to the request."""

Build = Callable[[int], Request]
"""Makes the request with an identifier."""


@dataclass(slots=True, eq=False)
class _Waiting:
    request: Request
    address: tuple[Any, ...]
    answer: asyncio.Future[Packet]
    invalid: int = 0


@dataclass(slots=True, eq=False)
class _Source(asyncio.DatagramProtocol):
    """One socket."""

    peer: Peer
    family: int
    transport: asyncio.DatagramTransport | None = None
    waiting: dict[int, _Waiting] = field(default_factory=dict)
    last: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make room for many answers at once."""
        self.transport = transport  # type: ignore[assignment]  # uvloop's have the methods without the class
        sock: Any = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Hand an answer to who waits for it."""
        self.peer.received(self, data, addr)

    def error_received(self, exc: Exception) -> None:  # noqa: ARG002
        """An ICMP error: no proof of anything. Retransmission goes on; the server may just be starting."""
        self.peer.counters["unreachable"] += 1

    def free(self) -> int | None:
        """An identifier that nothing waits for, the one that was used longest ago."""
        if len(self.waiting) >= IDENTIFIERS:
            return None
        while (identifier := (self.last + 1) % IDENTIFIERS) in self.waiting:
            self.last = identifier
        self.last = identifier
        return identifier


class Peer:
    """Asks one server at one port. `counters` has requests, retransmissions, timeouts, and `invalid-REASON`."""

    def __init__(
        self, name: str, host: str, port: int, secret: bytes, check: Check, patience: Patience, totals: Counter[str]
    ) -> None:
        self.name = name
        self.host, self.port = host, port
        self.counters: Counter[str] = Counter()
        self.dead_until: float | None = None
        """A moment of the loop's clock; None: it answers."""
        self.since: float | None = None
        """When it last died or came back to life, in seconds since the epoch; None: it never did."""
        self._totals = totals
        self._secret = secret
        self._check = check
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._sources: list[_Source] = []
        self._slots = asyncio.Semaphore(MAX_SOCKETS * IDENTIFIERS)
        self._opening = asyncio.Lock()
        self._address: tuple[int, tuple[Any, ...]] | None = None
        self._heard = -float("inf")
        self._probed = False

    @property
    def secret(self) -> bytes:
        """What signs: for whoever builds a request."""
        return self._secret

    @property
    def usable(self) -> bool:
        """Whether to ask it: it is alive, or its dead time is over and nobody else is finding out."""
        if self.dead_until is None:
            return True
        return self._loop.time() >= self.dead_until and not self._probed

    @property
    def answered(self) -> bool:
        """Whether it ever has."""
        return self._heard >= 0

    async def ask(self, build: Build) -> Packet:
        """The valid answer to a request, which is sent again while none comes. Raises NotAnswered."""
        self._probed = self.dead_until is not None
        try:
            async with self._slots:
                return await self._ask(build)
        finally:
            self._probed = False

    async def _ask(self, build: Build) -> Packet:
        began = self._loop.time()
        invalid = 0
        try:
            family, address = await self._resolve()
            source, identifier = await self._slot(family)
            waiting = source.waiting[identifier] = _Waiting(build(identifier), address, self._loop.create_future())
            try:
                answer = await self._transmit(source, waiting)
            finally:
                del source.waiting[identifier]
                invalid = waiting.invalid
        except (OSError, asyncio.TimeoutError):
            self._count("timeouts")
            if self._heard < began:
                self._die()
            raise NotAnswered(self.name, invalid=invalid > 0) from None
        self._live()
        return answer

    async def _transmit(self, source: _Source, waiting: _Waiting) -> Packet:
        """Send until the answer is there. The bytes stay the same (RFC 5080 §2.2.1). Raises asyncio.TimeoutError."""
        for attempt in range(self._patience.attempts):
            self._count("retransmissions" if attempt else "requests")
            if source.transport is not None:
                source.transport.sendto(waiting.request.raw, waiting.address)
            await asyncio.wait((waiting.answer,), timeout=self._patience.timeout)
            if waiting.answer.done():
                return waiting.answer.result()
        raise asyncio.TimeoutError

    def received(self, source: _Source, data: bytes, addr: tuple[Any, ...]) -> None:
        """A datagram has come to one of the sockets, from anywhere."""
        waiting = source.waiting.get(data[1]) if len(data) > 1 else None
        try:
            packet = self._answer(waiting, data, addr)
        except InvalidPacket as error:
            self._refuse(error.reason, addr)
            if waiting is not None:
                waiting.invalid += 1
            return
        self._heard = self._loop.time()
        if waiting is not None:
            waiting.answer.set_result(packet)

    def _answer(self, waiting: _Waiting | None, data: bytes, addr: tuple[Any, ...]) -> Packet:
        """The valid answer in a datagram. Raises InvalidPacket."""
        if waiting is not None and tuple(addr[:2]) != waiting.address[:2]:
            raise InvalidPacket("source")
        packet = read(data)
        if waiting is None or waiting.answer.done():
            # One that came twice, or too late, is nobody's fault; it is not an answer either.
            raise InvalidPacket("not-asked-for")
        self._check(waiting.request, packet)
        return packet

    def _count(self, what: str) -> None:
        self.counters[what] += 1
        self._totals[f"radius_{what}"] += 1

    def _refuse(self, reason: str, addr: tuple[Any, ...]) -> None:
        self.counters[f"invalid-{reason}"] += 1
        self._totals["radius_invalid_answers"] += 1
        count = self.counters[f"invalid-{reason}"]
        # The first of each kind, and then ever more rarely: whoever sends them does not fill the log.
        if count & (count - 1) == 0:
            _log.warning("radius-answer-invalid", server=self.name, reason=reason, sender=str(addr[0]), count=count)

    def _die(self) -> None:
        self._address = None  # it may have another one when it is asked again
        if self.dead_until is None:
            _log.warning("radius-server-dead", server=self.name, port=self.port, seconds=self._patience.dead_time)
            self.since = time.time()
        self.dead_until = self._loop.time() + self._patience.dead_time
        self._count("deaths")

    def _live(self) -> None:
        if self.dead_until is not None:
            self.since = time.time()
            _log.info("radius-server-alive", server=self.name, port=self.port)
        self.dead_until = None

    async def _resolve(self) -> tuple[int, tuple[Any, ...]]:
        """The server's family and address. Raises OSError, TimeoutError."""
        if self._address is None:
            found = await asyncio.wait_for(
                self._loop.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM), RESOLVE_TIMEOUT
            )
            self._address = int(found[0][0]), found[0][4]
        return self._address

    async def _slot(self, family: int) -> tuple[_Source, int]:
        """A socket and an identifier that are free: the semaphore has counted them. Raises OSError."""
        async with self._opening:
            for source in self._sources:
                if source.family == family and (identifier := source.free()) is not None:
                    return source, identifier
            local = ("::", 0) if family == socket.AF_INET6 else ("0.0.0.0", 0)  # noqa: S104  # as the route wants it
            _, source = await self._loop.create_datagram_endpoint(lambda: _Source(self, family), local_addr=local)
            self._sources.append(source)
            return source, source.free() or 0

    def close(self) -> None:
        """Close the sockets."""
        for source in self._sources:
            if source.transport is not None:
                source.transport.close()
        self._sources.clear()
