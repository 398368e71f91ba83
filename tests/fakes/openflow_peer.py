"""The other end of an OpenFlow channel: a switch that speaks bytes, in memory or over a socket."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from zethane.adapters.openflow.channel import Channel
from zethane.adapters.openflow.limits import ChannelLimits
from zethane.pipeline.change import Add
from zethane.pipeline.flow import Flow, match
from zethane.pipeline.tables import Table
from zethane.service.switch import EntryRemoved, FlowRemoved, PacketIn, PortState, SwitchChannel

HEADER = struct.Struct("!BBHI")
HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, EXPERIMENTER, FEATURES_REQUEST, FEATURES_REPLY = 0, 1, 2, 3, 4, 5, 6
SET_CONFIG, PACKET_IN, FLOW_REMOVED, PORT_STATUS, PACKET_OUT, FLOW_MOD = 9, 10, 11, 12, 13, 14
MULTIPART_REQUEST, MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY, METER_MOD = 18, 19, 20, 21, 29
FLOW_STATS, AGGREGATE, METER_STATS, METER_CONFIG, PORT_DESCRIPTION = 1, 2, 9, 10, 13
BUNDLE_CONTROL, BUNDLE_ADD = 2300, 2301
ONF = 0x4F4E4600

PACKET_IN_BODY = struct.pack("!IHBBQ", 0xFFFFFFFF, 4, 1, 4, 0xABCD) + bytes.fromhex(
    "0001 000c 80000004 00000003 00000000 0000"  # match: in_port 3, and its padding
) + b"data"  # fmt: skip  # a line per structure


class Message(NamedTuple):
    """One message: type, transaction and what follows the header."""

    kind: int
    xid: int
    body: bytes


def message(kind: int, xid: int, body: bytes = b"", version: int = 4) -> bytes:
    return HEADER.pack(version, kind, HEADER.size + len(body), xid) + body


def messages(stream: bytes) -> Iterator[Message]:
    """Cut whole messages out of a stream."""
    at = 0
    while at < len(stream):
        _, kind, length, xid = HEADER.unpack_from(stream, at)
        yield Message(kind, xid, stream[at + HEADER.size : at + length])
        at += length


def features(dpid: int) -> bytes:
    return struct.pack("!QIBB2xII", dpid, 0, 254, 0, 0x4F, 0)


def port(number: int, name: str = "", *, config: int = 0, state: int = 4) -> bytes:
    return struct.pack("!I4x6s2x16s8I", number, bytes(6), (name or f"p{number}").encode(), config, state, *[0] * 6)


def multipart(kind: int, body: bytes, *, more: bool = False) -> bytes:
    return struct.pack("!HH4x", kind, int(more)) + body


def error(kind: int, code: int, cause: bytes) -> bytes:
    """The body of an error about the message `cause`, which it quotes as Open vSwitch does: 64 bytes."""
    return struct.pack("!HH", kind, code) + cause[:64]


def bundle_reply(kind: int, bundle: int = 1) -> bytes:
    return struct.pack("!IIIHH", ONF, BUNDLE_CONTROL, bundle, kind, 3)


def entries(part: bytes) -> Iterator[bytes]:
    """The entries of one part of flow statistics; what is left over is the last."""
    while part:
        length = int.from_bytes(part[:2], "big")
        yield part[:length] if length else part
        part = part[length:] if length else b""


def is_asked_for(entry: bytes, asked: bytes) -> bool:
    """Whether an entry is in the table, and has the cookie, that a request for statistics names."""
    cookie, mask = struct.unpack_from("!QQ", asked, 24)
    return entry[2] == asked[8] and (int.from_bytes(entry[24:32], "big") ^ cookie) & mask == 0


def change(cookie: int = 1) -> Add:
    """Something to send."""
    return Add(Flow(Table.RULE, 10, match(eth_type=0x800), cookie))


class Peer:
    """Answers what a controller asks. `refuse` gives a message the error (type, code) instead."""

    def __init__(self, dpid: int = 1, ports: Sequence[int] = (1, 2)) -> None:
        self.dpid = dpid
        self.ports = [*(port(number) for number in ports), port(0xFFFFFFFE, "local")]
        self.flows = [b""]
        self.meters = b""
        self.silent: set[int] = set()
        self.refuse: Callable[[Message], tuple[int, int] | None] = lambda _: None

    def answers(self, asked: Message) -> Iterator[bytes]:
        if asked.kind in self.silent:
            return
        refused = self.refuse(asked)
        if refused is not None:
            yield message(ERROR, asked.xid, error(*refused, message(asked.kind, asked.xid, asked.body)))
        elif asked.kind == HELLO:
            yield message(HELLO, 0)
        elif asked.kind == ECHO_REQUEST:
            yield message(ECHO_REPLY, asked.xid, asked.body)
        elif asked.kind == FEATURES_REQUEST:
            yield message(FEATURES_REPLY, asked.xid, features(self.dpid))
        elif asked.kind == BARRIER_REQUEST:
            yield message(BARRIER_REPLY, asked.xid)
        elif asked.kind == MULTIPART_REQUEST:
            yield from self._multipart(asked)
        elif asked.kind == EXPERIMENTER:
            yield from self._bundle(asked)

    def _multipart(self, asked: Message) -> Iterator[bytes]:
        kind = struct.unpack_from("!H", asked.body)[0]
        parts = {PORT_DESCRIPTION: self.ports, FLOW_STATS: self.flows, METER_CONFIG: [self.meters]}.get(kind, [b""])
        if kind == FLOW_STATS:
            parts = [b"".join(entry for entry in entries(part) if is_asked_for(entry, asked.body)) for part in parts]
        elif kind == AGGREGATE:
            count = sum(is_asked_for(entry, asked.body) for part in self.flows for entry in entries(part))
            parts = [struct.pack("!QQI4x", 0, 0, count)]
        for number, part in enumerate(parts, 1):
            yield message(MULTIPART_REPLY, asked.xid, multipart(kind, part, more=number < len(parts)))

    def _bundle(self, asked: Message) -> Iterator[bytes]:
        _, kind, bundle, control = struct.unpack_from("!IIIH", asked.body)
        if kind == BUNDLE_CONTROL:
            yield message(EXPERIMENTER, asked.xid, bundle_reply(control + 1, bundle))


class Wire(asyncio.Transport):
    """A transport in memory with a peer at its other end; what is written is kept as messages."""

    def __init__(self, channel: Channel, peer: Peer) -> None:
        super().__init__()
        self.written: list[Message] = []
        self.writes = 0
        self.reading = True
        self.unwritten = 0
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._channel = channel
        self._peer = peer
        self._closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 6653) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high_water = high, low

    def get_write_buffer_size(self) -> int:
        return self.unwritten

    def is_closing(self) -> bool:
        return self._closing

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.writes += 1
        for asked in messages(bytes(data)):
            self.written.append(asked)
            for answer in self._peer.answers(asked):
                asyncio.get_running_loop().call_soon(self.deliver, answer)

    def deliver(self, data: bytes) -> None:
        """Bytes arrive from the switch."""
        if not self._closing:
            self._channel.data_received(data)

    def close(self) -> None:
        self.drop(None)

    def abort(self) -> None:
        self.drop(None)

    def drop(self, reason: Exception | None) -> None:
        """The connection ends."""
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._lose, reason)

    def _lose(self, reason: Exception | None) -> None:
        self._channel.connection_lost(reason)
        self.lost.set_result(None)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def of(self, kind: int) -> list[Message]:
        """The messages of one type that were written."""
        return [written for written in self.written if written.kind == kind]


class Events:
    """`SwitchEvents` that keep what they are told."""

    def __init__(self, *, wanted: bool = True) -> None:
        self.wanted = wanted
        self.ready = asyncio.Event()
        self.ports: list[PortState] = []
        self.calls: list[tuple[str, Any]] = []

    def connected(self, channel: SwitchChannel, ports: Sequence[PortState]) -> bool:
        self.calls.append(("connected", channel.dpid))
        self.ports = list(ports)
        self.ready.set()
        return self.wanted

    def disconnected(self, channel: SwitchChannel, reason: str) -> None:  # noqa: ARG002  # SwitchEvents names it
        self.calls.append(("disconnected", reason))

    def packet_in(self, channel: SwitchChannel, event: PacketIn) -> None:  # noqa: ARG002
        self.calls.append(("packet_in", event))

    def packet_dropped(self, channel: SwitchChannel, event: PacketIn) -> None:  # noqa: ARG002
        self.calls.append(("packet_dropped", event))

    def flow_removed(self, channel: SwitchChannel, event: FlowRemoved) -> None:  # noqa: ARG002
        self.calls.append(("flow_removed", event))

    def entry_removed(self, channel: SwitchChannel, event: EntryRemoved) -> None:  # noqa: ARG002
        self.calls.append(("entry_removed", event))

    def port_status(self, channel: SwitchChannel, port: PortState, *, removed: bool) -> None:  # noqa: ARG002
        self.calls.append(("port_status", (port, removed)))

    def refused(self, channel: SwitchChannel, what: str) -> None:  # noqa: ARG002
        self.calls.append(("refused", what))

    def of(self, name: str) -> list[Any]:
        return [what for called, what in self.calls if called == name]


def wire(events: Any, peer: Peer | None = None, limits: ChannelLimits | None = None) -> tuple[Channel, Wire]:
    """A channel that has just been connected to a peer."""
    channel = Channel(events, limits)
    transport = Wire(channel, peer or Peer())
    channel.connection_made(transport)
    return channel, transport


async def connect(
    peer: Peer | None = None, limits: ChannelLimits | None = None, events: Events | None = None
) -> tuple[Channel, Wire, Events]:
    """A channel whose handshake is done."""
    events = events or Events()
    channel, transport = wire(events, peer, limits)
    await events.ready.wait()
    await channel.barrier()
    return channel, transport, events
