"""Targets: what switches send, as OpenFlow messages and parts of them."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator
from typing import Any

from fakes.openflow_peer import (
    BARRIER_REPLY,
    ECHO_REQUEST,
    ERROR,
    EXPERIMENTER,
    FLOW_MOD,
    FLOW_REMOVED,
    FLOW_STATS,
    MULTIPART_REPLY,
    PACKET_IN,
    PORT_STATUS,
    Wire,
    bundle_reply,
    connect,
    error,
    message,
    multipart,
    port,
)
from fuzz.frames import seed_frames
from fuzz.target import Target
from zethane.adapters.openflow import decode, encode
from zethane.adapters.openflow.channel import Channel
from zethane.adapters.openflow.hotpath import read_flow_removed, read_packet_in, write_verified
from zethane.adapters.openflow.oxm import UnreadableMatchError, read_match
from zethane.errors import ChannelError
from zethane.net.flowkey import FlowKey
from zethane.pipeline.change import Add
from zethane.pipeline.fields import Reason, cookie, parties
from zethane.pipeline.flow import FinTimeout, Flow, OutputRegister, SetField, ToController, match
from zethane.pipeline.held import HeldBinding, HeldRule, held_rule, session_of
from zethane.pipeline.tables import Table
from zethane.pipeline.verified import Verified, verified_flow

_MAX_MESSAGE = 0xFFFF
_DELETE_STRICT = 4
_ENTRY = struct.Struct("!HBxIIHHHH4xQQQ")
_KEYS = {
    "tcp": FlowKey(bytes((10, 0, 0, 21)), bytes((10, 0, 0, 11)), 6, 40000, 443),
    "udp-ipv6": FlowKey(bytes(15) + b"\1", bytes(15) + b"\2", 17, 40000, 53),
    "icmp": FlowKey(bytes((10, 0, 0, 21)), bytes((10, 0, 0, 11)), 1, 8, 0),
}


def _own_flow_mods() -> dict[str, bytes]:
    return {
        name: write_verified(Verified(key, 5, 9, 2, 3, 1), 0, notify=True, lease=0, idle=300)
        for name, key in _KEYS.items()
    }


def _flows() -> dict[str, Flow]:
    """Entries with every instruction and action that the pipeline has."""
    return {
        "ask": Flow(Table.RULE, 7, match(reg0=1, reg1=2, ip_proto=6), 5, (ToController(128),), meter=4),
        "bind": Flow(Table.SOURCE, 9, match(in_port=1, eth_src=5, ipv4_src=1), 5, metadata=(1 << 40, 3 << 40)),
        "deliver": Flow(Table.FORWARD, 9, match(reg2=1), 5, (SetField("vlan_vid", 0x1002), OutputRegister("reg3"))),
        "finish": Flow(Table.FLOW, 9, match(ipv6_src=1, tcp_src=1), 5, (FinTimeout(5, 0),), goto=Table.FORWARD),
    }


def as_reported(flow: Flow) -> bytes:
    """The entry of a flow-stats reply for what a flow-mod has put into a switch."""
    rest = encode.flow_mod(Add(flow), 1)[48:]
    flags = int(flow.notify_removed)
    length = _ENTRY.size + len(rest)
    timeouts = flow.idle_timeout, flow.hard_timeout
    return _ENTRY.pack(length, flow.table, 10, 0, flow.priority, *timeouts, flags, flow.cookie, 3, 200) + rest


# matches


def check_match(data: bytes) -> None:
    """A match is unreadable or canonical: written again by os-ken, and read again, it is the same."""
    try:
        found, end = read_match(data, 0, len(data))
    except UnreadableMatchError:
        return
    assert 4 <= end <= len(data)
    assert len(found) * 5 <= end
    assert list(found) == sorted(found)
    assert all(value & ~mask == 0 for _, value, mask in found)
    names = [name for name, _, _ in found]
    if len(set(names)) < len(names) or any(mask == 0 for _, _, mask in found):
        return  # nothing that a controller can write
    written = bytearray()
    encode._match(found).serialize(written, 0)
    assert read_match(bytes(written), 0, len(written))[0] == found


def seed_matches() -> dict[str, bytes]:
    seeds = {name: written[48 : read_match(written, 48, len(written))[1]] for name, written in _own_flow_mods().items()}
    for name, flow in _flows().items():
        written = bytearray()
        encode._match(flow.match).serialize(written, 0)
        seeds[name] = bytes(written)
    return seeds


# the hot path


def check_packet_in(data: bytes) -> None:
    """What is read agrees with a walk through the match, and the frame is the message's own end."""
    event = read_packet_in(data)
    if event is None:
        return
    assert data.endswith(event.frame)
    assert len(event.frame) <= len(data) - 34
    assert event.cookie == int.from_bytes(data[16:24], "big")
    assert event.table == data[15]
    fields = _walk(data, 28, 24 + int.from_bytes(data[26:28], "big"))
    assert event.port == int.from_bytes(fields.get(0x80000004, b""), "big")
    metadata = fields.get(0x80000408) or fields.get(0x80000510, b"")[:8]
    assert (0x80000408 in fields and 0x80000510 in fields) or event.metadata == int.from_bytes(metadata, "big")


def _walk(data: bytes, at: int, stop: int) -> dict[int, bytes]:
    """Header to body of every field; the last of a kind counts."""
    fields = {}
    while at + 4 <= stop:
        header = int.from_bytes(data[at : at + 4], "big")
        fields[header] = data[at + 4 : at + 4 + header % 256]
        at += 4 + header % 256
    return fields


def packet_in(frame: bytes, *, in_port: int = 2, table: int = 4, cookie: int = 1, metadata: int = 0) -> bytes:
    """A packet-in as Open vSwitch sends it."""
    body = struct.pack("!IHBBQ", 0xFFFFFFFF, len(frame), 1, table, cookie)
    oxm = struct.pack("!II IQ", 0x80000004, in_port, 0x80000408, metadata)
    wanted = struct.pack("!HH", 1, 4 + len(oxm)) + oxm
    return message(PACKET_IN, 0, body + wanted + bytes(-len(wanted) % 8) + bytes(2) + frame)


def seed_packet_ins() -> dict[str, bytes]:
    return {name: packet_in(frame, metadata=parties(1, 2)) for name, frame in seed_frames().items()}


def check_flow_removed(data: bytes) -> None:
    """A key is read only where the match holds it."""
    event = read_flow_removed(data)
    if event is None:
        return
    assert event.cookie == int.from_bytes(data[8:16], "big")
    assert data[19] == Table.FLOW
    assert all(0 <= number < 2**64 for number in (event.packets, event.octets, event.metadata, event.port))
    if event.key is not None:
        assert len(event.key.src) == len(event.key.dst) in (4, 16)
        assert event.key.src in data
        assert event.key.dst in data
        assert str(event.key)


def flow_removed(match_bytes: bytes, cookie: int = 1, table: int = 3) -> bytes:
    """A flow-removed about an entry with this match."""
    counters = 0, 5, 0, 300, 0, 17, 1700
    body = struct.pack("!QHBB IIHHQQ", cookie, 200, 0, table, *counters[:2], *counters[3:]) + match_bytes
    return message(FLOW_REMOVED, 0, body)


def seed_flow_removeds() -> dict[str, bytes]:
    return {name: flow_removed(wanted) for name, wanted in seed_matches().items()}


# lists


def check_flow_stats(data: bytes) -> None:
    """An entry that is ours is exactly what was read: written again, it reads the same."""
    try:
        found = list(decode.read_flow_stats(data))
    except ChannelError:
        return
    assert len(found) * (_ENTRY.size + 8) <= len(data)
    for entry in found:
        names = [name for name, _, _ in entry.match]
        assert not entry.raw or (entry.flow is None and entry.raw in data)
        if entry.table in set(Table):
            _check_removal(encode.flow_mod(entry.removal, 7))
        if entry.flow is None or len(set(names)) < len(names) or any(not mask for _, _, mask in entry.match):
            continue
        assert entry.flow.key == (entry.table, entry.priority, entry.match)
        (again,) = decode.read_flow_stats(as_reported(entry.flow))
        assert again.flow == entry.flow


def check_read_back(data: bytes) -> None:
    """Per-flow rules, and entries of sessions, mean the same in the forms in which they are read quickly."""
    try:
        found = list(decode.read_flow_stats(data, brief=True))
        whole = [decode._flow(data, at) for at in _starts(data)]
    except ChannelError:
        return
    for entry, other in zip(found, whole, strict=True):
        if isinstance(entry, HeldRule):
            assert held_rule(other) == entry
            assert entry.removal == other.removal
        elif isinstance(entry, HeldBinding):
            assert entry.whole == other
            assert entry.session == session_of(other.table, other.cookie) > 0
        else:
            assert entry == other
        assert (entry.table, entry.cookie, entry.raw) == (other.table, other.cookie, other.raw)


def _starts(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        yield at
        at += int.from_bytes(data[at : at + 2], "big")


def seed_read_back() -> dict[str, bytes]:
    """What a switch holds of flows and sessions, as it says it."""
    seeds = seed_flow_stats()
    for name, key in _KEYS.items():
        first = Verified(key, 5, 9, 2, 3, cookie(5, 9, 1))
        seeds[f"rule-{name}"] = reported_by_ovs(verified_flow(first, notify=True, idle=300))
    why = cookie(5, 0, Reason.BINDING)
    binding = Flow(Table.SOURCE, 9, match(in_port=1, eth_src=5, ipv4_src=1), why, goto=Table.DESTINATION)
    seeds["binding"] = as_reported(binding)
    return seeds


def reported_by_ovs(flow: Flow) -> bytes:
    """The same with the fields of the match in Open vSwitch's order: registers and metadata are the last."""
    entry = as_reported(flow)
    length = int.from_bytes(entry[_ENTRY.size + 2 : _ENTRY.size + 4], "big")
    at, stop = _ENTRY.size + 4, _ENTRY.size + length
    fields = []
    while at < stop:
        size = 4 + entry[at + 3]
        fields.append(entry[at : at + size])
        at += size
    fields.sort(key=lambda field: (field[:2] == b"\0\1", field[:4] == b"\x80\0\5\x10"))
    return entry[: _ENTRY.size + 4] + b"".join(fields) + entry[stop:]


def _check_removal(written: bytes) -> None:
    """Whatever a switch holds can be taken out of it again: strictly, and in one whole message."""
    version, kind, length, xid = struct.unpack_from("!BBHI", written)
    assert (version, kind, length, xid) == (4, FLOW_MOD, len(written), 7)
    assert written[25] == _DELETE_STRICT


def seed_flow_stats() -> dict[str, bytes]:
    seeds = {name: as_reported(flow) for name, flow in _flows().items()}
    return seeds | {"all": b"".join(seeds.values())}


def _bounded(read: Callable[[bytes], Any], size: int) -> Callable[[bytes], None]:
    """A check that a list has no more entries than fit into its bytes, or is a ChannelError."""

    def check(data: bytes) -> None:
        try:
            found = read(data)
        except ChannelError:
            return
        assert len(found) * size <= len(data)

    return check


def check_ports(data: bytes) -> None:
    """Ports are real ones, and their names fit into a line of a log."""
    try:
        found = decode.read_ports(data)
    except ChannelError:
        return
    assert len(found) * 64 <= len(data)
    assert all(state.number < 0xFFFFFF00 and len(state.name) <= 16 for state in found)


def seed_ports() -> dict[str, bytes]:
    return {"two": port(1, "eth1") + port(2, "eth2", config=1), "local": port(0xFFFFFFFE, "local"), "none": b""}


def seed_meters() -> dict[str, bytes]:
    ours = encode.meter_mod(0, 3, 100, 50, 1)[16:]
    return {"one": struct.pack("!HHI", 8 + len(ours), 5, 3) + ours, "strange": struct.pack("!HHI", 8, 5, 9)}


def seed_meter_drops() -> dict[str, bytes]:
    return {"one": struct.pack("!IH6xIQQIIQQ", 3, 56, 0, 1000, 2000, 1, 0, 40, 5000)}


def check_error(data: bytes) -> None:
    """Every error has one short line of text."""
    text = decode.describe_error(data)
    assert text.startswith("error")
    assert len(text) < 200
    assert text.isprintable()


def seed_errors() -> dict[str, bytes]:
    flow = Add(_flows()["deliver"])
    causes = {"flow-mod": encode.flow_mod(flow, 7), "bundled": encode.bundle_add(1, flow, 8)}
    return {name: error(5, 1, cause) for name, cause in causes.items()}


# the channel


def check_channel(data: bytes) -> None:
    """A stream means the same however it is cut into pieces; a bad one ends the connection and nothing else.

    The first byte says into pieces of how many bytes the rest is cut.
    """
    if not data:
        return
    size, stream = data[0] or 256, data[1:]
    whole = asyncio.run(_deliver(stream, len(stream) or 1))
    pieces = asyncio.run(_deliver(stream, size))
    assert pieces == whole


async def _deliver(stream: bytes, size: int) -> tuple[list[tuple[str, Any]], list[tuple[int, bytes]]]:
    """What a channel reports and answers to a stream that arrives in pieces, after its handshake."""
    channel, wire, events = await connect()
    pending = asyncio.get_running_loop().create_task(channel.barrier())
    await asyncio.sleep(0)
    before = len(wire.written)
    for at in range(0, len(stream), size):
        wire.deliver(stream[at : at + size])
        assert len(channel._received) <= _MAX_MESSAGE + size, "a message can never be longer"
    await asyncio.sleep(0)
    answered = [(kind, body) for kind, _, body in wire.written[before:]]
    await _end(channel, wire)
    await asyncio.gather(pending, return_exceptions=True)
    reasons = events.of("disconnected")
    assert not any("could not be handled" in reason for reason in reasons), reasons
    return events.calls, answered


async def _end(channel: Channel, wire: Wire) -> None:
    channel.close("the check is over")
    await wire.lost


def seed_streams() -> dict[str, bytes]:
    parts = {
        "echo": message(ECHO_REQUEST, 9, b"hello"),
        "error": message(ERROR, 9, seed_errors()["flow-mod"]),
        "port-status": message(PORT_STATUS, 0, b"\0" + bytes(7) + port(3)),
        "port-gone": message(PORT_STATUS, 0, b"\1" + bytes(7) + port(1)),
        "multipart": message(MULTIPART_REPLY, 9, multipart(FLOW_STATS, seed_flow_stats()["ask"])),
        "barrier": message(BARRIER_REPLY, 9),
        "bundle": message(EXPERIMENTER, 9, bundle_reply(5)),
        "packet-in": seed_packet_ins()["tcp-syn"],
        "flow-removed": seed_flow_removeds()["tcp"],
        "entry-removed": flow_removed(seed_matches()["bind"], table=Table.OWNER),
    }
    seeds = {name: b"\x05" + part for name, part in parts.items()}
    return seeds | {"all": b"\x07" + b"".join(parts.values())}


TARGETS = (
    Target("match", check_match, seed_matches, 256),
    Target("packet-in", check_packet_in, seed_packet_ins, 512),
    Target("flow-removed", check_flow_removed, seed_flow_removeds, 256),
    Target("flow-stats", check_flow_stats, seed_flow_stats),
    Target("read-back", check_read_back, seed_read_back),
    Target("ports", check_ports, seed_ports, 512),
    Target("meters", _bounded(decode.read_meters, 8), seed_meters, 256),
    Target("meter-drops", _bounded(decode.read_meter_drops, 40), seed_meter_drops, 256),
    Target("openflow-error", check_error, seed_errors, 256),
    Target("channel", check_channel, seed_streams),
)
