"""Frames that hosts send: read exactly, or not at all. Scapy builds them, as somebody else would."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Packet as Layer

from fakes.frames import packed
from zethane.net.flowkey import TCP_ACK, TCP_SYN, FlowKey, parse_frame

A4, B4 = "10.0.0.1", "10.0.0.2"
A6, B6 = "2001:db8::1", "2001:db8::2"
SNAP = bytes.fromhex("0200000000020200000000010030aaaa030000000800")
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def key(proto: int, sport: int, dport: int, *, v6: bool = False) -> FlowKey:
    a, b = (A6, B6) if v6 else (A4, B4)
    return FlowKey(packed(a), packed(b), proto, sport, dport)


def frame(*layers: Layer) -> bytes:
    whole = ETHER.copy()
    for layer in layers:
        whole /= layer
    return bytes(whole)


def options_of(length: int) -> Layer:
    """A destination options header of so many bytes."""
    return IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(length - 4))])


HOP_BY_HOP, DESTINATION = IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt()
V4, V6 = IP(src=A4, dst=B4), IPv6(src=A6, dst=B6)
VALID = {
    "tcp": (frame(V4, TCP(sport=40000, dport=443, flags="S"), b"hello"), key(6, 40000, 443)),
    "tcp with options": (frame(V4, TCP(sport=1, dport=65535, options=[("MSS", 1460)])), key(6, 1, 65535)),
    "udp": (frame(V4, UDP(sport=5000, dport=53), b"question"), key(17, 5000, 53)),
    "sctp": (frame(V4, SCTP(sport=7, dport=9), SCTPChunkInit()), key(132, 7, 9)),
    "echo": (frame(V4, ICMP(type=8), b"ping"), key(1, 8, 0)),
    "echo reply": (frame(V4, ICMP(type=0), b"ping"), key(1, 0, 8)),
    "gre": (frame(V4, GRE(), b"inside"), key(47, 0, 0)),
    "tcp over ipv6": (frame(V6, TCP(sport=40000, dport=443)), key(6, 40000, 443, v6=True)),
    "udp over ipv6": (frame(V6, UDP(sport=5000, dport=53), b"question"), key(17, 5000, 53, v6=True)),
    "sctp over ipv6": (frame(V6, SCTP(sport=7, dport=9), SCTPChunkInit()), key(132, 7, 9, v6=True)),
    "echo over ipv6": (frame(V6, ICMPv6EchoRequest(data=b"ping")), key(58, 8, 0, v6=True)),
    "echo reply over ipv6": (frame(V6, ICMPv6EchoReply(data=b"ping")), key(58, 0, 8, v6=True)),
    "hop-by-hop": (frame(V6, HOP_BY_HOP, TCP(sport=1, dport=2)), key(6, 1, 2, v6=True)),
    "destination options": (frame(V6, DESTINATION, UDP(sport=1, dport=2)), key(17, 1, 2, v6=True)),
    "both": (frame(V6, HOP_BY_HOP, DESTINATION, ICMPv6EchoRequest()), key(58, 8, 0, v6=True)),
    "options of 64 bytes": (frame(V6, options_of(64), TCP(sport=1, dport=2)), key(6, 1, 2, v6=True)),
    "esp": (frame(IPv6(src=A6, dst=B6, nh=50), bytes(20)), key(50, 0, 0, v6=True)),
}
QUOTE4 = IPerror(src=B4, dst=A4, proto=17, len=100) / UDP(sport=53, dport=5000, len=80)
QUOTE6 = IPv6(src=B6, dst=A6) / TCP(sport=443, dport=40000)
ERRORS = {
    "unreachable": (frame(V4, ICMP(type=3, code=3), bytes(QUOTE4)), key(17, 5000, 53).reverse()),
    "time exceeded": (
        frame(V4, ICMP(type=11), bytes(IPerror(src=B4, dst=A4, proto=1) / ICMPerror(type=8))),
        key(1, 0, 8).reverse(),
    ),
    "unreachable over ipv6": (frame(V6, ICMPv6DestUnreach(), QUOTE6), key(6, 40000, 443, v6=True).reverse()),
    "too big": (frame(V6, ICMPv6PacketTooBig(), QUOTE6), key(6, 40000, 443, v6=True).reverse()),
}
EVERY = {name: data for name, (data, _) in (VALID | ERRORS).items()}


@pytest.mark.parametrize("name", VALID)
def test_the_five_tuple_of_every_protocol_is_read(name: str) -> None:
    data, wanted = VALID[name]
    found = parse_frame(data)
    assert found is not None
    assert found.key == wanted
    assert found.error_about is None
    assert (found.eth_dst, found.eth_src) == (bytes.fromhex("020000000002"), bytes.fromhex("020000000001"))


@pytest.mark.parametrize("name", ERRORS)
def test_an_icmp_error_names_the_flow_that_it_quotes(name: str) -> None:
    data, about = ERRORS[name]
    found = parse_frame(data)
    assert found is not None
    assert found.error_about == about
    assert (found.key.src, found.key.sport, found.key.dport) == (about.dst, 0, 0)


@pytest.mark.parametrize(("flags", "wanted"), [("S", TCP_SYN), ("SA", TCP_SYN | TCP_ACK), ("FPU", 0x29), ("", 0)])
def test_tcp_flags_are_read(flags: str, wanted: int) -> None:
    found = parse_frame(frame(V4, TCP(flags=flags)))
    assert found is not None
    assert found.flags == wanted


@pytest.mark.parametrize("name", EVERY)
def test_a_truncated_frame_is_unreadable_or_reads_the_same(name: str) -> None:
    data = EVERY[name]
    whole = parse_frame(data)
    for length in range(len(data)):
        assert parse_frame(data[:length]) in (None, whole), length


@pytest.mark.parametrize("name", EVERY)
def test_padding_is_never_read(name: str) -> None:
    """What follows the IP packet changes nothing, and makes no truncated header whole."""
    data = EVERY[name]
    assert parse_frame(data + b"\xff" * 20) == parse_frame(data)


@pytest.mark.parametrize("kept", [0, 1, 4, 7])
@pytest.mark.parametrize("name", ["tcp", "udp", "sctp", "echo"])
def test_ports_behind_the_end_of_the_ip_packet_are_not_its_ports(name: str, kept: int) -> None:
    data = bytearray(VALID[name][0])
    data[16:18] = struct.pack("!H", 20 + kept)
    assert parse_frame(bytes(data)) is None


@pytest.mark.parametrize("name", ["tcp over ipv6", "udp over ipv6", "echo over ipv6"])
def test_an_ipv6_payload_length_that_is_too_short_or_zero_is_malformed(name: str) -> None:
    for length in (0, 1, 7):
        data = bytearray(VALID[name][0])
        data[18:20] = struct.pack("!H", length)
        assert parse_frame(bytes(data)) is None


MALFORMED = {
    "nothing": b"",
    "arp": frame(ARP()),
    "tagged": frame(Dot1Q(vlan=5), V4, TCP()),
    "first fragment": frame(IP(src=A4, dst=B4, flags="MF"), TCP()),
    "later fragment": frame(IP(src=A4, dst=B4, frag=1), TCP()),
    "last fragment": frame(IP(src=A4, dst=B4, frag=185), b"rest of it, with enough bytes"),
    "short header length": frame(IP(src=A4, dst=B4, ihl=4), TCP()),
    "header longer than the frame": frame(IP(src=A4, dst=B4, ihl=15, len=20)),
    "header longer than the packet": frame(IP(src=A4, dst=B4, ihl=6, len=20), TCP()),
    "version 6 in IPv4": frame(IP(src=A4, dst=B4, version=6), TCP()),
    "version 4 in IPv6": frame(IPv6(src=A6, dst=B6, version=4), TCP()),
    "ICMPv6 in IPv4": frame(IP(src=A4, dst=B4, proto=58), bytes(ICMPv6EchoRequest())),
    "ICMP in IPv6": frame(IPv6(src=A6, dst=B6, nh=1), bytes(ICMP(type=8))),
    "protocol 0": frame(IP(src=A4, dst=B4, proto=0), bytes(20)),
    "ip options": frame(IP(src=A4, dst=B4, options=b"\x94\x04\0\0"), UDP(sport=5, dport=6)),
    "routing": frame(V6, IPv6ExtHdrRouting(), TCP()),
    "IPv6 fragment": frame(V6, IPv6ExtHdrFragment(m=1), TCP()),
    "atomic IPv6 fragment": frame(V6, IPv6ExtHdrFragment(), TCP()),
    "IPv6 fragment behind options": frame(V6, HOP_BY_HOP, DESTINATION, IPv6ExtHdrFragment(offset=1), TCP()),
    "authentication header": frame(V6, AH(), TCP()),
    "two hop-by-hop": frame(V6, HOP_BY_HOP, HOP_BY_HOP, TCP()),
    "two destination options": frame(V6, DESTINATION, DESTINATION, TCP()),
    "hop-by-hop in the second place": frame(V6, DESTINATION, HOP_BY_HOP, TCP()),
    "options of 72 bytes": frame(V6, options_of(72), TCP()),
    "options beyond the packet": frame(IPv6(src=A6, dst=B6, nh=60), bytes((6, 6, 1, 4, 0, 0, 0, 0)), TCP()),
    "mobility": frame(IPv6(src=A6, dst=B6, nh=135), bytes(20)),
    "experimental header": frame(IPv6(src=A6, dst=B6, nh=253), bytes(20)),
    "ICMP in IPv6 behind options": frame(V6, IPv6ExtHdrDestOpt(nh=1), bytes(ICMP(type=8))),
    "TCP header of 16 bytes": frame(V4, TCP(dataofs=4)),
    "TCP header beyond the packet": frame(V4, TCP(dataofs=6)),
    "SNAP": SNAP + bytes(V4 / TCP()),
    "echo with a code": frame(V4, ICMP(type=8, code=1)),
    "redirect": frame(V4, ICMP(type=5), bytes(QUOTE4)),
    "timestamp": frame(V4, ICMP(type=13)),
    "neighbor advertisement": frame(IPv6(src=A6, dst=B6, nh=58), bytes((136, 0, 0, 0)) + bytes(20)),
    "error without a quote": frame(V4, ICMP(type=3, code=3)),
    "error that quotes a later fragment": frame(V4, ICMP(type=3), bytes(IPerror(src=B4, dst=A4, frag=1) / UDP())),
    "error about an error": frame(V4, ICMP(type=3), bytes(IPerror(src=B4, dst=A4, proto=1) / ICMPerror(type=3))),
    "error that quotes the other family": frame(V4, ICMP(type=3), bytes(QUOTE6)),
    "error that quotes no ports": frame(
        V4, ICMP(type=3), bytes(IPerror(src=B4, dst=A4, proto=17, len=20)) + b"\0\x35\x13\x88\0\0\0\0"
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_not_fully_understood_is_unreadable(name: str) -> None:
    assert parse_frame(MALFORMED[name]) is None


@given(st.binary(max_size=200))
@example(bytes(12) + b"\x08\x00" + b"\x4f" + bytes(19))
def test_no_bytes_raise(data: bytes) -> None:
    found = parse_frame(data)
    assert found is None or len(found.key.src) == len(found.key.dst)


@given(st.sampled_from(sorted(EVERY)), st.lists(st.tuples(st.integers(12, 80), st.integers(0, 255)), max_size=8))
def test_no_change_to_a_valid_frame_makes_it_raise_or_mixes_families(name: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(EVERY[name])
    for at, value in changes:
        if at < len(data):
            data[at] = value
    found = parse_frame(bytes(data))
    if found is not None:
        keys = [found.key] + ([found.error_about] if found.error_about else [])
        assert all(len(one.src) == len(one.dst) in (4, 16) for one in keys)
        assert all(0 <= port <= 0xFFFF for one in keys for port in (one.sport, one.dport))


@given(st.sampled_from(sorted(VALID)))
def test_reversing_twice_is_nothing(name: str) -> None:
    wanted = VALID[name][1]
    assert wanted.reverse().reverse() == wanted
    assert (wanted.reverse().src, wanted.reverse().sport) == (wanted.dst, wanted.dport)


def test_a_key_reads_as_text() -> None:
    assert str(key(6, 40000, 443)) == "10.0.0.1:40000>10.0.0.2:443/6"
