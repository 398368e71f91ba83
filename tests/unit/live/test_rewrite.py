"""Packets with other addresses: everything else is as it was, and every checksum is right."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.packet import Raw

from replay.rewrite import rewritten

SRC4, DST4 = ip_address("10.0.0.11"), ip_address("10.0.0.14")
SRC6, DST6 = ip_address("2001:db8::11"), ip_address("2001:db8::14")


def expected(packet: Any, version: int) -> bytes:
    """The same by scapy, which computes everything anew."""
    made = packet.copy()
    made.src, made.dst = (str(SRC4), str(DST4)) if version == 4 else (str(SRC6), str(DST6))
    return bytes(made)


def moved(packet: bytes) -> bytes:
    version = packet[0] >> 4
    src, dst = (SRC4, DST4) if version == 4 else (SRC6, DST6)
    return rewritten(packet, src.packed, dst.packed)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("transport", [TCP(sport=1, dport=2, flags="S"), UDP(sport=1, dport=2), "echo", Raw(b"odd")])
@given(payload=st.binary(max_size=80))
def test_checksums_are_those_of_the_new_addresses(version: int, transport: Any, payload: bytes) -> None:
    if transport == "echo":
        inner = ICMP(id=7) / Raw(payload) if version == 4 else ICMPv6EchoRequest(id=7, data=payload)
    else:
        inner = transport / Raw(payload)
    outer = IP(src="192.168.1.1", dst="8.8.8.8") if version == 4 else IPv6(src="fd00::1", dst="fd00::2")
    if isinstance(transport, Raw):
        outer = IP(src="192.168.1.1", dst="8.8.8.8", proto=253) if version == 4 else IPv6(src="fd00::1", nh=253)
    packet = outer / inner
    assert moved(bytes(packet)) == expected(packet, version)


def test_what_was_captured_without_checksums_gets_them() -> None:
    """Hosts that leave them to their cards capture what is wrong."""
    packet = IP(src="1.2.3.4", dst="5.6.7.8") / TCP(sport=1, dport=2) / Raw(b"data")
    wrong = bytearray(bytes(packet))
    wrong[10:12] = b"\xba\xad"
    wrong[36:38] = b"\xba\xad"
    assert moved(bytes(wrong)) == expected(packet, 4)


def test_a_datagram_without_a_checksum_stays_without() -> None:
    packet = IP(src="1.2.3.4", dst="5.6.7.8") / UDP(sport=1, dport=2, chksum=0) / Raw(b"data")
    assert moved(bytes(packet))[26:28] == b"\0\0"


def test_a_length_of_zero_becomes_the_length() -> None:
    packet = bytearray(bytes(IP(src="1.2.3.4", dst="5.6.7.8") / TCP() / Raw(b"segments")))
    packet[2:4] = b"\0\0"
    assert IP(moved(bytes(packet))).len == len(packet)


def test_what_is_behind_the_packet_is_left_behind() -> None:
    packet = IP(src="1.2.3.4", dst="5.6.7.8") / UDP(sport=1, dport=2) / Raw(b"data")
    assert moved(bytes(packet) + b"\0" * 18) == expected(packet, 4)


@pytest.mark.parametrize("inner", [TCP(sport=1, dport=2, flags="S"), UDP(sport=1, dport=2)])
def test_a_fragments_checksum_is_changed_as_its_datagrams_would_be(inner: Any) -> None:
    """The first fragment has the checksum of the whole; the others have none."""
    whole = bytes(IP(src="1.2.3.4", dst="5.6.7.8", id=9) / inner / Raw(b"x" * 64))
    first = IP(src="1.2.3.4", dst="5.6.7.8", id=9, flags="MF", proto=whole[9]) / Raw(whole[20:52])
    later = IP(src="1.2.3.4", dst="5.6.7.8", id=9, frag=4, proto=whole[9]) / Raw(whole[52:])
    assert moved(bytes(first))[20:] + moved(bytes(later))[20:] == moved(whole)[20:]


def test_ipv6_fragments_likewise() -> None:
    whole = bytes(IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=1, dport=2) / Raw(b"x" * 64))
    head = IPv6ExtHdrFragment(nh=17, m=1, offset=0, id=9)
    first = bytes(IPv6(src="fd00::1", dst="fd00::2") / head / Raw(whole[40:72]))
    assert moved(first)[48:] == moved(whole)[40:72]


def test_behind_other_extension_headers_nothing_is_touched() -> None:
    packet = IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrHopByHop() / UDP(sport=1, dport=2) / Raw(b"x")
    assert moved(bytes(packet))[40:] == bytes(packet)[40:]


@pytest.mark.parametrize(("version", "least", "where"), [(4, 20, 2), (6, 40, 4)])
@given(data=st.binary(min_size=5, max_size=80), length=st.just(0) | st.integers(0, 90))
def test_whatever_it_is_it_is_rewritten_or_refused(
    version: int, least: int, where: int, data: bytes, length: int
) -> None:
    """What leaves its length open is refused only if its header is not whole."""
    src, dst = (SRC4, DST4) if version == 4 else (SRC6, DST6)
    packet = bytearray(bytes((version << 4 | 5,)) + data)
    packet[where : where + 2] = length.to_bytes(2, "big")
    try:
        made = rewritten(bytes(packet), src.packed, dst.packed)
    except ValueError:
        assert length or len(packet) < least
    else:
        assert least <= len(made) <= len(packet)
        assert src.packed + dst.packed in made
