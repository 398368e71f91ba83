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
from functools import cache
from typing import Any, NamedTuple

from zethane.net.flowkey import ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, TCP, TCP_FIN, TCP_RST, TCP_SYN, UDP, FlowKey
from zethane.replay.link import ETH_VLAN, ETHERNET, header_length
from zethane.replay.packet import DHCP_PORTS

IPV4_LEN, IPV6_LEN = 20, 40
_EIGHT, _PORTS = 8, 4
"""Bytes of the headers of UDP and of ICMP, and of the ports in front of them."""
_PLAIN_IPV4 = 0x45
_GROUPS_IPV4, _GROUPS_IPV6 = 0xE0, 0xFF
"""First bytes of the first addresses that are no single host's (RFC 5771, RFC 4291 §2.7)."""
_MIN_WORDS = 5
_TO_FLAGS = 14
"""Bytes of a TCP header up to its flags."""
_NEVER = b"\xff\xff\xff"
"""Longer than any length of two bytes."""

FAST = frozenset((TCP, UDP))
"""The protocols of plain packets."""

_ECHO = {b"\x08\0": (8, 0), b"\0\0": (0, 8)}
_ECHO_IPV6 = {b"\x80\0": (8, 0), b"\x81\0": (0, 8)}
"""Type and code of requests and replies, to their ports in a key. They have a checksum where others have ports, so that
each of their packets has a signature of its own, and none is remembered."""

_ETH_TYPE, _ETH_LEN = 12, 14
_TAG = ETH_VLAN.to_bytes(2, "big")
_TAG_LEN = 4
_ETHERNET_IPV4 = ETH_IPV4.to_bytes(2, "big") + bytes((_PLAIN_IPV4,))
_ETHERNET_IPV6 = ETH_IPV6.to_bytes(2, "big")
_FRAGMENT_BITS = 0x3F
"""In the first of the two bytes with flags and offset: all but the reserved bit, and the one that forbids fragments."""

Fields = tuple[Any, ...]
Unpack = Callable[[bytes, int], Fields]


class Shape:
    """Plain packets of one IP version, behind `header` bytes of a link."""

    def __init__(self, header: int, *, is_ethernet: bool) -> None:
        self.header = header
        self.is_ethernet = is_ethernet

    unpack: Unpack
    """Takes out what is needed. The second field is the length in the IP header, the last two are TCP's data offset and
    flags; the others are parts of the signature, the first one of them the link's header and the byte behind it."""

    def signature(self, fields: Fields) -> bytes:
        """The signature of a packet with these fields."""
        raise NotImplementedError

    def key(self, fields: Fields, captured: int) -> FlowKey | None:
        """The key of a plain packet that opens or joins a flow; None if it is none, or if there may be anything special
        about it. `captured` are its bytes from the IP header on. Only Ethernet is read so."""
        raise NotImplementedError

    def sequence(self, data: bytes, at: int) -> int:
        """TCP's sequence number."""
        raise NotImplementedError

    def carries(self, data: bytes, at: int, proto: int) -> bool:
        """Whether this protocol comes right behind the IP header, which is a plain one."""
        raise NotImplementedError


class Ipv4Shape(Shape):
    """IPv4: (link header and first byte, length, fragment bits to protocol, addresses and ports, offset, flags)."""

    def __init__(self, header: int, *, is_ethernet: bool) -> None:
        super().__init__(header, is_ethernet=is_ethernet)
        self.unpack = struct.Struct(f"!{header + 1}sx2s2x4s2x12s8xBB").unpack_from

    def signature(self, fields: Fields) -> bytes:
        return fields[0] + fields[2] + fields[3]  # type: ignore[no-any-return]

    def key(self, fields: Fields, captured: int) -> FlowKey | None:
        head, total, middle, ends, offset, _ = fields
        proto = middle[3]
        if not self.is_ethernet or head[-3:] != _ETHERNET_IPV4 or head[0] & 1:
            return None
        limits = _TABLES.get((proto, 4))
        if limits is None or middle[0] & _FRAGMENT_BITS or middle[1] or total < limits.lengths[offset]:
            return None
        if captured < limits.captured[offset] or ends[4] >= _GROUPS_IPV4:
            return None
        if proto == ICMP:
            ports = _ECHO.get(ends[8:10])
            return FlowKey(ends[:4], ends[4:8], proto, *ports) if ports is not None else None
        key = FlowKey(ends[:4], ends[4:8], proto, ends[8] << 8 | ends[9], ends[10] << 8 | ends[11])
        return None if (key.sport, key.dport) in DHCP_PORTS else key

    def sequence(self, data: bytes, at: int) -> int:
        at += self.header + IPV4_LEN + 4
        return int.from_bytes(data[at : at + 4], "big")

    def carries(self, data: bytes, at: int, proto: int) -> bool:
        at += self.header
        return data[at] == _PLAIN_IPV4 and data[at + 9] == proto


class Ipv6Shape(Shape):
    """IPv6: (link header and first byte, payload length, next header to ports, offset, flags)."""

    def __init__(self, header: int, *, is_ethernet: bool) -> None:
        super().__init__(header, is_ethernet=is_ethernet)
        self.unpack = struct.Struct(f"!{header + 1}s3x2s38s8xBB").unpack_from

    def signature(self, fields: Fields) -> bytes:
        return fields[0] + fields[2]  # type: ignore[no-any-return]

    def key(self, fields: Fields, captured: int) -> FlowKey | None:
        head, payload, rest, offset, _ = fields
        proto = rest[0]
        if not self.is_ethernet or head[-3:-1] != _ETHERNET_IPV6 or head[-1] >> 4 != 6 or head[0] & 1:
            return None
        limits = _TABLES.get((proto, 16))
        if limits is None or rest[18] == _GROUPS_IPV6:
            return None
        if payload < limits.lengths[offset] or captured < limits.captured[offset]:
            return None
        if proto == ICMPV6:
            ports = _ECHO_IPV6.get(rest[34:36])
            return FlowKey(rest[2:18], rest[18:34], proto, *ports) if ports is not None else None
        key = FlowKey(rest[2:18], rest[18:34], proto, rest[34] << 8 | rest[35], rest[36] << 8 | rest[37])
        return None if (key.sport, key.dport) in DHCP_PORTS else key

    def sequence(self, data: bytes, at: int) -> int:
        at += self.header + IPV6_LEN + 4
        return int.from_bytes(data[at : at + 4], "big")

    def carries(self, data: bytes, at: int, proto: int) -> bool:
        at += self.header
        return data[at] >> 4 == 6 and data[at + 6] == proto


@cache
def ipv4_shape(link: int) -> Ipv4Shape:
    """The shape of IPv4 without tags on a kind of link; of no use where the link's header is not always as long."""
    return Ipv4Shape(header_length(link) or 0, is_ethernet=link == ETHERNET)


@cache
def _ipv6_shape(link: int) -> Ipv6Shape:
    return Ipv6Shape(header_length(link) or 0, is_ethernet=link == ETHERNET)


_TAGGED = {
    _ETHERNET_IPV4[:2]: Ipv4Shape(_ETH_LEN + _TAG_LEN, is_ethernet=True),
    _ETHERNET_IPV6: Ipv6Shape(_ETH_LEN + _TAG_LEN, is_ethernet=True),
}


def is_plain_ipv4(head: bytes) -> bool:
    """Whether the first field of IPv4's shape on Ethernet says that it is IPv4, without a tag and options."""
    return head[_ETH_TYPE:] == _ETHERNET_IPV4


def shape_of(link: int, data: bytes, at: int) -> Shape | None:
    """The shape that a packet has if it is plain; None where there is no such shape."""
    if link == ETHERNET:
        kind = data[at + _ETH_TYPE : at + _ETH_LEN]
        if kind == _ETHERNET_IPV6:
            return _ipv6_shape(link)
        if kind == _TAG:
            return _TAGGED.get(data[at + _ETH_LEN + 2 : at + _ETH_LEN + _TAG_LEN])
        return None
    header = header_length(link)
    if header is None:
        return None
    version = data[at + header] >> 4
    return ipv4_shape(link) if version == 4 else _ipv6_shape(link) if version == 6 else None


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


def _of_eight(fixed: int, header: int) -> Tables:
    """Those of a transport header of eight bytes without flags. The length field counts `fixed` bytes more."""
    lengths = ((fixed + _EIGHT).to_bytes(2, "big"),) * 256
    return Tables(0, lengths, (header + _EIGHT,) * 256, header + _PORTS)


_TABLES = {
    (TCP, 4): Tables(OPENS_OR_ENDS, _lengths(IPV4_LEN), _captured(IPV4_LEN), IPV4_LEN + _TO_FLAGS),
    (TCP, 16): Tables(OPENS_OR_ENDS, _lengths(0), _captured(IPV6_LEN), IPV6_LEN + _TO_FLAGS),
    **dict.fromkeys(((UDP, 4), (ICMP, 4)), _of_eight(IPV4_LEN, IPV4_LEN)),
    **dict.fromkeys(((UDP, 16), (ICMPV6, 16)), _of_eight(0, IPV6_LEN)),
}
_NOTHING = Tables(0, (_NEVER,) * 256, (1 << 30,) * 256, 1 << 30)


def tables(proto: int, size: int) -> Tables:
    """What packets of a protocol are held against, by the size of an address. Without a fast path none is enough."""
    return _TABLES.get((proto, size), _NOTHING)
