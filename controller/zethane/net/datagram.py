"""UDP datagrams in frames: the addresses, the ports, and exactly the payload that the lengths promise."""

from __future__ import annotations

from typing import NamedTuple

from zethane.net.flowkey import UDP, parse_frame

_ETHERNET, _IPV6, _UDP = 14, 40, 8


class Datagram(NamedTuple):
    """A UDP datagram (RFC 768) with the headers around it. Addresses are packed, MACs are bytes.

    `frame` is the frame without the padding behind the datagram.
    """

    eth_dst: bytes
    eth_src: bytes
    src: bytes
    dst: bytes
    sport: int
    dport: int
    payload: bytes
    frame: bytes


def parse_datagram(frame: bytes) -> Datagram | None:
    """The datagram in an untagged frame; None if anything about its headers is wrong.

    No IPv4 options, no IPv6 extension headers, no fragments; every length has to fit the one around it exactly.
    """
    packet = parse_frame(frame)
    if packet is None or packet.key.proto != UDP:
        return None
    key = packet.key
    if len(key.src) == 4:
        at, size = _ETHERNET + 20, frame[16] << 8 | frame[17]
        end = _ETHERNET + size
        if frame[14] != 0x45:
            return None
    else:
        if frame[20] != UDP:  # a header in between, which the flow's key has been found behind
            return None
        at = _ETHERNET + _IPV6
        end = at + (frame[18] << 8 | frame[19])
    length = frame[at + 4] << 8 | frame[at + 5] if len(frame) >= at + _UDP else 0
    if length < _UDP or end > len(frame) or at + length != end:
        return None
    return Datagram(frame[:6], frame[6:12], key.src, key.dst, key.sport, key.dport, frame[at + _UDP : end], frame[:end])
