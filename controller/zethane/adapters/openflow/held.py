"""Per-flow rules in a flow-stats reply, read with one struct each.

Open vSwitch writes the fields of a match in an order of its own, always the same (nx-match.c, nx_put_raw). What is not
exactly like this is left to the reader that takes fields in any order.
"""

from __future__ import annotations

import struct

from zethane.net.flowkey import SCTP, TCP, UDP, FlowKey
from zethane.pipeline.fields import OBJECT_SHIFT, PARTIES_MASK, SUBJECT_SHIFT
from zethane.pipeline.held import HeldRule
from zethane.pipeline.tables import Priority, Table
from zethane.pipeline.verified import FIN_IDLE

# Entry: length, table, duration, priority, timeouts, flags, cookie, packets, octets. Match: EtherType, addresses,
# protocol, ports, both classes, metadata with its mask. Instructions.
_ENTRY = "!HBxIIHHHH4xQQQ"
_MATCH = "HHIHI{0}sI{0}sIBIHIHIIIIIQQ"
_GOTO = struct.pack("!HHB3x", 1, 8, Table.FORWARD)
_FIN = struct.pack("!HHIHHIHHH2x", 4, 24, 0, 0xFFFF, 16, 0x2320, 19, FIN_IDLE, 0) + _GOTO
_FAMILIES = {0x08: (4, 0x0800, 0x80001604, 0x80001804), 0x86: (16, 0x86DD, 0x80003410, 0x80003610)}
_PORTS = {TCP: (0x80001A02, 0x80001C02), UDP: (0x80001E02, 0x80002002), SCTP: (0x80002202, 0x80002402)}
_SEND_FLOW_REM = 1
_ETH_TYPE_AT = 56
_NUMBER = 0xFFFFFF


def _form(family: int, instructions: bytes) -> tuple[struct.Struct, tuple[object, ...]]:
    size, eth_type, src, dst = _FAMILIES[family]
    fields = _MATCH.format(size)
    length = struct.calcsize("!" + fields)
    whole = struct.Struct(f"{_ENTRY}{fields}{-length % 8}x{len(instructions)}s")
    constant = (
        Table.FLOW, Priority.FLOW_VERIFIED,
        1, length, 0x80000A02, eth_type, src, dst, 0x80001401,
        0x00010004, 0x00010204, 0x80000510, PARTIES_MASK, instructions,
    )  # fmt: skip  # a line per structure
    return whole, constant


_FORMS = {(form[0].size, family): form for family in _FAMILIES for form in (_form(family, _GOTO), _form(family, _FIN))}


def read_held_rule(body: bytes, at: int, length: int, younger: float = 0.0) -> HeldRule | None:
    """The per-flow rule in an entry of `length` bytes at `at`; None if it is not in the usual form.

    Its age is that of so many seconds before.
    """
    if length <= _ETH_TYPE_AT:
        return None
    form = _FORMS.get((length, body[at + _ETH_TYPE_AT]))
    if form is None:
        return None
    (
        _, table, sec, nsec, priority, idle, hard, flags, cookie, packets, octets,
        kind, size, eth_type_oxm, eth_type, src_oxm, src, dst_oxm, dst, proto_oxm, proto,
        sport_oxm, sport, dport_oxm, dport, first, sender_class, second, receiver_class, third, metadata, mask,
        instructions,
    ) = form[0].unpack_from(body, at)  # fmt: skip
    found = (
        table, priority, kind, size, eth_type_oxm, eth_type, src_oxm, dst_oxm, proto_oxm,
        first, second, third, mask, instructions,
    )  # fmt: skip
    has_fin = len(instructions) > len(_GOTO)
    if (
        found != form[1]
        or _PORTS.get(proto) != (sport_oxm, dport_oxm)
        or has_fin != (proto == TCP)
        or metadata & ~PARTIES_MASK
    ):
        return None
    return HeldRule(
        FlowKey(src, dst, proto, sport, dport),
        metadata >> SUBJECT_SHIFT & _NUMBER,
        metadata >> OBJECT_SHIFT & _NUMBER,
        sender_class,
        receiver_class,
        cookie,
        idle,
        hard,
        bool(flags & _SEND_FLOW_REM),
        max(0.0, sec + nsec / 1e9 - younger),
        packets,
        octets,
    )
