"""Sends accounting records (RFC 2866): those of one session in their order, and none lost while there is room."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any

import structlog

from zethane.adapters.radius.access import nas_attributes
from zethane.adapters.radius.attribute import Attribute, Code, Pairs, integer, text
from zethane.adapters.radius.client import Server, in_order
from zethane.adapters.radius.packet import InvalidPacket, Packet, Request, accounting_request, require_answer
from zethane.adapters.radius.peer import NotAnswered, Patience, Peer
from zethane.service.radius_accounting import AccountingRecord
from zethane.service.state import Clock

SENDERS = 16
"""Records on their way at once; those of one session go one after the other."""

MAX_RECORDS = 16_384
"""Records that wait; then the oldest are dropped and counted."""

_STATUS = {"start": 1, "stop": 2, "interim": 3}
_RADIUS = 1
"""Acct-Authentic (RFC 2866 §5.6)."""

_WORD = 2**32

_log = structlog.get_logger("zethane.radius")


class AccountingClient:
    """Takes records with `send`. `run` are its senders, to be started as tasks."""

    def __init__(
        self,
        servers: Sequence[Server],
        nas: str,
        clock: Clock,
        patience: Patience | None = None,
        totals: Counter[str] | None = None,
        room: int = MAX_RECORDS,
    ) -> None:
        self._patience = patience or Patience()
        self._totals = Counter() if totals is None else totals
        self.peers = [
            Peer(one.name, one.host, one.acct_port, one.secret, _check, self._patience, self._totals) for one in servers
        ]
        self._nas = nas
        self._clock = clock
        self._room = max(1, room // SENDERS)
        self._queues: list[deque[AccountingRecord]] = [deque() for _ in range(SENDERS)]
        self._more = [asyncio.Event() for _ in range(SENDERS)]
        self._sending = 0
        self._quiet = asyncio.Event()

    def send(self, record: AccountingRecord) -> None:
        """Send a record when its turn comes."""
        place = zlib.crc32(record.session_id.encode()) % SENDERS
        queue = self._queues[place]
        if len(queue) >= self._room:
            queue.popleft()
            self._totals["radius_accounting_dropped"] += 1
        queue.append(record)
        self._quiet.clear()
        self._more[place].set()

    def run(self) -> list[Coroutine[Any, Any, None]]:
        """What sends, for as long as it is let."""
        return [self._run(queue, more) for queue, more in zip(self._queues, self._more, strict=True)]

    @property
    def waiting(self) -> int:
        """Records that no server has confirmed yet."""
        return sum(map(len, self._queues)) + self._sending

    async def _run(self, queue: deque[AccountingRecord], more: asyncio.Event) -> None:
        while True:
            await more.wait()
            if not queue:
                more.clear()
                continue
            record = queue.popleft()
            self._sending += 1
            try:
                await self._deliver(record)
            except ValueError as error:
                self._totals["radius_accounting_dropped"] += 1
                _log.warning("radius-accounting-unwritable", session=record.session_id, reason=str(error))
            finally:
                self._sending -= 1
                if not self.waiting:
                    self._quiet.set()

    async def _deliver(self, record: AccountingRecord) -> None:
        """Try every server again and again: the record waits, and those behind it."""
        while True:
            for peer in in_order(self.peers):
                attributes = record_attributes(record, self._nas, self._clock())
                try:
                    await peer.ask(partial(_build(peer), attributes))
                except NotAnswered:
                    continue
                self._totals["radius_accounting_records"] += 1
                return
            # Nobody is there; whoever is asked first has been dead for longest.
            await asyncio.sleep(self._patience.timeout)

    async def drain(self, patience: float) -> None:
        """Wait until all records are confirmed, so many seconds at the most."""
        if self.waiting:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), patience)

    def close(self) -> None:
        """Close the sockets."""
        for peer in self.peers:
            peer.close()


def record_attributes(record: AccountingRecord, nas: str, now: float) -> Pairs:
    """The attributes of an Accounting-Request. Raises ValueError for what has no place in one."""
    counts = record.counts
    pairs = [
        (Attribute.ACCT_STATUS_TYPE, integer(_STATUS[record.status])),
        (Attribute.USER_NAME, text(record.user_name)),
        *nas_attributes(nas, record.attachment, record.port_name, record.session_id),
        (Attribute.ACCT_AUTHENTIC, integer(_RADIUS)),
        (Attribute.EVENT_TIMESTAMP, integer(int(record.at) % _WORD)),
        (Attribute.ACCT_DELAY_TIME, integer(int(max(0.0, min(now - record.at, _WORD - 1))))),
        *((Attribute.CLASS, value) for value in record.classes),
        *(_framed(address) for address in record.addresses),
    ]
    if record.status == "start":
        return pairs
    pairs += [
        (Attribute.ACCT_SESSION_TIME, integer(int(record.session_time) % _WORD)),
        # Input is what came in at the port (RFC 2866 §5.3).
        (Attribute.ACCT_INPUT_OCTETS, integer(counts.sent_octets % _WORD)),
        (Attribute.ACCT_OUTPUT_OCTETS, integer(counts.received_octets % _WORD)),
        (Attribute.ACCT_INPUT_GIGAWORDS, integer(counts.sent_octets // _WORD % _WORD)),
        (Attribute.ACCT_OUTPUT_GIGAWORDS, integer(counts.received_octets // _WORD % _WORD)),
        (Attribute.ACCT_INPUT_PACKETS, integer(counts.sent_packets % _WORD)),
        (Attribute.ACCT_OUTPUT_PACKETS, integer(counts.received_packets % _WORD)),
    ]
    if record.cause is not None:
        pairs.append((Attribute.ACCT_TERMINATE_CAUSE, integer(record.cause)))
    return pairs


def _framed(address: bytes) -> tuple[int, bytes]:
    """An address of the host (RFC 2865 §5.8, RFC 6911 §3.1)."""
    is_v4 = ip_address(address).version == 4
    return (Attribute.FRAMED_IP_ADDRESS if is_v4 else Attribute.FRAMED_IPV6_ADDRESS), address


def _build(peer: Peer) -> Callable[[Pairs, int], Request]:
    return lambda attributes, identifier: accounting_request(identifier, peer.secret, attributes)


def _check(request: Request, packet: Packet) -> None:
    """Raises InvalidPacket."""
    if packet.code != Code.ACCOUNTING_RESPONSE:
        raise InvalidPacket("code")
    require_answer(request, packet, signed=False)
