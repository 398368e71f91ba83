"""One OpenFlow 1.3 connection: what is read is cut into messages, each of which goes to whom it is for.

An asyncio protocol over bytes. Frames are cut out of the stream by the length in their header; what is larger,
older or stranger than OpenFlow 1.3 allows ends the connection, and never the controller.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol, cast

import structlog

from zethane.adapters.openflow import decode, encode
from zethane.adapters.openflow.bundles import Bundles, OpenBundle
from zethane.adapters.openflow.handshake import Handshake
from zethane.adapters.openflow.hotpath import (
    read_entry_removed,
    read_flow_removed,
    read_packet_in,
    write_packet_out,
    write_verified,
)
from zethane.adapters.openflow.intake import Intake
from zethane.adapters.openflow.keepalive import KeepAlive
from zethane.adapters.openflow.limits import ChannelLimits
from zethane.adapters.openflow.meters import Meters
from zethane.adapters.openflow.pace import AHEAD, BUSY, CAUGHT_UP
from zethane.adapters.openflow.reading import Reading
from zethane.adapters.openflow.requests import Requests
from zethane.adapters.openflow.table_reader import TableReader
from zethane.adapters.openflow.writer import Writer
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
_HELLO, _ERROR, _ECHO_REQUEST, _EXPERIMENTER, _FEATURES_REPLY = 0, 1, 2, 4, 6
_PACKET_IN, _FLOW_REMOVED, _PORT_STATUS, _MULTIPART_REPLY, _BARRIER_REPLY = 10, 11, 12, 19, 21
_PORT_DELETED = 1

_log = structlog.get_logger("zethane.openflow")


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


class Channel(Reading, asyncio.Protocol):
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
        loop = self._loop = asyncio.get_running_loop()
        bounds = self._limits
        self._transport = None
        self._is_greeted = is_greeted
        self._plain = -1  # what may be sent to past the transport, where there is no TLS
        self._received = b""
        self._watches = Watches()
        writer = self._writer = Writer(loop, bounds.held_bytes, self._wrote, self.close)
        # Each is asked for with every packet, here or by the compiled path.
        self._out, self._gates, self._pace = writer.out, writer.gates, writer.pace
        self._next_xid, self._send = writer.next_xid, writer.send
        self._flush, self._flush_soon = writer.flush, writer.flush_soon
        self._requests = Requests(loop, writer, bounds.request, bounds.list_bytes, self.close)
        self._bundles = Bundles(loop, writer, self._requests, self._watches)
        self._reader = TableReader(loop, writer, self._requests, bounds.flow_list_bytes)
        self._meters = Meters(writer, self._requests)
        self._handshake = Handshake(
            loop, writer, self._requests, bounds.handshake, self._named, self._introduced, self.close
        )
        self._alive = KeepAlive(loop, writer, bounds, self.close)
        self._accepted = False
        self._fast = fast
        quick = partial(self._take_waiting, fast) if fast is not None else None
        self._intake = Intake(
            self._packet_in, self._turn_done, loop, bounds.turn, quick=quick, give_up=self._packet_dropped
        )
        self._reading = True
        self._writable = True
        self._is_behind = False
        self._closed_for = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, and give the other side a bounded time to answer."""
        # uvloop's transports have asyncio's methods without being subclasses of its classes.
        transport = cast("asyncio.Transport", transport)
        self._attach(transport)
        self.peer = str(transport.get_extra_info("peername"))
        transport.set_write_buffer_limits(high=self._limits.write_high_water)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._limits.send_buffer)
            if transport.get_extra_info("sslcontext") is None:
                self._plain = connection.fileno()
        self._handshake.begin(is_greeted=self._is_greeted)

    def _attach(self, transport: asyncio.Transport) -> None:
        self._transport = self._writer.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whatever still waits, and report it."""
        reason = self._closed_for or (f"connection lost: {exc}" if exc else "closed by the switch")
        self._closed_for = reason
        self._plain = -1
        self._intake.stop()
        self._handshake.stop()
        self._alive.stop()
        self._requests.fail(reason)
        self._bundles.fail(reason)
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

    def _wrote(self) -> None:
        self._look_at_pace()
        waits = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if self._closed_for is None and waits > self._limits.unwritten_bytes:
            self.close("it does not read what is written to it")

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

    def _take(self, data: bytes, at: int, *, looked: bool) -> None:
        """Cut the stream into messages and handle each; packet-ins that cannot have their turn wait."""
        self._alive.heard = self._loop.time()
        received = self._received + data if self._received else data
        available = len(received)
        while self._closed_for is None:
            if self._fast is not None and not looked:
                at = self._take_plain(self._fast, received, at)
            looked = False
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
            self._plain_failed(error)
            return len(received)

    def _plain_failed(self, error: Exception) -> None:
        """The compiled path has raised this, just now."""
        _log.exception("message-failed", dpid=self.dpid)
        self.close(f"messages could not be handled: {type(error).__name__}")

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
            self.packet_failed(event.port)

    def packet_failed(self, port: int) -> None:
        """The packet at hand could not be handled; the exception is the one that is being handled."""
        _log.exception("packet-failed", dpid=self.dpid, port=port)

    def _packet_dropped(self, event: PacketIn) -> None:
        """There is no room for a packet, or it has waited too long."""
        self._events.packet_dropped(self, event)

    def _handle_rare(self, kind: int, xid: int, message: bytes) -> None:
        body = message[_HEADER.size :]
        if kind == _HELLO:
            self._handshake.hello(message[0])
        elif kind == _ECHO_REQUEST:
            self._writer.send_now(encode.echo_reply(body, xid))
        elif kind == _ERROR:
            self._error(xid, body)
        elif kind == _MULTIPART_REPLY:
            self._requests.part(xid, body)
        elif kind == _BARRIER_REPLY and self._pace.reached(xid):
            self._look_at_pace()
            # With what waits: it may begin in the middle of a message, of which the compiled path has sent a part.
            self._writer.write_on()
        elif kind in (_FEATURES_REPLY, _BARRIER_REPLY):
            self._requests.answer(xid, body)
        elif kind == _EXPERIMENTER:
            self._bundles.replied(xid, body)
        elif kind == _PORT_STATUS and self._accepted:
            self._port_status(body)

    def _error(self, xid: int, body: bytes) -> None:
        what = decode.describe_error(body)
        if not self._requests.refuse(xid, what):
            self._bundles.refuse(xid, what)
        if self._accepted:
            self._events.refused(self, what)

    def _port_status(self, body: bytes) -> None:
        if len(body) < 8:
            raise ChannelError("port status: truncated")
        port = decode.read_port(body, 8)
        if isinstance(port, PortState):
            self._events.port_status(self, port, removed=body[0] == _PORT_DELETED)

    # handshake

    def _named(self, dpid: int) -> None:
        self.dpid = dpid

    def _introduced(self, ports: Sequence[PortState]) -> None:
        if not self._events.connected(self, ports):
            self.close("refused")
            return
        self._accepted = True
        self._alive.begin()

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
        """Send all changes as one bundle. The task raises ChannelError, and nothing has changed then."""
        bundle = self.bundle()
        bundle.add(changes)
        return bundle.commit()

    def bundle(self) -> OpenBundle:
        """A bundle that is written little by little. What is sent meanwhile is not held back."""
        return OpenBundle(self._bundles)

    def match_fragments(self) -> None:
        """Let the tables decide about fragments from here on, behind every bundle that is on its way."""
        self._send(encode.match_fragments(self._next_xid()))

    async def barrier(self) -> None:
        """Return when the switch has processed all that was sent before. Raises ChannelError."""
        await self._requests.barrier()

    async def read_tables(
        self, tables: Collection[Table] = tuple(Table), cookie: int = 0, mask: int = 0, *, brief: bool = False
    ) -> list[Reported]:
        """The entries of the pipeline's tables whose cookies agree under the mask: `TableReader.read`."""
        return await self._reader.read(tables, cookie, mask, brief=brief)

    def watch(self) -> AbstractContextManager[Written]:
        """What is sent to the switch, and reported gone by it, within the block."""
        return self._watches.watch()

    async def set_meters(
        self, meters: Mapping[int, tuple[int, int]], stale: Collection[int] = ()
    ) -> dict[int, MeterState]:
        """Make meters be like this: `Meters.set`."""
        return await self._meters.set(meters, stale)

    async def read_counts(self, metadata: int, mask: int) -> tuple[int, int]:
        """Packets and octets that the per-flow rules with this metadata have let through. Raises ChannelError."""
        request = partial(encode.aggregate_request, Table.FLOW, metadata, mask)
        return decode.read_aggregate(await self._requests.ask(request))

    async def read_heard(self, session: int) -> int:
        """The packets that a session's entries of `source` have counted. Raises ChannelError."""
        request = partial(encode.cookies_request, Table.SOURCE, cookie(session, 0, 0), SUBJECT_MASK)
        packets, _ = decode.read_aggregate(await self._requests.ask(request))
        return packets

    async def read_meter_drops(self) -> dict[int, int]:
        """Packets that each meter has left out since it was made. Raises ChannelError."""
        return await self._meters.read_drops()

    def close(self, reason: str) -> None:
        """End the connection."""
        self._plain = -1
        if self._closed_for is None:
            self._closed_for = reason
            self._requests.close(reason)
            _log.warning("channel-closed", peer=self.peer, dpid=self.dpid, reason=reason)
        if self._transport is not None and not self._transport.is_closing():
            self._flush()
            self._transport.close()
            if self._transport.get_write_buffer_size():
                self._loop.call_later(self._limits.closing, self._transport.abort)
