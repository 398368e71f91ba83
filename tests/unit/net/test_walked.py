"""What a switch walks over is walked over here: the ports behind it are the same, and nothing else is read."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, IPOption_NOP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
from scapy.layers.ipsec import AH
from scapy.packet import Packet as Layer

from fakes.frames import packed
from unit.net.test_flowkey import A4, A6, B4, B6, V4, V6, VALID, frame
from zethane.net.flowkey import FlowKey, parse_frame
from zethane.net.walked import MAX_HEADERS, read_walked

SYN = TCP(sport=40000, dport=443, flags="S")
KEYS = {4: FlowKey(packed(A4), packed(B4), 6, 40000, 443), 6: FlowKey(packed(A6), packed(B6), 6, 40000, 443)}


def chain(*headers: Layer) -> bytes:
    layers = [V6, *(one.copy() for one in headers), SYN]
    return frame(*layers)


def snap(plain: bytes) -> bytes:
    return plain[:12] + struct.pack("!H", len(plain) - 14 + 8) + b"\xaa\xaa\3\0\0\0" + plain[12:]


ODD = {
    "one option": (4, frame(IP(src=A4, dst=B4, options=[IPOption_Router_Alert()]), SYN)),
    "all options that there is room for": (4, frame(IP(src=A4, dst=B4, options=[IPOption_NOP()] * 40), SYN)),
    "SNAP": (4, snap(frame(V4, SYN))),
    "SNAP and IPv6": (6, snap(frame(V6, SYN))),
    "SNAP and options": (4, snap(frame(IP(src=A4, dst=B4, options=[IPOption_Router_Alert()]), SYN))),
    "routing header": (6, chain(IPv6ExtHdrRouting(addresses=["::1"]))),
    "two of a kind": (6, chain(IPv6ExtHdrDestOpt(), IPv6ExtHdrDestOpt())),
    "in another order": (6, chain(IPv6ExtHdrDestOpt(), IPv6ExtHdrHopByHop())),
    "atomic fragment": (6, chain(IPv6ExtHdrFragment(id=7))),
    "authentication": (6, frame(IPv6(src=A6, dst=B6), AH(nh=6, payloadlen=4, icv=bytes(12)), SYN)),
    "as many as are walked over": (6, chain(*[IPv6ExtHdrDestOpt()] * MAX_HEADERS)),
}
REFUSED = {
    "a fragment": chain(IPv6ExtHdrFragment(m=1)),
    "a later fragment": chain(IPv6ExtHdrFragment(offset=1)),
    "a fragment with options": frame(IP(src=A4, dst=B4, flags="MF", options=[IPOption_Router_Alert()]), SYN),
    "too many headers": chain(*[IPv6ExtHdrDestOpt()] * (MAX_HEADERS + 2)),
    "options without an end": frame(IP(src=A4, dst=B4, ihl=15, len=40), SYN),
    "a header beyond the packet": chain(IPv6ExtHdrDestOpt(len=200)),
    "another organization": snap(frame(V4, SYN)).replace(b"\xaa\xaa\3\0\0\0", b"\xaa\xaa\3\0\0\1"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_stands_behind_is_read(name: str) -> None:
    family, odd = ODD[name]
    assert parse_frame(odd) is None
    packet = read_walked(odd)
    assert packet is not None
    assert (packet.key, packet.flags) == (KEYS[family], 2)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_walked_over_is_not_read(name: str) -> None:
    assert read_walked(REFUSED[name]) is None


@pytest.mark.parametrize("name", VALID)
def test_what_is_plain_is_read_as_ever(name: str) -> None:
    plain, key = VALID[name]
    packet = read_walked(plain)
    assert packet == parse_frame(plain)
    assert packet is not None
    assert packet.key == key


@given(odd=st.sampled_from([odd for _, odd in ODD.values()]), at=st.integers(12, 80), octet=st.integers(0, 255))
def test_damage_makes_nothing_worse_than_unread(odd: bytes, at: int, octet: int) -> None:
    damaged = odd[:at] + bytes((octet,)) + odd[at + 1 :]
    plain = parse_frame(damaged)
    assert plain is None or read_walked(damaged) == plain


@given(odd=st.sampled_from([odd for _, odd in ODD.values()]), size=st.integers(0, 120))
def test_what_is_cut_short_is_read_right_or_not_at_all(odd: bytes, size: int) -> None:
    packet = read_walked(odd[:size])
    assert packet is None or packet.key in KEYS.values()


@given(st.binary(max_size=200))
def test_anything_may_come(data: bytes) -> None:
    plain = parse_frame(data)
    assert plain is None or read_walked(data) == plain
