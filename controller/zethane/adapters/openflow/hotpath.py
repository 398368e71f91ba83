"""The hot path on bytes: packet-in and flow-removed read, per-flow rules and packet-outs written.

Everything is a precompiled struct; nothing goes through os-ken. Where it was built, `fast_path` does the plain cases
in one pass over what was read, compiled; this is the rest, and what it is held against. A test holds the per-flow
rules written here against the same entries written by os-ken's codec.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from zethane.adapters.openflow.oxm import UnreadableMatchError, read_match
from zethane.native import HOT_PATH, native
from zethane.net.flowkey import ICMP, ICMPV6, SCTP, TCP, UDP
from zethane.pipeline.addresses import IPV4_LENGTH
from zethane.pipeline.fields import OBJECT_CLASS, OBJECT_SHIFT, PARTIES_MASK, SUBJECT_CLASS, SUBJECT_SHIFT
from zethane.pipeline.tables import Priority, Table
from zethane.pipeline.verified import FIN_IDLE, Verified, key_of
from zethane.service.switch import EntryRemoved, FlowRemoved, PacketIn

_PACKET_IN = struct.Struct("!8xIHBBQHH")
_OXM_HEADER = struct.Struct("!I")
_U32 = struct.Struct("!I")
_U64 = struct.Struct("!Q")
_OXM_IN_PORT = 0x80000004
_OXM_METADATA = 0x80000408
_OXM_METADATA_MASKED = 0x80000510
_MATCH_AT = 24
_FIELDS_AT = 28
_NO_BUFFER = 0xFFFFFFFF
_ANY = 0xFFFFFFFF
_SEND_FLOW_REM = 1

_CLASSES = {SUBJECT_CLASS, OBJECT_CLASS}
_NOT_COUNTED = 2**64 - 1
_FLOW_REMOVED = struct.Struct("!8xQHBBIIHHQQ")


def read_packet_in(message: bytes) -> PacketIn | None:
    """The packet-in in a whole message; None if it is malformed."""
    if len(message) < 34:
        return None
    _buffer, _total, _reason, table, cookie, kind, length = _PACKET_IN.unpack_from(message)
    data = _MATCH_AT + (length + 7) // 8 * 8 + 2
    if kind != 1 or length < 4 or data > len(message):
        return None
    port = metadata = 0
    at, stop = _FIELDS_AT, _MATCH_AT + length
    while at + 4 <= stop:
        header = _OXM_HEADER.unpack_from(message, at)[0]
        if at + 4 + (header & 0xFF) > stop:
            return None
        if header == _OXM_IN_PORT:
            port = _U32.unpack_from(message, at + 4)[0]
        elif header in (_OXM_METADATA, _OXM_METADATA_MASKED):
            metadata = _U64.unpack_from(message, at + 4)[0]
        at += 4 + (header & 0xFF)
    return PacketIn(port, table, cookie, metadata, message[data:])


def read_flow_removed(message: bytes) -> FlowRemoved | None:
    """The flow-removed in a whole message; None if it is malformed or about another table."""
    if len(message) < 56:
        return None
    cookie, _priority, reason, table, _s, _ns, idle, _hard, packets, octets = _FLOW_REMOVED.unpack_from(message)
    if table != Table.FLOW:
        return None
    try:
        wanted, _ = read_match(message, 48, len(message))
    except UnreadableMatchError:
        return None
    fields = {name: value for name, value, _ in wanted}
    key = key_of(wanted)
    metadata, port = fields.get("metadata", 0), fields.get("in_port", 0)
    classes = (fields[SUBJECT_CLASS], fields[OBJECT_CLASS]) if fields.keys() >= _CLASSES else None
    return FlowRemoved(cookie, reason, key, packets, octets, idle, metadata, port, classes)


def read_entry_removed(message: bytes) -> EntryRemoved | None:
    """The flow-removed of an entry whose counters are an account; None if it is malformed or about another table."""
    if len(message) < 56:
        return None
    cookie, _, _, table, *_, packets, octets = _FLOW_REMOVED.unpack_from(message)
    if table not in (Table.CONNECTION, Table.OWNER):
        return None
    return EntryRemoved(table, cookie, packets, octets) if max(packets, octets) < _NOT_COUNTED else None


# A per-flow rule: header, flow-mod, match (metadata/mask, reg0, reg1, eth_type, addresses, proto, ports), padding
# to eight bytes, instructions. The masked metadata and the ports are what differs between flows of a session.
_FLOW_MOD = "!BBHI QQBBHHHIIIHxx"
_MATCH_START = "HH IQQ II II IH IB"
_APPLY_FIN = struct.Struct("!HHIHHIHHH2x").pack(
    4, 24, 0, 0xFFFF, 16, 0x2320, 19, FIN_IDLE, 0
)  # instruction apply-actions with Nicira's fin_timeout
_GOTO_FORWARD = struct.Struct("!HHB3x").pack(1, 8, Table.FORWARD)

_OXM_REG0 = 0x00010004
_OXM_REG1 = 0x00010204
_OXM_ETH_TYPE = 0x80000A02
_OXM_IP_PROTO = 0x80001401
_IPV4 = (0x0800, "I4s I4s", 0x80001604, 0x80001804)
_IPV6 = (0x86DD, "I16s I16s", 0x80003410, 0x80003610)
_PORT_OXM = {
    TCP: ("IH IH", 0x80001A02, 0x80001C02),
    UDP: ("IH IH", 0x80001E02, 0x80002002),
    SCTP: ("IH IH", 0x80002202, 0x80002402),
    ICMP: ("IB IB", 0x80002601, 0x80002801),
    ICMPV6: ("IB IB", 0x80003A01, 0x80003C01),
}


class _Template:
    """The struct of one kind of per-flow rule (family and protocol), with everything constant filled in."""

    __slots__ = (
        "_dst",
        "_eth_type",
        "_first",
        "_match_length",
        "_pack",
        "_proto",
        "_second",
        "_src",
    )

    def __init__(self, family: tuple[int, str, int, int], proto: int) -> None:
        self._eth_type, addresses, self._src, self._dst = family
        ports, self._first, self._second = _PORT_OXM.get(proto, ("", 0, 0))
        self._proto = proto
        fields = f"!{_MATCH_START} {addresses} {ports}"
        self._match_length = struct.calcsize(fields)
        padding = -self._match_length % 8
        tail = (len(_APPLY_FIN) if proto == TCP else 0) + len(_GOTO_FORWARD)
        self._pack = struct.Struct(f"{_FLOW_MOD} {fields[1:]} {padding}x {tail}s")

    def write(self, direction: Verified, xid: int, idle: int, lease: int, flags: int) -> bytes:
        key = direction.key
        ports: tuple[int, ...] = ()
        if self._first:
            first, second = key.sport, key.dport
            if self._proto == ICMP:
                first, second = (8, 0) if key.sport else (0, 0)
            elif self._proto == ICMPV6:
                first, second = (128, 0) if key.sport else (129, 0)
            ports = (self._first, first, self._second, second)
        pack = self._pack
        return pack.pack(
            4, 14, pack.size, xid,
            direction.cookie, 0, Table.FLOW, 0, idle, lease, Priority.FLOW_VERIFIED,
            _NO_BUFFER, _ANY, _ANY, flags,
            1, self._match_length,
            _OXM_METADATA_MASKED, direction.sender << SUBJECT_SHIFT | direction.receiver << OBJECT_SHIFT, PARTIES_MASK,
            _OXM_REG0, direction.sender_class, _OXM_REG1, direction.receiver_class,
            _OXM_ETH_TYPE, self._eth_type, _OXM_IP_PROTO, self._proto,
            self._src, key.src, self._dst, key.dst,
            *ports,
            _APPLY_FIN + _GOTO_FORWARD if self._proto == TCP else _GOTO_FORWARD,
        )  # fmt: skip  # in the order of the wire, a line per structure


_TEMPLATES: dict[tuple[int, int], _Template] = {}


def write_verified(direction: Verified, xid: int, *, notify: bool, lease: int, idle: int) -> bytes:
    """The flow-mod that adds the per-flow rule for one direction, with a hard and an idle timeout; 0: none."""
    key = direction.key
    kind = (len(key.src), key.proto)
    template = _TEMPLATES.get(kind)
    if template is None:
        family = _IPV4 if len(key.src) == IPV4_LENGTH else _IPV6
        template = _TEMPLATES[kind] = _Template(family, key.proto)  # at most 2 x 256 of them
    return template.write(direction, xid, idle, lease, _SEND_FLOW_REM if notify else 0)


_PACKET_OUT = struct.Struct("!BBHIIIH6xHHIH6x")
_CONTROLLER_PORT = 0xFFFFFFFD


def write_packet_out(port: int, frame: bytes, xid: int) -> bytes:
    """The packet-out that sends `frame` out of `port`."""
    size = _PACKET_OUT.size + len(frame)
    return _PACKET_OUT.pack(4, 13, size, xid, _NO_BUFFER, _CONTROLLER_PORT, 16, 0, 16, port, 0) + frame


pure_read_packet_in = read_packet_in
if not TYPE_CHECKING and (compiled := native(HOT_PATH)) is not None:
    read_packet_in = compiled.read_packet_in
