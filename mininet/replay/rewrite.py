"""IP packets of a capture with other addresses: checksums, and lengths that were left open, are made right. Pure."""

from __future__ import annotations

import struct

from lab.agent.packets import internet_checksum
from zethane.net.flowkey import FRAGMENT, ICMP, ICMPV6, TCP, UDP

_CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}
_LEAST = {TCP: 20, UDP: 8, ICMP: 8, ICMPV6: 8}
_IPV4_LEN, _IPV6_LEN = 20, 40


def rewritten(packet: bytes, src: bytes, dst: bytes) -> bytes:
    """The packet, from its IP header on and as long as it was on the link, from `src` to `dst`.

    Raises ValueError if its header is not whole or says that it is longer.
    """
    if len(src) == 4:
        return _ipv4(packet, src, dst)
    return _ipv6(packet, src, dst)


def _ipv4(packet: bytes, src: bytes, dst: bytes) -> bytes:
    length = (packet[0] & 15) * 4 if packet else 0
    if length < _IPV4_LEN or len(packet) < length:
        raise ValueError("its IPv4 header is not whole")
    # A length of 0 is what a host captures that leaves cutting into segments to its card.
    total = int.from_bytes(packet[2:4], "big") or len(packet)
    if not length <= total <= len(packet):
        raise ValueError("it is shorter than its IPv4 header says")
    made = bytearray(packet[:total])
    struct.pack_into("!H", made, 2, total)
    old = bytes(made[12:20])
    made[12:20] = src + dst
    made[10:12] = bytes(2)
    struct.pack_into("!H", made, 10, internet_checksum(bytes(made[:length])))
    fragment = int.from_bytes(made[6:8], "big") & 0x3FFF
    _transport(made, length, made[9], old, src + dst, whole=not fragment, first=not fragment & 0x1FFF)
    return bytes(made)


def _ipv6(packet: bytes, src: bytes, dst: bytes) -> bytes:
    if len(packet) < _IPV6_LEN:
        raise ValueError("its IPv6 header is not whole")
    carried = int.from_bytes(packet[4:6], "big") or len(packet) - _IPV6_LEN
    if _IPV6_LEN + carried > len(packet):
        raise ValueError("it is shorter than its IPv6 header says")
    made = bytearray(packet[: _IPV6_LEN + carried])
    struct.pack_into("!H", made, 4, carried)
    old = bytes(made[8:40])
    made[8:40] = src + dst
    proto, at, whole, first = made[6], _IPV6_LEN, True, True
    if proto == FRAGMENT and len(made) >= at + 8:
        offset = int.from_bytes(made[at + 2 : at + 4], "big")
        proto, at, whole, first = made[at], at + 8, not offset & 0xFFF9, offset < 8
    _transport(made, at, proto, old, src + dst, whole=whole, first=first)
    return bytes(made)


def _transport(made: bytearray, at: int, proto: int, old: bytes, new: bytes, *, whole: bool, first: bool) -> None:
    """Make the checksum right that covers the addresses as well (RFC 1071); of a first fragment as far as the
    addresses change it (RFC 1624)."""
    where = at + _CHECKSUM_AT.get(proto, 0)
    if proto not in _CHECKSUM_AT or not first or len(made) < at + _LEAST[proto]:
        return
    before = int.from_bytes(made[where : where + 2], "big")
    if proto == UDP and before == 0 and len(new) == 8:
        return  # the sender did without (RFC 768)
    if not whole:
        if proto != ICMP:
            struct.pack_into("!H", made, where, _changed(before, old, new))
        return
    made[where : where + 2] = bytes(2)
    pseudo = b"" if proto == ICMP else _pseudo_header(new, proto, len(made) - at)
    found = internet_checksum(pseudo + bytes(made[at:]))
    struct.pack_into("!H", made, where, 0xFFFF if found == 0 and proto == UDP else found)


def _pseudo_header(addresses: bytes, proto: int, length: int) -> bytes:
    """RFC 9293 §3.1 for IPv4, RFC 8200 §8.1 for IPv6."""
    if len(addresses) == 8:
        return addresses + struct.pack("!BBH", 0, proto, length)
    return addresses + struct.pack("!IBBBB", length, 0, 0, 0, proto)


def _changed(checksum: int, old: bytes, new: bytes) -> int:
    """Equation 3 of RFC 1624: HC' = ~(~HC + ~m + m')."""
    total = ~checksum & 0xFFFF
    for at in range(0, len(old), 2):
        total += (~int.from_bytes(old[at : at + 2], "big") & 0xFFFF) + int.from_bytes(new[at : at + 2], "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
