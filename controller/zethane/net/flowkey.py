"""Frames to flow keys: the one parser that reads what hosts send.

It reads nothing beyond the transport header, copies nothing but addresses, and answers None for whatever
it does not fully understand; the caller denies then (`audit.refused` says why). What it does read, it reads as Open
vSwitch does, so that the controller never decides about another 5-tuple than the switch enforces. It never loops over
host-controlled lengths.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

ETH_IPV4 = 0x0800
ETH_ARP = 0x0806
ETH_IPV6 = 0x86DD

ICMP = 1
TCP = 6
UDP = 17
ICMPV6 = 58
SCTP = 132

HOP_BY_HOP = 0
ROUTING = 43
FRAGMENT = 44
AUTHENTICATION = 51
DESTINATION_OPTIONS = 60
MOBILITY = 135
HIP = 139
SHIM6 = 140

TCP_FIN = 0x01
TCP_SYN = 0x02
TCP_RST = 0x04
TCP_ACK = 0x10

_ETH_LEN = 14
_IPV4_LEN = 20
_IPV6_LEN = 40
_PLAIN_IPV4 = 0x45
_NOT_IN_IPV4 = frozenset((HOP_BY_HOP, ICMPV6))
_TCP_OFFSET_MIN = 5
"""32-bit words of the shortest TCP header (RFC 9293 §3.1)."""
_PORT_PROTOCOLS = frozenset((TCP, UDP, SCTP))
_TRANSPORT_LEN = {TCP: 20, UDP: 8, SCTP: 12, ICMP: 8, ICMPV6: 8}
"""Bytes that a header takes at least; a switch finds no ports in less (RFC 9293 §3.1, RFC 768, RFC 9260 §3)."""
IPV6_EXTENSIONS = frozenset(
    (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS, MOBILITY, HIP, SHIM6, 253, 254)
)
"""Extension headers (IANA's registry of IPv6 extension header types) but ESP, behind which nothing can be read."""

MAX_EXTENSION = 64
"""Bytes of one extension header: more options than that no packet to a host has a use for (RFC 8504 §5.3)."""

_ECHO_PORTS = {(ICMP, 8): (8, 0), (ICMP, 0): (0, 8), (ICMPV6, 128): (8, 0), (ICMPV6, 129): (0, 8)}
_ERRORS = {ICMP: frozenset((3, 11, 12)), ICMPV6: frozenset((1, 2, 3, 4))}


class FlowKey(NamedTuple):
    """One direction of a connection: the 5-tuple.

    Addresses are packed (4 or 16 bytes). An echo request has the ports (8, 0) and its reply (0, 8), in ICMP
    and ICMPv6 alike, so that `reverse` holds for them too. Protocols without ports have (0, 0).
    """

    src: bytes
    dst: bytes
    proto: int
    sport: int
    dport: int

    def reverse(self) -> FlowKey:
        """The same connection seen from the other end."""
        return FlowKey(self.dst, self.src, self.proto, self.dport, self.sport)

    def __str__(self) -> str:
        src, dst = ipaddress.ip_address(self.src), ipaddress.ip_address(self.dst)
        return f"{src}:{self.sport}>{dst}:{self.dport}/{self.proto}"


class Packet(NamedTuple):
    """What the controller needs to know of a frame that a switch sent up.

    `flags` are the TCP flags (RFC 9293 §3.1), 0 for other protocols. `error_about` is set for an ICMP error:
    the key of the packet that it quotes, as that packet was sent (RFC 792, RFC 4443 §3).
    """

    eth_dst: bytes
    eth_src: bytes
    key: FlowKey
    flags: int
    error_about: FlowKey | None = None


class _Network(NamedTuple):
    """An IP header that was read: `end` is where its packet ends, so that padding behind it is never read."""

    src: bytes
    dst: bytes
    proto: int
    transport: int
    end: int


def parse_frame(frame: bytes) -> Packet | None:
    """Read an untagged Ethernet frame with IPv4 or IPv6; None if it is malformed, truncated or a fragment."""
    if len(frame) < _ETH_LEN + 20:
        return None
    eth_type = frame[12] << 8 | frame[13]
    if eth_type == ETH_IPV4:
        found = _ipv4(frame, _ETH_LEN)
    elif eth_type == ETH_IPV6:
        found = _ipv6(frame, _ETH_LEN)
    else:
        return None
    if found is None:
        return None
    src, dst, proto, offset, end = found
    transport = _transport(frame, offset, end, proto)
    if transport is None:
        if proto in _ERRORS:
            return _icmp_error(frame, offset, end, src, dst, proto)
        return None
    sport, dport, flags = transport
    return Packet(frame[:6], frame[6:12], FlowKey(src, dst, proto, sport, dport), flags)


def _ipv4(frame: bytes, at: int) -> _Network | None:
    # Version 4 and a header of 20 bytes: options are refused, no switch can see what they ask for.
    if frame[at] != _PLAIN_IPV4:
        return None
    proto = frame[at + 9]
    if proto in _NOT_IN_IPV4:
        return None
    total = frame[at + 2] << 8 | frame[at + 3]
    # More-fragments set or an offset: ports may be missing or overwritten later (RFC 1858).
    if total < _IPV4_LEN or (frame[at + 6] << 8 | frame[at + 7]) & 0x3FFF:
        return None
    end = min(len(frame), at + total)
    return _Network(frame[at + 12 : at + 16], frame[at + 16 : at + 20], proto, at + _IPV4_LEN, end)


def _ipv6(frame: bytes, at: int) -> _Network | None:
    if len(frame) < at + _IPV6_LEN or frame[at] >> 4 != 6:
        return None
    proto = frame[at + 6]
    payload = at + _IPV6_LEN
    end = min(len(frame), payload + (frame[at + 4] << 8 | frame[at + 5]))
    if proto in IPV6_EXTENSIONS:
        behind = _behind_options(frame, payload, end, proto)
        if behind is None:
            return None
        proto, payload = behind
    if proto == ICMP:
        return None
    return _Network(frame[at + 8 : at + 24], frame[at + 24 : at + 40], proto, payload, end)


def _behind_options(frame: bytes, at: int, end: int, proto: int) -> tuple[int, int] | None:
    """(protocol, offset) behind at most one hop-by-hop and one destination options header, in this order.

    RFC 8200 §4.1 has the order. Every other extension header, and every longer chain, is refused.
    """
    for kind in (HOP_BY_HOP, DESTINATION_OPTIONS):
        if proto == kind:
            if end < at + 8:
                return None
            length = (frame[at + 1] + 1) * 8
            if length > MAX_EXTENSION or end < at + length:
                return None
            proto, at = frame[at], at + length
    return None if proto in IPV6_EXTENSIONS else (proto, at)


def _transport(frame: bytes, at: int, end: int, proto: int) -> tuple[int, int, int] | None:
    needed = _TRANSPORT_LEN.get(proto)
    if needed is not None and end < at + needed:
        return None
    if proto in _PORT_PROTOCOLS:
        flags = 0
        if proto == TCP:
            words = frame[at + 12] >> 4
            if words < _TCP_OFFSET_MIN or end < at + words * 4:
                return None  # Open vSwitch finds no ports in it either
            flags = frame[at + 13]
        return frame[at] << 8 | frame[at + 1], frame[at + 2] << 8 | frame[at + 3], flags
    if proto in (ICMP, ICMPV6):
        ports = None if frame[at + 1] else _ECHO_PORTS.get((proto, frame[at]))
        return (*ports, 0) if ports else None
    return 0, 0, 0


def _icmp_error(frame: bytes, at: int, end: int, src: bytes, dst: bytes, proto: int) -> Packet | None:
    if end < at + 8 + 20 or frame[at] not in _ERRORS[proto]:
        return None
    quoted = _ipv4(frame, at + 8) if proto == ICMP else _ipv6(frame, at + 8)
    if quoted is None:
        return None
    inner_src, inner_dst, inner_proto, offset, inner_end = quoted
    if min(end, inner_end) < offset + 8:  # RFC 792 quotes 8 bytes: enough for the ports
        return None
    if inner_proto in _PORT_PROTOCOLS:
        sport, dport = frame[offset] << 8 | frame[offset + 1], frame[offset + 2] << 8 | frame[offset + 3]
    elif inner_proto in (ICMP, ICMPV6):
        ports = _ECHO_PORTS.get((inner_proto, frame[offset]))
        if ports is None:
            return None
        sport, dport = ports
    else:
        sport = dport = 0
    about = FlowKey(inner_src, inner_dst, inner_proto, sport, dport)
    return Packet(frame[:6], frame[6:12], FlowKey(src, dst, proto, 0, 0), 0, about)
