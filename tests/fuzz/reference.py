"""A second reader of frames, slow and by the book, to hold the controller's against.

It is written from the standards' tables of offsets and knows nothing of `zethane.net`: it says which match fields
Open vSwitch finds in a frame that it has received whole.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field


class TooShortError(Exception):
    """The frame ends before the field does."""


@dataclass
class Reader:
    """Takes fields off the front of some bytes."""

    left: bytes

    def take(self, size: int) -> bytes:
        if len(self.left) < size:
            raise TooShortError
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def limit(self, size: int) -> None:
        self.left = self.left[:size]


@dataclass
class Seen:
    """What a frame says. `fields` are match fields; `transport` is what follows the IP headers; `plain` is false
    for fragments and options, and for extension headers but those that a packet to a host may have."""

    fields: dict[str, int]
    plain: bool = False
    transport: bytes = b""
    quoted: Seen | None = field(default=None)


EXTENSION_HEADERS = {0, 43, 44, 51, 60, 135, 139, 140, 253, 254}
OPTION_HEADERS = (0, 60)
"""Hop-by-hop and destination options: one of each at the most, in this order."""
ECHO = {1: {8, 0}, 58: {128, 129}}
ERRORS = {1: {3, 11, 12}, 58: {1, 2, 3, 4}}


def read(frame: bytes) -> Seen | None:
    """What an untagged frame with IPv4 or IPv6 says; None for any other, and for one that is cut off."""
    reader = Reader(frame)
    try:
        fields = {"eth_dst": reader.number(6), "eth_src": reader.number(6), "eth_type": reader.number(2)}
        if fields["eth_type"] not in (0x0800, 0x86DD):
            return None
        seen = packet(reader, fields)
    except TooShortError:
        return None
    return seen


def packet(reader: Reader, fields: dict[str, int]) -> Seen | None:
    """What an IP packet says, after its EtherType."""
    seen = ipv4(reader, fields) if fields["eth_type"] == 0x0800 else ipv6(reader, fields)
    if seen is not None and seen.plain:
        transport(Reader(seen.transport), seen)
    return seen


def ipv4(reader: Reader, fields: dict[str, int]) -> Seen | None:
    """RFC 791 section 3.1."""
    version_ihl = reader.number(1)
    version, words = divmod(version_ihl, 16)
    reader.take(1)
    total = reader.number(2)
    reader.take(2)
    fragment = reader.number(2)
    reader.take(1)
    fields["ip_proto"] = reader.number(1)
    reader.take(2)
    fields["ipv4_src"], fields["ipv4_dst"] = reader.number(4), reader.number(4)
    if version != 4 or words < 5 or total < 4 * words:
        return None
    reader.take(4 * words - 20)
    reader.limit(total - 4 * words)
    more_fragments, offset = bool(fragment & 0x2000), fragment & 0x1FFF
    plain = not more_fragments and offset == 0 and words == 5 and fields["ip_proto"] not in (0, 58)
    return Seen(fields, plain, reader.left)


def ipv6(reader: Reader, fields: dict[str, int]) -> Seen | None:
    """RFC 8200 section 3."""
    version = reader.number(4) >> 28
    length = reader.number(2)
    fields["ip_proto"] = reader.number(1)
    reader.take(1)
    fields["ipv6_src"], fields["ipv6_dst"] = reader.number(16), reader.number(16)
    if version != 6:
        return None
    reader.limit(length)
    plain = True
    for kind in OPTION_HEADERS:
        if fields["ip_proto"] == kind:
            fields["ip_proto"] = reader.number(1)
            size = 8 * reader.number(1) + 8
            reader.take(size - 2)
            plain = plain and size <= 64
    return Seen(fields, plain and fields["ip_proto"] not in {*EXTENSION_HEADERS, 1}, reader.left)


def transport(reader: Reader, seen: Seen) -> None:
    """Ports, flags, type and code, as far as they are there (RFC 9293, 768, 9260, 792, 4443)."""
    fields, proto = seen.fields, seen.fields["ip_proto"]
    needed = {6: 20, 17: 8, 132: 12, 1: 8, 58: 8}.get(proto, 0)
    if len(reader.left) < needed:
        seen.plain = False
        return
    if proto in (6, 17, 132):
        name = {6: "tcp", 17: "udp", 132: "sctp"}[proto]
        length = len(reader.left)
        fields[f"{name}_src"], fields[f"{name}_dst"] = reader.number(2), reader.number(2)
        if proto == 6:
            reader.take(8)
            words = reader.number(1) >> 4
            fields["tcp_flags"] = reader.number(1)
            # The header ends behind its fixed part, and within the segment (RFC 9293 section 3.1).
            seen.plain = words >= 5 and 4 * words <= length
    elif proto in (1, 58):
        name = {1: "icmpv4", 58: "icmpv6"}[proto]
        fields[f"{name}_type"], fields[f"{name}_code"] = reader.number(1), reader.number(1)
        reader.take(6)
        if fields[f"{name}_type"] in ERRORS[proto]:
            seen.quoted = quoted(reader, proto)


def quoted(reader: Reader, proto: int) -> Seen | None:
    """The packet that an ICMP error is about; it is quoted as far as there was room."""
    fields = {"eth_type": 0x0800 if proto == 1 else 0x86DD}
    try:
        inner = ipv4(reader, fields) if proto == 1 else ipv6(reader, fields)
    except TooShortError:
        return None
    if inner is None or not inner.plain or len(inner.transport) < 8:
        return None
    start = Reader(inner.transport)
    if name := {6: "tcp", 17: "udp", 132: "sctp"}.get(fields["ip_proto"]):
        fields[f"{name}_src"], fields[f"{name}_dst"] = start.number(2), start.number(2)
    elif name := {1: "icmpv4", 58: "icmpv6"}.get(fields["ip_proto"]):
        fields[f"{name}_type"] = start.number(1)
        fields[f"{name}_code"] = start.number(1)
    return inner


def addresses(fields: dict[str, int]) -> tuple[bytes, bytes]:
    """The packed addresses of either family."""
    if "ipv4_src" in fields:
        return fields["ipv4_src"].to_bytes(4, "big"), fields["ipv4_dst"].to_bytes(4, "big")
    return fields["ipv6_src"].to_bytes(16, "big"), fields["ipv6_dst"].to_bytes(16, "big")


def text(fields: dict[str, int]) -> str:
    """For messages of failed checks."""
    src, dst = (ipaddress.ip_address(address) for address in addresses(fields))
    return f"{src} > {dst} {fields}"
