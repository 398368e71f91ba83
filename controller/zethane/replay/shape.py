"""Where the fields of plain packets stand: what the fast path takes out of a frame at one stroke.

A plain packet is TCP or UDP behind an IPv4 header without options, or an IPv6 header without extension headers. The
parts that a shape takes out and puts one after the other, its *signature*, hold all of a packet that its flow depends
on, and that it is plain: link header, version, header length, fragment bits, protocol, addresses and ports. A packet
with the signature of one that was read with care therefore is one of the same flow. What else that reader looks at is
different from packet to packet, and is held against tables: lengths and TCP's flags.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from zethane.net.flowkey import TCP, TCP_FIN, TCP_RST, TCP_SYN, UDP
from zethane.replay.link import ETH_VLAN, ETHERNET, header_length

IPV4_LEN, IPV6_LEN = 20, 40
_UDP_LEN = 8
_PLAIN_IPV4 = 0x45
_MIN_WORDS = 5
_TO_FLAGS = 14
"""Bytes of a TCP header up to its flags."""
_NEVER = b"\xff\xff\xff"
"""Longer than any length of two bytes."""

FAST = frozenset((TCP, UDP))
"""The protocols of plain packets."""

_ETH_TYPE = 12
_TAG = ETH_VLAN.to_bytes(2, "big")
_TAG_LEN = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """Plain packets of one IP version, behind `header` bytes. The last two fields are TCP's data offset and flags, the
    second one is the length in the IP header; all others are parts of the signature."""

    version: int
    header: int
    unpack: Callable[[bytes, int], tuple[Any, ...]]

    def signature(self, fields: tuple[Any, ...]) -> bytes:
        """The signature of a packet with these fields."""
        if self.version == 4:
            return fields[0] + fields[2] + fields[3]  # type: ignore[no-any-return]
        return fields[0] + fields[2]  # type: ignore[no-any-return]

    def sequence(self, data: bytes, at: int) -> int:
        """TCP's sequence number."""
        at += self.header + (IPV4_LEN if self.version == 4 else IPV6_LEN) + 4
        return int.from_bytes(data[at : at + 4], "big")

    def carries(self, data: bytes, at: int, proto: int) -> bool:
        """Whether this protocol comes right behind the IP header, which is a plain one."""
        at += self.header
        if self.version == 4:
            return data[at] == _PLAIN_IPV4 and data[at + 9] == proto
        return data[at] >> 4 == 6 and data[at + 6] == proto


@cache
def ipv4_shape(header: int) -> Callable[[bytes, int], tuple[Any, ...]]:
    """Takes out (link header and first byte, total length, fragment bits to protocol, addresses and ports, TCP's data
    offset, TCP's flags) of IPv4 behind a link header of that many bytes."""
    return struct.Struct(f"!{header + 1}sx2s2x4s2x12s8xBB").unpack_from


@cache
def _shape(version: int, header: int) -> Shape:
    if version == 4:
        return Shape(4, header, ipv4_shape(header))
    # (link header and first byte, payload length, next header to ports, TCP's data offset, TCP's flags)
    return Shape(6, header, struct.Struct(f"!{header + 1}s3x2s38s8xBB").unpack_from)


def shape_of(link: int, data: bytes, at: int) -> Shape | None:
    """The shape that a packet has if it is plain; None where there is no such shape."""
    header = header_length(link)
    if header is None:
        return None
    if link == ETHERNET and data[at + _ETH_TYPE : at + _ETH_TYPE + 2] == _TAG:
        header += _TAG_LEN
    version = data[at + header] >> 4
    return _shape(version, header) if version in (4, 6) else None


OPENS_OR_ENDS = TCP_SYN | TCP_FIN | TCP_RST
"""Flags with which a TCP packet changes its flow."""


def _words(offset: int) -> int:
    return offset >> 4


def _lengths(fixed: int) -> tuple[bytes, ...]:
    """By TCP's offset byte: what the length field must not be below, as it stands in the packet."""
    return tuple(
        (fixed + _words(offset) * 4).to_bytes(2, "big") if _words(offset) >= _MIN_WORDS else _NEVER
        for offset in range(256)
    )


def _captured(fixed: int) -> tuple[int, ...]:
    """By TCP's offset byte: how many bytes from the network header on its header reaches."""
    return tuple(fixed + _words(offset) * 4 for offset in range(256))


class Tables(NamedTuple):
    """What packets of a way are held against.

    `mask` has the flags that need a closer look. By TCP's offset byte: `lengths`, what the IP header's length must not
    be below, as it stands in the packet, and `captured`, how many bytes from the IP header on are all of the headers.
    `least` is how many of them tell all that is needed.
    """

    mask: int
    lengths: tuple[bytes, ...]
    captured: tuple[int, ...]
    least: int


_TABLES = {
    (TCP, 4): Tables(OPENS_OR_ENDS, _lengths(IPV4_LEN), _captured(IPV4_LEN), IPV4_LEN + _TO_FLAGS),
    (TCP, 16): Tables(OPENS_OR_ENDS, _lengths(0), _captured(IPV6_LEN), IPV6_LEN + _TO_FLAGS),
    (UDP, 4): Tables(0, ((IPV4_LEN + _UDP_LEN).to_bytes(2, "big"),) * 256, (IPV4_LEN + _UDP_LEN,) * 256, IPV4_LEN + 4),
    (UDP, 16): Tables(0, (_UDP_LEN.to_bytes(2, "big"),) * 256, (IPV6_LEN + _UDP_LEN,) * 256, IPV6_LEN + 4),
}
_NOTHING = Tables(0, (_NEVER,) * 256, (1 << 30,) * 256, 1 << 30)


def tables(proto: int, size: int) -> Tables:
    """What packets of a protocol are held against, by the size of an address. Without a fast path none is enough."""
    return _TABLES.get((proto, size), _NOTHING)
