"""One packet read with care: the flow that it belongs to, or why it belongs to none.

What the controller reads is read by its own parser (`net.flowkey`), so that both see the same 5-tuple. What it
refuses is read further here, as far as a flow can be told: fragments, options, extension headers, packets that were
not captured whole. Such a packet has a hurdle: Zethane would drop it, whatever the policy says of its flow.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import ip_address
from typing import NamedTuple

from zethane.audit.reason import DenyReason
from zethane.audit.refused import ETH_RARP, MAX_HEADERS, why_refused
from zethane.net.flowkey import (
    AUTHENTICATION,
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    ICMPV6,
    IPV6_EXTENSIONS,
    SCTP,
    TCP,
    UDP,
    FlowKey,
    parse_frame,
)
from zethane.policy.decide import describe
from zethane.replay.link import LLC, TAGS, Framed

LOOKED_AT = 512
"""Bytes of a packet that are looked at: more than all headers that are read can take."""

_ETH_LLDP, _ETH_EAPOL = 0x88CC, 0x888E
_NAMED = {_ETH_LLDP: "lldp", _ETH_EAPOL: "eapol", ETH_ARP: "arp"}
_NEIGHBOUR = frozenset((133, 135, 136))
"""Router solicitation, neighbor solicitation and advertisement (RFC 4861 §4): the controller answers or checks them."""
DHCP_PORTS = frozenset(((67, 68), (68, 67), (67, 67), (546, 547), (547, 546), (547, 547)))
_SPECIAL = {4: (b"\xe0", b"\xef\xff\xff\xff"), 16: (b"\xff", b"\xff" * 16)}
"""The first and last group addresses of each family (RFC 5771, RFC 4291 §2.7)."""
_BROADCAST = b"\xff" * 4
_NO_MAC = b"\x02" + bytes(5)
_ECHO = {(ICMP, 8): (8, 0), (ICMP, 0): (0, 8), (ICMPV6, 128): (8, 0), (ICMPV6, 129): (0, 8)}
_LEAST = {TCP: 20, UDP: 8, SCTP: 12, ICMP: 8, ICMPV6: 8}
_ERRORS = {ICMP: frozenset((3, 11, 12)), ICMPV6: frozenset((1, 2, 3, 4))}
_MIN_WORDS = 5
_IPV4_LEN, _IPV6_LEN = 20, 40
_NOT_IN_IPV4 = frozenset((HOP_BY_HOP, ICMPV6))
_UNKNOWN_LENGTH = 1 << 20
"""More than any packet has."""
_ETHER_TYPES = {0x8847: "MPLS", 0x8848: "MPLS", 0x8863: "PPPoE", 0x8864: "PPPoE", 0x88F7: "PTP", 0x9000: "loopback"}
"""EtherTypes with a name that are often seen (IEEE 802 Numbers)."""


class Fate(str, Enum):
    """What becomes of a packet that belongs to no flow. The value is the word in the result."""

    HANDLED = "handled"
    """The controller takes it: what it does is no matter of policy."""
    DROPPED = "dropped"
    """Zethane drops it, whatever the policy."""
    UNREAD = "unread"
    """Nobody can tell: too little was captured, or what its link type means is not known here."""


class Aside(NamedTuple):
    """A packet of no flow. `reason` is a DenyReason's word where it is dropped, `what` says more for people."""

    fate: Fate
    reason: str
    what: str = ""


class Piece(NamedTuple):
    """A fragment's datagram (source, destination, protocol, identification), and whether it is the first one of it."""

    datagram: tuple[bytes, bytes, int, int]
    first: bool


class Read(NamedTuple):
    """A packet of a flow, or a piece of one.

    `key` is None for a fragment that is not the first. `flags` are those of TCP; `sequence` is its sequence number,
    where it was captured. `about` is the flow that an ICMP error is about. `hurdle` is why Zethane would drop the
    packet, whatever its flow may do.
    """

    key: FlowKey | None
    flags: int = 0
    sequence: int = 0
    about: FlowKey | None = None
    hurdle: DenyReason | None = None
    piece: Piece | None = None


class _CutShort(Exception):  # noqa: N818  # says what was found
    """What was captured ends before the headers do."""


class _Malformed(Exception):  # noqa: N818
    """The packet itself ends before its headers do, or they contradict themselves."""


class _Network(NamedTuple):
    """An IP header: where what it carries begins in the packet, and where the packet ends."""

    src: bytes
    dst: bytes
    proto: int
    at: int
    end: int
    hurdle: DenyReason | None
    piece: Piece | None


class _Looked(NamedTuple):
    """A packet from its network header on: its first bytes, and how long it is as far as that is known."""

    head: bytes
    length: int
    missing: bool
    frame: bytes


def read_packet(framed: Framed, data: bytes, end: int, missing: bool) -> Read | Aside:
    """Read the packet in `data[framed.at:end]`; `missing` says that there was more of it, which was not captured."""
    kind = framed.eth_type
    if kind in _NAMED:
        return Aside(Fate.HANDLED, _NAMED[kind])
    head = data[framed.at : min(end, framed.at + LOOKED_AT)]
    frame = (framed.eth_dst or _NO_MAC) + (framed.eth_src or _NO_MAC) + kind.to_bytes(2, "big") + head
    if kind not in (ETH_IPV4, ETH_IPV6):
        return _odd(kind, frame)
    packet = parse_frame(frame)
    if packet is not None:
        found: Read | Aside = Read(packet.key, packet.flags, _sequence(frame, packet.key), packet.error_about)
    else:
        length = _UNKNOWN_LENGTH if missing else end - framed.at
        found = _refused(_Looked(head, length, missing, frame), kind)
    return _special(found, framed, head) or found


def _odd(kind: int, frame: bytes) -> Aside:
    if kind == ETH_RARP:
        return _dropped(DenyReason.NEIGHBOUR_SPOOF, "RARP")
    if kind in TAGS:
        return _dropped(DenyReason.VLAN_NOT_ALLOWED, "more than two tags")
    return _dropped(
        why_refused(frame),
        "IEEE 802.3 with LLC, or no IP" if kind == LLC else _ETHER_TYPES.get(kind) or f"EtherType {kind:#06x}",
    )


def _dropped(reason: DenyReason, what: str) -> Aside:
    return Aside(Fate.DROPPED, reason.value, what)


def _sequence(frame: bytes, key: FlowKey) -> int:
    """The sequence number of TCP in a frame that the controller reads; 0 behind extension headers."""
    if key.proto != TCP:
        return 0
    if len(key.src) == 4:
        return int.from_bytes(frame[38:42], "big")
    return int.from_bytes(frame[58:62], "big") if frame[20] == TCP else 0


def _special(found: Read | Aside, framed: Framed, head: bytes) -> Aside | None:
    """What a packet is that opens no flow whether it could be read or not: DHCP, and what is sent to a group."""
    key = found.key if isinstance(found, Read) else None
    if key is not None and key.proto == UDP and (key.sport, key.dport) in DHCP_PORTS:
        return Aside(Fate.HANDLED, "dhcp")
    if isinstance(found, Aside) and found.fate is not Fate.DROPPED:
        return None
    four = framed.eth_type == ETH_IPV4
    if len(head) < (_IPV4_LEN if four else _IPV6_LEN):
        return None
    dst = head[16:20] if four else head[24:40]
    if not (framed.group or is_group(dst)):
        return None
    proto = head[9] if four else head[6]
    what = f"IP protocol {proto}" if key is None else describe(key.proto, key.dport)
    return _dropped(DenyReason.MULTICAST, f"{what} to {ip_address(dst)}")


def is_group(address: bytes) -> bool:
    """Whether a packed address is that of a group, or of everybody."""
    first, last = _SPECIAL[len(address)]
    return first <= address <= last or address == _BROADCAST


def _refused(looked: _Looked, kind: int) -> Read | Aside:
    """What the controller's parser does not take: read further, from the network header on."""
    try:
        found = _ipv4(looked, 0) if kind == ETH_IPV4 else _ipv6(looked, 0)
        return _carried(looked, found)
    except _CutShort:
        if looked.missing:
            return Aside(Fate.UNREAD, "too-short", "captured too short to tell its flow")
    except _Malformed:
        pass
    return _dropped(why_refused(looked.frame), "")


def _carried(looked: _Looked, found: _Network) -> Read | Aside:
    head, at = looked.head, found.at
    if found.piece is not None and not found.piece.first:
        return Read(None, hurdle=found.hurdle, piece=found.piece)
    if found.end < at + _LEAST.get(found.proto, 0):
        raise _Malformed
    if found.proto in (ICMP, ICMPV6):
        return _icmp(looked, found)
    sport = dport = flags = sequence = 0
    if found.proto in _LEAST:
        sport, dport = _ports(head, at)
    if found.proto == TCP:
        flags, sequence = _tcp(head, at, found.end)
    key = FlowKey(found.src, found.dst, found.proto, sport, dport)
    return Read(key, flags, sequence, hurdle=found.hurdle, piece=found.piece)


def _ports(head: bytes, at: int) -> tuple[int, int]:
    if len(head) < at + 4:
        raise _CutShort
    return head[at] << 8 | head[at + 1], head[at + 2] << 8 | head[at + 3]


def _tcp(head: bytes, at: int, end: int) -> tuple[int, int]:
    """Flags and sequence number, as far as they were captured."""
    sequence = int.from_bytes(head[at + 4 : at + 8], "big") if len(head) >= at + 8 else 0
    if len(head) < at + 14:
        return 0, sequence
    words = head[at + 12] >> 4
    if words < _MIN_WORDS or end < at + words * 4:
        raise _Malformed
    return head[at + 13], sequence


def _icmp(looked: _Looked, found: _Network) -> Read | Aside:
    """Echo, errors, and neighbours' messages; nothing else of ICMP may pass."""
    head, at, proto = looked.head, found.at, found.proto
    if len(head) < at + 2:
        raise _CutShort
    kind, code = head[at], head[at + 1]
    ports = None if code else _ECHO.get((proto, kind))
    if ports is not None:
        return Read(FlowKey(found.src, found.dst, proto, *ports), hurdle=found.hurdle, piece=found.piece)
    if kind in _ERRORS[proto]:
        about = _quoted(looked, at + 8, found)
        hurdle = found.hurdle if looked.missing else found.hurdle or DenyReason.MALFORMED
        return Read(FlowKey(found.src, found.dst, proto, 0, 0), about=about, hurdle=hurdle, piece=found.piece)
    if proto == ICMPV6 and kind in _NEIGHBOUR and found.hurdle is None:
        return Aside(Fate.HANDLED, "nd")
    raise _Malformed


def _quoted(looked: _Looked, at: int, outer: _Network) -> FlowKey:
    """The flow of the packet that an error quotes, or its datagram without ports for a fragment that is not first."""
    inner = _Looked(looked.head[: outer.end], _UNKNOWN_LENGTH, True, looked.frame)
    quoted = _ipv4(inner, at) if outer.proto == ICMP else _ipv6(inner, at)
    sport = dport = 0
    if quoted.piece is None or quoted.piece.first:
        if quoted.proto in (TCP, UDP, SCTP):
            sport, dport = _ports(inner.head, quoted.at)
        elif quoted.proto in (ICMP, ICMPV6):
            _ports(inner.head, quoted.at)
            sport, dport = _ECHO.get((quoted.proto, inner.head[quoted.at]), (0, 0))
    return FlowKey(quoted.src, quoted.dst, quoted.proto, sport, dport)


def _ipv4(looked: _Looked, at: int) -> _Network:
    head = looked.head
    if len(head) < at + _IPV4_LEN:
        raise _CutShort
    length, total = (head[at] & 15) * 4, head[at + 2] << 8 | head[at + 3]
    if head[at] >> 4 != 4 or length < _IPV4_LEN:
        raise _Malformed
    # A length of 0 is what a host captures that leaves cutting into segments to its card.
    end = min(at + total if total else _UNKNOWN_LENGTH, looked.length)
    if end < at + length or head[at + 9] in _NOT_IN_IPV4:
        raise _Malformed
    hurdle = DenyReason.IP_OPTIONS if length > _IPV4_LEN else None
    src, dst, proto = head[at + 12 : at + 16], head[at + 16 : at + 20], head[at + 9]
    fragment, piece = (head[at + 6] << 8 | head[at + 7]) & 0x3FFF, None
    if fragment:
        hurdle = DenyReason.FRAGMENT
        piece = Piece((src, dst, proto, head[at + 4] << 8 | head[at + 5]), not fragment & 0x1FFF)
    return _Network(src, dst, proto, at + length, end, hurdle, piece)


def _ipv6(looked: _Looked, at: int) -> _Network:
    head = looked.head
    if len(head) < at + _IPV6_LEN:
        raise _CutShort
    if head[at] >> 4 != 6:
        raise _Malformed
    src, dst, proto = head[at + 8 : at + 24], head[at + 24 : at + 40], head[at + 6]
    carried = head[at + 4] << 8 | head[at + 5]
    at += _IPV6_LEN
    end = min(at + carried if carried else _UNKNOWN_LENGTH, looked.length)
    hurdle, piece = None, None
    for _ in range(MAX_HEADERS):
        if proto not in IPV6_EXTENSIONS:
            break
        if end < at + 8:
            raise _Malformed
        if len(head) < at + 8:
            raise _CutShort
        hurdle = hurdle or DenyReason.EXTENSION_HEADER
        if proto == FRAGMENT:
            hurdle = DenyReason.FRAGMENT
            offset = head[at + 2] << 8 | head[at + 3]
            proto, number, at = head[at], int.from_bytes(head[at + 4 : at + 8], "big"), at + 8
            if offset & 0xFFF9:  # alone it is no fragment (RFC 6946)
                piece = Piece((src, dst, proto, number), offset < 8)
            if offset >= 8:
                break
        else:
            units = (head[at + 1] + 2) * 4 if proto == AUTHENTICATION else (head[at + 1] + 1) * 8
            proto, at = head[at], at + units
    else:
        raise _Malformed
    if proto == ICMP:
        raise _Malformed
    return _Network(src, dst, proto, at, end, hurdle, piece)
