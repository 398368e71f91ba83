"""One OpenFlow 1.3 connection: handshake, keepalive, requests and their answers, back-pressure.

An asyncio protocol over bytes. Frames are cut out of the stream by the length in their header; what is larger,
older or stranger than OpenFlow 1.3 allows ends the connection, and never the controller.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol, cast

import structlog

from zethane.adapters.openflow import decode, encode
from zethane.adapters.openflow.hotpath import (
    read_entry_removed,
    read_flow_removed,
    read_packet_in,
    write_packet_out,
    write_verified,
)
from zethane.adapters.openflow.intake import Intake, TurnLimits
from zethane.adapters.openflow.output import Output
from zethane.adapters.openflow.pace import AHEAD, BUSY, CAUGHT_UP, Pace
from zethane.adapters.openflow.pieces import SPLIT, pieces
from zethane.adapters.openflow.reception import HELLO
from zethane.errors import ChannelError
from zethane.net.vlan import tagged
from zethane.pipeline.change import Change
from zethane.pipeline.fields import SUBJECT_MASK, cookie
from zethane.pipeline.held import Reported
from zethane.pipeline.tables import Table
from zethane.pipeline.verified import Verified
from zethane.service.fair_queue import FairQueue
from zethane.service.flows import LiveFlow
from zethane.service.switch import MeterState, PacketIn, PortState, SwitchEvents
from zethane.service.written import Watches, Written

_HEADER = struct.Struct("!BBHI")
_HELLO, _ERROR, _ECHO_REQUEST, _ECHO_REPLY, _EXPERIMENTER, _FEATURES_REPLY = 0, 1, 2, 3, 4, 6
_PACKET_IN, _FLOW_REMOVED, _PORT_STATUS, _MULTIPART_REPLY, _BARRIER_REPLY = 10, 11, 12, 19, 21
_MULTIPART_MORE = 1
_BUNDLE_OPEN, _BUNDLE_COMMIT, _BUNDLE_DISCARD = 0, 4, 6
_ONF_BUNDLE = (0x4F4E4600, 2300)
_METER_ADD, _METER_MODIFY, _METER_DELETE = 0, 1, 2
_PORT_DELETED = 1

LEAST_PACE = 64 * 2**10
"""Octets that a switch is expected to process in a second at least: some four hundred changes."""

READ_SLICE = 256
"""Entries that are read at a time before other work has its turn: about a millisecond."""

_log = structlog.get_logger("zethane.openflow")


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """Bounds in seconds and bytes for one connection."""

    handshake: float = 10.0
    echo_interval: float = 5.0
    echo_deadline: float = 15.0
    request: float = 30.0
    list_bytes: int = 8 * 2**20
    """One list answer: ports and meters, of which a switch has at most 65,536 each."""
    flow_list_bytes: int = 160 * 2**20
    """The entries of one table: some hundred thousand, 160 bytes each, and as many more that are somebody else's."""
    write_high_water: int = 64 * 2**10
    send_buffer: int = 128 * 2**10
    """What may wait to be written, here and in the kernel: some hundred set-ups. A switch that is behind gets no more
    work then, and what takes a session back never waits behind seconds of it."""
    unread_bytes: int = 4 * 2**20
    """Where so much waits to be written, nothing is read any more: answers would add to it."""
    unwritten_bytes: int = 256 * 2**20
    """A switch that lets so much wait is given up: flows of other switches' hosts are written to it as well."""
    closing: float = 2.0
    """What still waits to be written when a connection ends has this long."""
    held_bytes: int = 64 * 2**20
    turn: TurnLimits = field(default_factory=TurnLimits)


@dataclass(slots=True)
class _Request:
    """A request that waits for its answer; list answers collect their parts."""

    answer: asyncio.Future[bytes]
    limit: int
    parts: list[bytes] = field(default_factory=list)
    size: int = 0


class _Asked(NamedTuple):
    """A piece of a table that was asked for, and when by the loop's clock."""

    table: Table
    asked: float
    xid: int
    request: _Request


@dataclass(slots=True, eq=False)
class _Gate:
    """A bundle that is not committed yet, and the messages that wait behind it."""

    held: list[bytes] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True, eq=False)
class _Members:
    """A bundle's messages by their numbers, and what has become of them.

    A switch tells at once what it refuses to take in, long before the commit, and forgets a bundle that is left alone.
    To one that it does not know it adds as to a new one: what is refused before must not be committed.
    """

    number: int
    watches: tuple[Written, ...]
    """Who was watching when it was begun."""
    xids: list[range] = field(default_factory=list)
    refused: str | None = None
    request: _Request | None = None
    """What is waited for now, when it is being committed."""

    def add(self, xid: int) -> None:
        """One message more."""
        if self.xids and self.xids[-1].stop == xid:
            self.xids[-1] = range(self.xids[-1].start, xid + 1)
        else:
            self.xids.append(range(xid, xid + 1))

    def __contains__(self, xid: int) -> bool:
        return any(xid in some for some in self.xids)

    def refuse(self, why: str) -> None:
        """The switch will not have it; only the first reason is told."""
        if self.refused is None:
            self.refused = why
        if self.request is not None and not self.request.answer.done():
            self.request.answer.set_exception(ChannelError(why))
            self.request.answer.exception()  # retrieved: a waiter that was cancelled will not do it


class OpenBundle:
    """Implements `service.switch.Bundle`. It begins with its first member."""

    def __init__(self, channel: Channel) -> None:
        self.size = 0
        self._channel = channel
        self._members: _Members | None = None

    def add(self, changes: Sequence[Change]) -> None:
        """Write these behind the others."""
        self.size += len(changes)
        self._channel.add_to_bundle(self._begun(), changes)

    @property
    def is_refused(self) -> bool:
        """Whether the switch has refused a part of it, or let all of it go."""
        return self._members is not None and self._members.refused is not None

    def commit(self) -> asyncio.Task[None]:
        """Let all of them take effect; the task raises ChannelError if the switch refuses, and nothing has changed."""
        return self._channel.close_bundle(self._begun())

    def discard(self) -> None:
        """Let none of them take effect, ever."""
        if self._members is not None:
            self._channel.discard_bundle(self._members)

    def _begun(self) -> _Members:
        if self._members is None:
            self._members = self._channel.open_bundle()
        return self._members


class FastPath(Protocol):
    """The compiled half of the hot path: `fast_path.FastPath`."""

    def run(self, channel: Channel, data: bytes, at: int) -> int:
        """Take the messages from `at` on that are plain; where the first is that is not."""

    def take_waiting(self, channel: Channel, queue: FairQueue[PacketIn], intake: Intake) -> PacketIn | None:
        """Take packets that wait for as long as they are plain; the first that is not, if that is why this ends."""

    def prepare(self, numbers: Sequence[int]) -> None:
        """Get to know the sessions of these numbers before their packets come."""

    def end_silent(self, flow: LiveFlow, now: float) -> bool:
        """A flow without rules has been silent: it has ended. False if it is not plain: nothing has changed then."""


class Channel(asyncio.Protocol):
    """A switch's connection. Implements `service.switch.SwitchChannel`."""

    def __init__(
        self,
        events: SwitchEvents,
        limits: ChannelLimits | None = None,
        on_lost: Callable[[Channel], None] | None = None,
        fast: FastPath | None = None,
        *,
        is_greeted: bool = False,
    ) -> None:
        """`is_greeted`: the switch has got our hello already."""
        self.dpid = 0
        self.peer = ""
        self._events = events
        self._limits = limits or ChannelLimits()
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._plain = -1  # what may be sent to past the transport, where there is no TLS
        self._received = b""
        self._out = Output()
        self._bundle = 1
        self._requests: dict[int, _Request] = {}
        self._bundles: list[_Members] = []
        self._gates: list[_Gate] = []
        self._watches = Watches()
        self._greets = not is_greeted
        self._greeted = False
        self._accepted = False
        self._fast = fast
        quick = partial(self._take_waiting, fast) if fast is not None else None
        self._intake = Intake(
            self._packet_in, self._turn_done, self._loop, self._limits.turn, quick=quick, give_up=self._packet_dropped
        )
        self._reading = True
        self._writable = True
        self._pace = Pace()
        self._marked = self._loop.time()
        self._is_behind = False
        self._closed_for: str | None = None
        self._heard = self._expected = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._handshake: asyncio.Task[None] | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, and give the other side a bounded time to answer."""
        # uvloop's transports have asyncio's methods without being subclasses of its classes.
        self._transport = transport = cast("asyncio.Transport", transport)
        self.peer = str(transport.get_extra_info("peername"))
        transport.set_write_buffer_limits(high=self._limits.write_high_water)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._limits.send_buffer)
            if transport.get_extra_info("sslcontext") is None:
                self._plain = connection.fileno()
        if self._greets:
            self._send(HELLO)
        self._timer = self._loop.call_later(self._limits.handshake, self._handshake_expired)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whatever still waits, and report it."""
        reason = self._closed_for or (f"connection lost: {exc}" if exc else "closed by the switch")
        self._closed_for = reason
        self._plain = -1
        self._intake.stop()
        if self._timer is not None:
            self._timer.cancel()
        if self._handshake is not None:
            self._handshake.cancel()
        for request in self._requests.values():
            if not request.answer.done():
                request.answer.set_exception(ChannelError(reason))
                request.answer.exception()  # retrieved: a waiter that was cancelled will not do it
        for members in self._bundles:
            members.refuse(reason)
        self._requests.clear()
        self._bundles.clear()
        if self._accepted:
            self._events.disconnected(self, reason)
        if self._on_lost is not None:
            self._on_lost(self)

    def pause_writing(self) -> None:
        """Back-pressure: while the switch does not read, no new flow is begun.

        What it says is read nevertheless: Open vSwitch reads nothing while the reports of ended flows that it has to
        send are not taken from it.
        """
        self._writable = False
        self._look_at_pace()
        if self._transport is not None:
            self._read(self._transport.get_write_buffer_size() <= self._limits.unread_bytes)

    def resume_writing(self) -> None:
        """The switch reads again."""
        self._writable = True
        self._look_at_pace()
        self._read(True)

    def _look_at_pace(self) -> None:
        """Begin no new flows while the switch is behind with what it has to process, or does not even read it."""
        ahead = self._pace.ahead
        # What a port has sent beyond its share fills the half of it; the rest is for others.
        self._intake.rest(ahead > CAUGHT_UP)
        if ahead > CAUGHT_UP:
            self._read(True)  # it is not while a turn is due
        is_behind = not self._writable or ahead > (CAUGHT_UP if self._is_behind else AHEAD)
        if is_behind == self._is_behind:
            return
        self._is_behind = is_behind
        if is_behind:
            self._intake.hold()
            self._read(True)  # it is not while a turn is due
        else:
            self._intake.release()

    def _read(self, wanted: bool) -> None:
        if self._transport is None or self._transport.is_closing() or wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Cut the stream into messages and handle each; packet-ins that cannot have their turn wait."""
        self._heard = self._loop.time()
        self._intake.begin()
        received = self._received + data if self._received else data
        at, available = 0, len(received)
        while self._closed_for is None:
            if self._fast is not None:
                at = self._take_plain(self._fast, received, at)
            if available - at < _HEADER.size:
                break
            version, kind, length, xid = _HEADER.unpack_from(received, at)
            if length < _HEADER.size or (version != encode.VERSION and kind != _HELLO):
                self.close(f"bad header: version {version} length {length}")
                break
            if available - at < length:
                break
            self._handle(kind, xid, received[at : at + length])
            at += length
        self._received = received[at:]
        self._intake.end()
        if self._intake.is_due:
            self._read(False)  # until the next turn: one read of a busy switch at a time
        self._flush()
        if not self._writable:
            self.pause_writing()  # by now it may be too much

    def _take_plain(self, fast: FastPath, received: bytes, at: int) -> int:
        """Let the compiled path take what it can from here on; where the rest begins."""
        try:
            return fast.run(self, received, at)
        except Exception as error:  # noqa: BLE001  # nothing that a switch sends may stop the others
            _log.exception("message-failed", dpid=self.dpid)
            self.close(f"messages could not be handled: {type(error).__name__}")
            return len(received)

    def _take_waiting(self, fast: FastPath, queue: FairQueue[PacketIn], intake: Intake) -> PacketIn | None:
        """Let the compiled path take what it can of the packets that wait; the first that is not plain."""
        try:
            return fast.take_waiting(self, queue, intake)
        except Exception:  # noqa: BLE001  # hosts' packets: one is dropped, and the switch must not suffer for it
            _log.exception("packet-failed", dpid=self.dpid)
            return None

    def _turn_done(self) -> None:
        """A later turn is over: read what has come meanwhile, whatever still waits."""
        if self._closed_for is not None:
            self._intake.stop()
        if self._writable:
            self._read(True)
        self._flush()

    def _handle(self, kind: int, xid: int, message: bytes) -> None:
        try:
            if kind == _PACKET_IN:
                event = read_packet_in(message) if self._accepted else None
                if event is not None and not self._intake.put(event):
                    self._packet_dropped(event)
            elif kind == _FLOW_REMOVED and self._accepted:
                if (removed := read_flow_removed(message)) is not None:
                    if removed.key is not None:
                        self._watches.flow(removed.key)
                    self._events.flow_removed(self, removed)
                elif (counted := read_entry_removed(message)) is not None:
                    self._events.entry_removed(self, counted)
            else:
                self._handle_rare(kind, xid, message)
        except ChannelError as error:
            self.close(str(error))
        except Exception as error:  # noqa: BLE001  # nothing that a switch sends may stop the others
            _log.exception("message-failed", dpid=self.dpid, type=kind)
            self.close(f"a message of type {kind} could not be handled: {type(error).__name__}")

    def _packet_in(self, event: PacketIn) -> None:
        if self._closed_for is not None:
            return
        try:
            self._events.packet_in(self, event)
        except Exception:  # noqa: BLE001  # a host's packet: it is dropped, and the switch must not suffer for it
            _log.exception("packet-failed", dpid=self.dpid, port=event.port)

    def _packet_dropped(self, event: PacketIn) -> None:
        """There is no room for a packet, or it has waited too long."""
        self._events.packet_dropped(self, event)

    def _handle_rare(self, kind: int, xid: int, message: bytes) -> None:
        body = message[_HEADER.size :]
        if kind == _HELLO:
            self._hello(message[0])
        elif kind == _ECHO_REQUEST:
            self._send_now(_HEADER.pack(encode.VERSION, _ECHO_REPLY, len(message), xid) + body)
        elif kind == _ERROR:
            self._error(xid, body)
        elif kind == _MULTIPART_REPLY:
            self._multipart(xid, body)
        elif kind == _BARRIER_REPLY and self._pace.reached(xid):
            self._look_at_pace()
            # With what waits: it may begin in the middle of a message, of which the compiled path has sent a part.
            self._write(self._out.take(), self._out.take_sent())
        elif kind in (_FEATURES_REPLY, _BARRIER_REPLY):
            self._answer(xid, body)
        elif kind == _EXPERIMENTER:
            self._bundle_reply(xid, body)
        elif kind == _PORT_STATUS and self._accepted:
            self._port_status(body)

    # handshake

    def _hello(self, version: int) -> None:
        if self._greeted:
            raise ChannelError("a second hello")
        if version < encode.VERSION:
            raise ChannelError(f"the switch speaks OpenFlow version {version:#x}, 0x04 (1.3) is needed")
        self._greeted = True
        self._handshake = self._loop.create_task(self._introduce())

    async def _introduce(self) -> None:
        try:
            features = await self._request(encode.features_request)
            self.dpid = decode.read_datapath_id(features)
            self._send(encode.drop_fragments(self._next_xid()))
            ports = decode.read_ports(await self._request(encode.port_description_request))
        except ChannelError as error:
            self.close(str(error))
            return
        if self._timer is not None:
            self._timer.cancel()
        if not self._events.connected(self, ports):
            self.close("refused")
            return
        self._accepted = True
        self._expected = self._loop.time()
        self._keep_alive()

    def _handshake_expired(self) -> None:
        self.close("the handshake took too long")

    def _keep_alive(self) -> None:
        now, interval = self._loop.time(), self._limits.echo_interval
        # Where it is the loop that is late the answer may have come, and is read next.
        is_late = now - self._expected > interval / 2
        if now - self._heard > self._limits.echo_deadline and not is_late:
            self.close("no answer to echo requests")
            return
        patience = self._limits.request + self._pace.due / LEAST_PACE
        if self._pace.due and now - self._marked > patience and not is_late:
            # It gets no new flows until it has answered: better to begin anew than to wait for ever.
            self.close("no answer to a barrier")
            return
        self._expected = now + interval
        self._send_now(_HEADER.pack(encode.VERSION, _ECHO_REQUEST, _HEADER.size, self._next_xid()))
        self._timer = self._loop.call_later(interval, self._keep_alive)

    # SwitchChannel

    @property
    def waiting(self) -> int:
        """Packet-ins that wait for their turn."""
        return len(self._intake)

    def apply(self, changes: Sequence[Change]) -> None:
        """Send changes one by one, without waiting."""
        self._watches.changes(changes)
        for change in changes:
            self._send(encode.flow_mod(change, self._next_xid()))

    @property
    def is_behind(self) -> bool:
        """Whether the switch does not process as fast as is written to it."""
        return self._is_behind

    @property
    def is_busy(self) -> bool:
        """Whether the switch has something to process still, though it is not behind."""
        return self._is_behind or self._pace.ahead > BUSY

    @property
    def is_full(self) -> bool:
        """Whether more waits than may, for a switch that does not read or behind a bundle that it does not take."""
        most = self._limits.unread_bytes
        if self._gates and self._gates[-1].size > most:
            return True
        return not self._writable and self._transport is not None and self._transport.get_write_buffer_size() > most

    def flush(self) -> None:
        """Write what has been sent until now."""
        self._flush()

    def install(self, direction: Verified, *, notify: bool, lease: int, idle: int) -> None:
        """The per-flow rule for one direction of a flow."""
        if self._watches.active:
            self._watches.flow(direction.key)
        self._send(write_verified(direction, self._next_xid(), notify=notify, lease=lease, idle=idle))

    def packet_out(self, port: int, frame: bytes, vlan: int = 0) -> None:
        """Send an untagged frame out of a port, with a tag of this VLAN there if it is not 0."""
        self._send(write_packet_out(port, tagged(frame, vlan), self._next_xid()))

    def commit(self, changes: Sequence[Change]) -> asyncio.Task[None]:
        """Send all changes as one bundle. The task raises ChannelError, and nothing has changed then.

        A switch leaves out of a bundle what it refuses to take in, and commits the rest. So the commit follows
        when a barrier has shown that all was taken; what is sent meanwhile waits, and reaches the switch later.
        """
        bundle = self.bundle()
        bundle.add(changes)
        return bundle.commit()

    def bundle(self) -> OpenBundle:
        """A bundle that is written little by little. What is sent meanwhile is not held back."""
        return OpenBundle(self)

    def open_bundle(self) -> _Members:
        """Begin one. One that is never committed goes with the connection, or when nothing is added to it for some
        seconds."""
        members = _Members(self._bundle, tuple(self._watches.active))
        self._bundle = members.number % 0xFFFFFFFF + 1
        members.add(xid := self._next_xid())
        self._bundles.append(members)
        self._send(encode.bundle_control(members.number, _BUNDLE_OPEN, xid))
        return members

    def add_to_bundle(self, members: _Members, changes: Sequence[Change]) -> None:
        """Write members of a bundle that is open."""
        self._watches.changes(changes)
        for body in encode.bodies.of(changes):
            members.add(xid := self._next_xid())
            self._send(encode.bundle_member(members.number, body, xid))

    def discard_bundle(self, members: _Members) -> None:
        """Let go of a bundle that is open."""
        if members in self._bundles:
            self._bundles.remove(members)
            self._send(encode.bundle_control(members.number, _BUNDLE_DISCARD, self._next_xid()))

    def close_bundle(self, members: _Members) -> asyncio.Task[None]:
        """Have a bundle taken and committed."""
        self._watches.committed(members.watches)
        last = self._next_xid()
        self._send(encode.barrier_request(last))
        members.request = taken = self._expect(last)
        if members.refused is not None:
            members.refuse(members.refused)
        gate = _Gate()
        self._gates.append(gate)
        return self._loop.create_task(self._commit(members, last, taken, gate))

    async def _commit(self, members: _Members, last: int, taken: _Request, gate: _Gate) -> None:
        try:
            await self._wait(last, taken)
            xid = self._next_xid()
            # Errors at the commit name the member that caused them, too.
            members.request = request = self._expect(xid)
            self._open(gate, encode.bundle_control(members.number, _BUNDLE_COMMIT, xid))
            await self._wait(xid, request)
        finally:
            if members in self._bundles:
                self._bundles.remove(members)
            if gate in self._gates:
                self._open(gate, encode.bundle_control(members.number, _BUNDLE_DISCARD, self._next_xid()))

    def _open(self, gate: _Gate, message: bytes) -> None:
        """Send a bundle's last message, and then what has waited behind it."""
        place = self._gates.index(gate)
        del self._gates[place]
        if place:
            self._gates[place - 1].held += [message, *gate.held]
        else:
            self._flush_soon()
            self._out.extend([message, *gate.held])

    def match_fragments(self) -> None:
        """Let the tables decide about fragments from here on, behind every bundle that is on its way."""
        self._send(encode.match_fragments(self._next_xid()))

    async def barrier(self) -> None:
        """Return when the switch has processed all that was sent before. Raises ChannelError."""
        await self._request(encode.barrier_request)

    async def read_tables(
        self, tables: Collection[Table] = tuple(Table), cookie: int = 0, mask: int = 0, *, brief: bool = False
    ) -> list[Reported]:
        """The entries of the pipeline's tables whose cookies agree under the mask; no others are asked for.

        With `brief` those of sessions are not looked into. All ages are those at the moment of the call.

        They are read piece by piece, so that neither the switch nor the loop is held up. What is sent or reported gone
        meanwhile may be among them or not: that is to be watched. Raises ChannelError.
        """
        begun = self._loop.time()
        asked = [(table, cookie, mask) for table in tables]
        if not mask:
            asked = [(table, *bits) for table in tables for bits in pieces(table, await self._entries(table))]
        found: list[Reported] = []
        left = dict.fromkeys(tables, self._limits.flow_list_bytes)
        waiting = iter([*asked, None])
        answer = self._ask_for(next(waiting), left)
        try:
            while answer is not None:
                table, since = answer.table, answer.asked - begun
                body = await self._wait(answer.xid, answer.request)
                left[table] -= len(body)
                # The switch has the next one to do while this one is read.
                answer = self._ask_for(next(waiting), left)
                for entry in decode.read_flow_stats(body, brief=brief, younger=since):
                    found.append(entry)
                    if len(found) % READ_SLICE == 0:
                        await asyncio.sleep(0)
        finally:
            if answer is not None:
                self._requests.pop(answer.xid, None)
                answer.request.answer.cancel()
        return found

    def _ask_for(self, piece: tuple[Table, int, int] | None, left: Mapping[Table, int]) -> _Asked | None:
        """Ask for a piece of a table, of which so many bytes may come."""
        if piece is None:
            return None
        table, cookie, mask = piece
        xid = self._next_xid()
        self._send(encode.flow_stats_request(table, xid, cookie, mask))
        return _Asked(table, self._loop.time(), xid, self._expect(xid, max(left[table], 1)))

    async def _entries(self, table: Table) -> int:
        """How many entries a table has, if it may have many. Raises ChannelError."""
        if table not in SPLIT:
            return 0
        return decode.read_entry_count(await self._request(partial(encode.cookies_request, table, 0, 0)))

    def watch(self) -> AbstractContextManager[Written]:
        """What is sent to the switch, and reported gone by it, within the block."""
        return self._watches.watch()

    async def set_meters(
        self, meters: Mapping[int, tuple[int, int]], stale: Collection[int] = ()
    ) -> dict[int, MeterState]:
        """Make meters be like this: id to (packets per second, burst); and remove the `stale` ones.

        All others are left alone. Returns what was wrong. Raises ChannelError.
        """
        present = decode.read_meters(await self._request(encode.meter_config_request))
        wrong: dict[int, MeterState] = {}
        for meter, (rate, burst) in meters.items():
            if present.get(meter) != (rate, burst):
                wrong[meter] = "altered" if meter in present else "missing"
                command = _METER_MODIFY if meter in present else _METER_ADD
                self._send(encode.meter_mod(command, meter, rate, burst, self._next_xid()))
        for meter in sorted(present.keys() & set(stale)):
            wrong[meter] = "stale"
            self._send(encode.meter_mod(_METER_DELETE, meter, 0, 0, self._next_xid()))
        await self.barrier()
        return wrong

    async def read_counts(self, metadata: int, mask: int) -> tuple[int, int]:
        """Packets and octets that the per-flow rules with this metadata have let through. Raises ChannelError."""
        request = partial(encode.aggregate_request, Table.FLOW, metadata, mask)
        return decode.read_aggregate(await self._request(request))

    async def read_heard(self, session: int) -> int:
        """The packets that a session's entries of `source` have counted. Raises ChannelError."""
        request = partial(encode.cookies_request, Table.SOURCE, cookie(session, 0, 0), SUBJECT_MASK)
        packets, _ = decode.read_aggregate(await self._request(request))
        return packets

    async def read_meter_drops(self) -> dict[int, int]:
        """Packets that each meter has left out since it was made. Raises ChannelError."""
        return decode.read_meter_drops(await self._request(encode.meter_stats_request))

    def close(self, reason: str) -> None:
        """End the connection."""
        self._plain = -1
        if self._closed_for is None:
            self._closed_for = reason
            _log.warning("channel-closed", peer=self.peer, dpid=self.dpid, reason=reason)
        if self._transport is not None and not self._transport.is_closing():
            self._flush()
            self._transport.close()
            if self._transport.get_write_buffer_size():
                self._loop.call_later(self._limits.closing, self._transport.abort)

    # requests and their answers

    async def _request(self, build: Callable[[int], bytes]) -> bytes:
        return await self._ask(build)

    def _ask(self, build: Callable[[int], bytes], limit: int | None = None) -> Coroutine[None, None, bytes]:
        """Write a request now; the answer, of at most `limit` bytes, is to be awaited."""
        xid = self._next_xid()
        self._send(build(xid))
        return self._wait(xid, self._expect(xid, limit))

    def _expect(self, xid: int, limit: int | None = None) -> _Request:
        request = _Request(self._loop.create_future(), limit or self._limits.list_bytes)
        self._requests[xid] = request
        if self._closed_for is not None:
            request.answer.set_exception(ChannelError(self._closed_for))
        return request

    async def _wait(self, xid: int, request: _Request) -> bytes:
        try:
            return await asyncio.wait_for(request.answer, self._limits.request)
        except asyncio.TimeoutError:
            self.close("no answer to a request")
            raise ChannelError("no answer to a request") from None
        finally:
            self._requests.pop(xid, None)

    def _answer(self, xid: int, body: bytes) -> None:
        request = self._requests.get(xid)
        if request is not None and not request.answer.done():
            request.answer.set_result(body)

    def _multipart(self, xid: int, body: bytes) -> None:
        request = self._requests.get(xid)
        if request is None or len(body) < 8:
            return
        request.size += len(body)
        if request.size > request.limit:
            raise ChannelError("an answer is too long")
        request.parts.append(body[8:])
        if not int.from_bytes(body[2:4], "big") & _MULTIPART_MORE:
            self._answer(xid, b"".join(request.parts))

    def _bundle_reply(self, xid: int, body: bytes) -> None:
        if len(body) >= 16 and struct.unpack_from("!II", body) == _ONF_BUNDLE:
            self._answer(xid, body)

    def _error(self, xid: int, body: bytes) -> None:
        what = decode.describe_error(body)
        request = self._requests.get(xid)
        if request is None:
            for members in self._bundles:
                if xid in members:
                    members.refuse(what)
        elif not request.answer.done():
            request.answer.set_exception(ChannelError(what))
        if self._accepted:
            self._events.refused(self, what)

    def _port_status(self, body: bytes) -> None:
        if len(body) < 8:
            raise ChannelError("port status: truncated")
        port = decode.read_port(body, 8)
        if isinstance(port, PortState):
            self._events.port_status(self, port, removed=body[0] == _PORT_DELETED)

    # writing

    def _next_xid(self) -> int:
        return self._out.next_xid()

    def _send(self, message: bytes) -> None:
        """Write in order: behind every bundle that is not committed yet."""
        if not self._gates:
            self._send_now(message)
            return
        gate = self._gates[-1]
        gate.held.append(message)
        gate.size += len(message)
        if gate.size > self._limits.held_bytes:
            self.close("too much has to wait for a bundle")

    def _send_now(self, message: bytes) -> None:
        self._flush_soon()
        self._out.append(message)

    def _flush_soon(self) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        sent = self._out.take_sent()
        if sent or self._out:
            self._write(self._out.take(), sent)

    def _write(self, taken: bytes, sent: int = 0) -> None:
        """Write, with a barrier behind it now and then that tells how far the switch has come; `sent` bytes are
        written already."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._pace.wrote(sent + len(taken)):
            xid = self._next_xid()
            self._pace.mark(xid)
            self._marked = self._loop.time()
            taken += encode.barrier_request(xid)
        if taken:
            self._transport.write(taken)
        self._look_at_pace()
        if self._closed_for is None and self._transport.get_write_buffer_size() > self._limits.unwritten_bytes:
            self.close("it does not read what is written to it")
