"""Neighbor Discovery messages (RFC 4861 §4) as bytes: read with every check that holds for all of them, and built.

What is behind extension headers or in fragments is none (RFC 6980 forbids the latter, and nobody needs the former).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from zethane.net.flowkey import ETH_IPV6, ICMPV6

ROUTER_SOLICITATION = 133
ROUTER_ADVERTISEMENT = 134
NEIGHBOUR_SOLICITATION = 135
NEIGHBOUR_ADVERTISEMENT = 136

SOURCE_LINK_LAYER = 1
TARGET_LINK_LAYER = 2
NONCE = 14

UNSPECIFIED = bytes(16)
ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
ALL_ROUTERS = bytes.fromhex("ff020000000000000000000000000002")
_SOLICITED_NODE = bytes.fromhex("ff0200000000000000000001ff")
_LINK_LOCAL = bytes.fromhex("fe80000000000000")

_HOP_LIMIT = 255
"""A packet that a router has passed on has less: it comes from this link (RFC 4861 §3.1)."""
_ETHERNET = 14
_MESSAGE = 54
_MINIMUM = {ROUTER_SOLICITATION: 8, ROUTER_ADVERTISEMENT: 16, NEIGHBOUR_SOLICITATION: 24, NEIGHBOUR_ADVERTISEMENT: 24}
MAX_MESSAGE = 1500


class Message(NamedTuple):
    """One message: `body` is all of it from the ICMPv6 type on."""

    kind: int
    mac: bytes
    source: bytes
    destination: bytes
    body: bytes


class Option(NamedTuple):
    """One option; `value` is without type and length, and padded to 8 bytes with them."""

    kind: int
    value: bytes


def is_link_local(address: bytes) -> bool:
    """Whether this is an IPv6 address of fe80::/64 (RFC 4291 §2.5.6)."""
    return len(address) == len(UNSPECIFIED) and address.startswith(_LINK_LOCAL)


def solicited_node(target: bytes) -> bytes:
    """The multicast address at which `target` is asked for (RFC 4291 §2.7.1)."""
    return _SOLICITED_NODE + target[13:]


def parse_message(frame: bytes) -> Message | None:
    """The message in an untagged frame; None for all that is not exactly one, from this link, with a right checksum."""
    if len(frame) < _MESSAGE + 8 or frame[12] << 8 | frame[13] != ETH_IPV6 or frame[_ETHERNET] >> 4 != 6:
        return None
    length = frame[18] << 8 | frame[19]
    minimum = _MINIMUM.get(frame[_MESSAGE])
    if frame[20] != ICMPV6 or frame[21] != _HOP_LIMIT or minimum is None or frame[_MESSAGE + 1]:
        return None
    if not minimum <= length <= MAX_MESSAGE or len(frame) < _MESSAGE + length or length % 8:
        return None
    source, destination, body = frame[22:38], frame[38:54], frame[_MESSAGE : _MESSAGE + length]
    if _checksum(source, destination, body):
        return None
    return Message(frame[_MESSAGE], frame[6:12], source, destination, body)


def parse_options(body: bytes, at: int, most: int) -> tuple[Option, ...] | None:
    """The options of a message from `at` on; None if one is of length zero, or there are more than `most`."""
    found: list[Option] = []
    while at < len(body):
        length = body[at + 1] * 8 if len(body) >= at + 8 else 0
        if not length or at + length > len(body) or len(found) >= most:
            return None
        found.append(Option(body[at], body[at + 2 : at + length]))
        at += length
    return tuple(found)


def build_message(ethernet: bytes, mac: bytes, source: bytes, destination: bytes, body: bytes) -> bytes:
    """The frame with a message; `body` has a checksum of zero."""
    body = body[:2] + struct.pack("!H", _checksum(source, destination, body)) + body[4:]
    header = struct.pack("!IHBB", 0x60000000, len(body), ICMPV6, _HOP_LIMIT)
    return ethernet + mac + struct.pack("!H", ETH_IPV6) + header + source + destination + body


def _checksum(source: bytes, destination: bytes, body: bytes) -> int:
    """The checksum of an even number of bytes (RFC 4443 §2.3); 0 for a message that has the right one."""
    data = source + destination + struct.pack("!II", len(body), ICMPV6) + body
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
