"""OpenFlow matches on the wire (OpenFlow 1.3.5 §7.2.3): bytes to pipeline matches.

Own code, because os-ken's readers are slow for what arrives with every packet, and can be made to loop for ever
by zero lengths. Every step here moves on by at least four bytes.
"""

from __future__ import annotations

import struct

from zethane.pipeline.flow import FieldMatch, Match
from zethane.pipeline.tables import FIELD_BITS

_BASIC = 0x8000
_NXM1 = 0x0001
_EXPERIMENTER = 0xFFFF
_ONF = 0x4F4E4600

_BASIC_FIELDS = {
    0: "in_port",
    2: "metadata",
    3: "eth_dst",
    4: "eth_src",
    5: "eth_type",
    6: "vlan_vid",
    10: "ip_proto",
    11: "ipv4_src",
    12: "ipv4_dst",
    13: "tcp_src",
    14: "tcp_dst",
    15: "udp_src",
    16: "udp_dst",
    17: "sctp_src",
    18: "sctp_dst",
    19: "icmpv4_type",
    20: "icmpv4_code",
    26: "ipv6_src",
    27: "ipv6_dst",
    29: "icmpv6_type",
    30: "icmpv6_code",
    42: "tcp_flags",
}
_NXM_FIELDS = {
    **{number: f"reg{number}" for number in range(7)},
    26: "ip_frag",
    34: "tcp_flags",
    105: "ct_state",
    108: "ct_label",
}
_EXPERIMENTER_FIELDS = {42: "tcp_flags"}

_HEADER = struct.Struct("!HBB")
_WORD = struct.Struct("!I")


class UnreadableMatchError(ValueError):
    """The bytes are not a match that Zethane could have written."""


def read_field(data: bytes, at: int, end: int) -> tuple[FieldMatch, int]:
    """The field at `at` and where the next one begins. Raises UnreadableMatchError."""
    if end - at < _HEADER.size:
        raise UnreadableMatchError("truncated field header")
    oxm_class, number, length = _HEADER.unpack_from(data, at)
    has_mask, number = number & 1, number >> 1
    body = at + _HEADER.size
    following = body + length
    if following > end:
        raise UnreadableMatchError("field is longer than its match")
    if oxm_class == _BASIC:
        name = _BASIC_FIELDS.get(number)
    elif oxm_class == _NXM1:
        name = _NXM_FIELDS.get(number)
    elif oxm_class == _EXPERIMENTER and length >= _WORD.size and _WORD.unpack_from(data, body)[0] == _ONF:
        name = _EXPERIMENTER_FIELDS.get(number)
        body += _WORD.size
    else:
        name = None
    if name is None:
        raise UnreadableMatchError(f"field {oxm_class:#x}:{number} is not one of the pipeline's")
    return _value(name, data[body:following], bool(has_mask)), following


def _value(name: str, body: bytes, has_mask: bool) -> FieldMatch:
    bits = FIELD_BITS[name]
    size = (bits + 7) // 8
    if len(body) != size * (1 + has_mask):
        raise UnreadableMatchError(f"{name} has {len(body)} bytes")
    full = (1 << bits) - 1
    value = int.from_bytes(body[:size], "big")
    mask = int.from_bytes(body[size:], "big") & full if has_mask else full
    return FieldMatch(name, value & mask, mask)


def match_bytes(data: bytes, at: int, end: int) -> bytes:
    """The match structure at `at` with its padding, as it is; empty if there is none that could be sent back."""
    if end - at < _HEADER.size:
        return b""
    kind, length = struct.unpack_from("!HH", data, at)
    padded = at + (length + 7) // 8 * 8
    return data[at:padded] if kind == 1 and length >= _HEADER.size and padded <= end else b""


def read_match(data: bytes, at: int, end: int) -> tuple[Match, int]:
    """The match structure at `at`, in canonical form, and where the padded structure ends.

    Raises UnreadableMatchError; also for a field that comes twice (OFPBMC_DUP_FIELD): of those a few bytes each would
    become an object each, thousands in one match.
    """
    if end - at < _HEADER.size:
        raise UnreadableMatchError("truncated match")
    kind, length = struct.unpack_from("!HH", data, at)
    padded = at + (length + 7) // 8 * 8
    if kind != 1 or length < _HEADER.size or padded > end:
        raise UnreadableMatchError("bad match header")
    stop = at + length
    at += _HEADER.size
    fields: dict[str, FieldMatch] = {}
    while at < stop:
        found, at = read_field(data, at, stop)
        if found.name in fields:
            raise UnreadableMatchError(f"{found.name} comes twice")
        fields[found.name] = found
    return tuple(sorted(fields.values())), padded
