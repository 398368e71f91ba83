"""Why a frame was refused: the slow path, for the log alone. Pure.

The hot path (`net.flowkey`) only says that it does not read a frame, and the table `port` only that it lets it go no
further. What is named here is bounded like what is read there: no more than MAX_HEADERS headers are looked at.
"""

from __future__ import annotations

from zethane.audit.reason import DenyReason
from zethane.net.flowkey import (
    AUTHENTICATION,
    DESTINATION_OPTIONS,
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    ICMPV6,
    IPV6_EXTENSIONS,
    ROUTING,
)

ETH_RARP = 0x8035
"""Reverse ARP (RFC 903): nobody answers it, and what it says about addresses is believed by nobody."""

MAX_HEADERS = 8
"""Extension headers that are looked at in search of what they hide."""

_TAGS = frozenset((0x8100, 0x88A8, 0x9100))
# RFC 792, RFC 1256: redirect, router advertisement.
_ICMP_ROUTER = frozenset((5, 9))
# RFC 4861, RFC 2894, RFC 4286: router messages, redirect, renumbering, advertisement and end of a multicast router.
_ICMPV6_ROUTER = frozenset((133, 134, 137, 138, 151, 153))
# RFC 4861, RFC 4620, RFC 3122: neighbor messages, node information, inverse discovery.
_ICMPV6_NEIGHBOUR = frozenset((135, 136, 139, 140, 141, 142))

_WALKED = frozenset((HOP_BY_HOP, ROUTING, AUTHENTICATION, DESTINATION_OPTIONS))


def why_refused(frame: bytes) -> DenyReason:
    """The reason for a frame that was not let in or could not be read; it may be cut short."""
    if len(frame) < 14:
        return DenyReason.MALFORMED
    eth_type = frame[12] << 8 | frame[13]
    if eth_type in _TAGS:
        return DenyReason.VLAN_NOT_ALLOWED
    if eth_type in (ETH_ARP, ETH_RARP):
        return DenyReason.NEIGHBOUR_SPOOF
    if eth_type == ETH_IPV4:
        return _ipv4(frame)
    if eth_type == ETH_IPV6:
        return _ipv6(frame)
    return DenyReason.MALFORMED


def _ipv4(frame: bytes) -> DenyReason:
    header = (frame[14] & 15) * 4 if len(frame) >= 34 else 0
    if header < 20 or frame[14] >> 4 != 4:
        return DenyReason.MALFORMED
    if (frame[20] << 8 | frame[21]) & 0x3FFF:
        return DenyReason.FRAGMENT
    if header > 20:
        return DenyReason.IP_OPTIONS
    if frame[23] == ICMP and len(frame) > 34 and frame[34] in _ICMP_ROUTER:
        return DenyReason.ROUTER_SPOOF
    return DenyReason.MALFORMED


def _ipv6(frame: bytes) -> DenyReason:
    if len(frame) < 54 or frame[14] >> 4 != 6:
        return DenyReason.MALFORMED
    proto, at = frame[20], 54
    hidden = False
    for _ in range(MAX_HEADERS):
        if proto == FRAGMENT:
            return DenyReason.FRAGMENT
        if proto not in _WALKED or len(frame) < at + 8:
            break
        length = (frame[at + 1] + 2) * 4 if proto == AUTHENTICATION else (frame[at + 1] + 1) * 8
        proto, at, hidden = frame[at], at + length, True
    if proto == ICMPV6 and len(frame) > at:
        if frame[at] in _ICMPV6_ROUTER:
            return DenyReason.ROUTER_SPOOF
        if frame[at] in _ICMPV6_NEIGHBOUR:
            return DenyReason.NEIGHBOUR_SPOOF
    return DenyReason.EXTENSION_HEADER if hidden or proto in IPV6_EXTENSIONS else DenyReason.MALFORMED
