"""Frames that a switch has let in and the controller would not have: what stands behind what Open vSwitch walks over.

It walks over IPv4 options, IPv6 extension headers and SNAP, and matches the ports behind them. `net.flowkey` refuses
these frames. But where a switch has let one in by itself the log has to say which connection that was. Pure.
"""

from __future__ import annotations

from zethane.net.flowkey import (
    AUTHENTICATION,
    DESTINATION_OPTIONS,
    ETH_IPV4,
    ETH_IPV6,
    FRAGMENT,
    HOP_BY_HOP,
    ROUTING,
    Packet,
    parse_frame,
)

MAX_HEADERS = 256
"""Extension headers that are walked over: as many as fit into 2 KiB, of eight bytes each."""

_SNAP = b"\xaa\xaa\x03\0\0\0"
"""LLC of a SNAP frame, and the organization of Ethernet's protocols (RFC 1042)."""
_MAX_LENGTH = 1500
"""The highest number at the place of an EtherType that is a length (IEEE 802.3 §3.2.6)."""
_IPV4_AT, _IPV6_AT = 14 + 20, 14 + 40


def read_walked(frame: bytes) -> Packet | None:
    """The packet as the switch has matched it: of any frame that `parse_frame` reads, and behind what it refuses."""
    if len(frame) > 20 and frame[12] << 8 | frame[13] <= _MAX_LENGTH and frame[14:20] == _SNAP:
        frame = frame[:12] + frame[20:]
    eth_type = int.from_bytes(frame[12:14], "big")
    if eth_type == ETH_IPV4 and len(frame) >= _IPV4_AT:
        frame = _without_options(frame)
    elif eth_type == ETH_IPV6 and len(frame) >= _IPV6_AT:
        frame = _without_extensions(frame)
    return parse_frame(frame)


def _without_options(frame: bytes) -> bytes:
    """An IPv4 packet without its options, if it is whole and has any."""
    more = (frame[14] & 15) * 4 - 20
    total = (frame[16] << 8 | frame[17]) - more
    if more <= 0 or total < 20 or len(frame) < _IPV4_AT + more:
        return frame
    start = bytes((frame[14] & 0xF0 | 5, frame[15])) + total.to_bytes(2, "big")
    return frame[:14] + start + frame[18:_IPV4_AT] + frame[_IPV4_AT + more :]


def _without_extensions(frame: bytes) -> bytes:
    """An IPv6 packet without its extension headers, if the switch walks over all of them and no more are there."""
    proto, at = frame[20], _IPV6_AT
    end = at + (frame[18] << 8 | frame[19])
    for _ in range(MAX_HEADERS):
        if at + 8 > min(end, len(frame)):
            break
        if proto in (HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS):
            length = (frame[at + 1] + 1) * 8
        elif proto == AUTHENTICATION:
            length = (frame[at + 1] + 2) * 4
        elif proto == FRAGMENT and frame[at + 2 : at + 4] == b"\0\0":
            length = 8
        else:
            break
        proto, at = frame[at], at + length
    if at == _IPV6_AT or at > end:
        return frame
    return frame[:18] + (end - at).to_bytes(2, "big") + bytes((proto,)) + frame[21:_IPV6_AT] + frame[at:]
