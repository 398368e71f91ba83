"""Three readers agree: the fast path, the careful one, and scapy's dissection."""

from __future__ import annotations

import ipaddress
import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from fuzz.captures import agree
from zethane.replay.link import ETHERNET, unframe
from zethane.replay.packet import Read, read_packet
from zethane.replay.pcap import Record
from zethane.replay.source import PADDING

V4 = ("10.0.0.1", "10.0.0.2", "198.51.100.7")
V6 = ("2001:db8::1", "2001:db8::2", "2001:db8:ffff::7")
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
PORTS = (22, 53, 443, 5000, 40000)

ports = st.sampled_from(PORTS)
flags = st.sampled_from((0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x00, 0x29))


@st.composite
def transports(draw: st.DrawFn, version: int) -> Packet:
    """TCP, UDP, echo, or something else, with some data."""
    kind = draw(st.sampled_from(("tcp", "tcp", "tcp", "udp", "udp", "echo", "other")))
    data = Raw(bytes(draw(st.integers(0, 40))))
    if kind == "tcp":
        options: list[Any] = draw(st.sampled_from(([], [("NOP", None)] * 4, [("MSS", 1460), ("Timestamp", (1, 2))])))
        number = draw(st.sampled_from((1, 1, 1, 77)))
        return TCP(sport=draw(ports), dport=draw(ports), flags=draw(flags), seq=number, options=options) / data
    if kind == "udp":
        return UDP(sport=draw(ports), dport=draw(ports)) / data
    if kind == "echo" and version == 4:
        return ICMP(type=draw(st.sampled_from((0, 8)))) / data
    return Raw(bytes(8)) / data


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A well-formed frame, often a plain one."""
    plain = draw(st.integers(0, 3)) > 0
    version = draw(st.sampled_from((4, 4, 6)))
    addresses = V4 if version == 4 else V6
    src, dst = draw(st.permutations(addresses))[:2]
    transport = draw(transports(version))
    if version == 4:
        packet = IP(src=src, dst=dst, ttl=draw(st.sampled_from((63, 64))), id=draw(st.integers(0, 3)))
        if not plain:
            packet.flags = draw(st.sampled_from((0, "DF", "MF")))
            packet.frag = draw(st.sampled_from((0, 0, 185)))
            packet.options = draw(st.sampled_from(([], [b"\x01\x01\x01\x00"])))
        if isinstance(transport, Raw):
            packet.proto = draw(st.sampled_from((47, 50, 89)))
    else:
        packet = IPv6(src=src, dst=dst, hlim=64, fl=draw(st.integers(0, 1 << 19)))
        if isinstance(transport, Raw):
            packet.nh = 47
        if not plain:
            headers = (IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting)
            for header in draw(st.lists(st.sampled_from(headers), max_size=2)):
                packet = packet / header()
            if draw(st.booleans()):
                packet = packet / IPv6ExtHdrFragment(id=draw(st.integers(0, 3)), m=draw(st.integers(0, 1)))
    link = Ether(src=draw(st.sampled_from(MACS)), dst=draw(st.sampled_from(MACS)))
    tags = draw(st.sampled_from((0, 0, 0, 1, 2)))
    if tags == 2:
        link = link / Dot1AD(vlan=30)
    if tags:
        link = link / Dot1Q(vlan=20)
    return bytes(link / packet / transport)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A frame of which a byte of the headers is another."""
    frame = bytearray(draw(frames()))
    at = draw(st.integers(0, min(len(frame), 60) - 1))
    frame[at] = draw(st.integers(0, 255))
    return bytes(frame)


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    """A capture: frames that often are of the same flow, some damaged, some not captured whole."""
    some = draw(st.lists(frames() | damaged(), min_size=1, max_size=5))
    made: list[Record] = []
    when = draw(st.sampled_from((0.0, 1_700_503_200.0)))
    for frame in draw(st.lists(st.sampled_from(some), max_size=30)):
        when += draw(st.sampled_from((0.0, 0.1, 0.1, 1.0, 400.0, 8000.0, -1.0)))
        sent = frame
        if draw(st.integers(0, 5)) == 0:  # the same with another length or data offset, or flags
            changed = bytearray(frame)
            changed[draw(st.sampled_from((16, 17, 18, 19, 46, 47, 50, 51))) % len(frame)] = draw(st.integers(0, 255))
            sent = bytes(changed)
        captured = draw(st.sampled_from((len(sent), len(sent), len(sent), 96, 68, 54, 42, 36, 10)))
        kept = sent[:captured]
        made.append((kept + b"\xff" * len(PADDING), 0, len(kept), len(sent), when, ETHERNET))
    return made


@settings(max_examples=200, deadline=None)
@given(records())
def test_the_fast_path_counts_as_the_careful_one_does(taken: list[Record]) -> None:
    agree(taken)


@settings(max_examples=200, deadline=None)
@given(frames())
def test_what_is_read_is_what_scapy_dissects(frame: bytes) -> None:
    framed = unframe(ETHERNET, frame, 0, len(frame))
    assert framed is not None
    found = read_packet(framed, frame, len(frame), missing=False)
    seen = Ether(frame)
    tags = [layer.vlan for layer in seen.iterpayloads() if isinstance(layer, (Dot1Q, Dot1AD))]
    assert list(framed.tags) == tags
    packet = seen[IP] if IP in seen else seen[IPv6]
    is_later = packet.frag > 0 if IP in seen else False
    if not isinstance(found, Read):
        assert found.fate.value == "dropped"
        assert not is_later
        assert TCP not in seen
        assert UDP not in seen
        return
    if is_later:
        assert found.key is None
        return
    assert found.key is not None
    addresses = [str(ipaddress.ip_address(address)) for address in (found.key.src, found.key.dst)]
    assert addresses == [packet.src, packet.dst]
    for layer in (TCP, UDP):
        if layer in seen:
            assert (found.key.sport, found.key.dport) == (seen[layer].sport, seen[layer].dport)
    if TCP in seen:
        assert found.flags == int(seen[TCP].flags)
    is_odd = bool(packet.options or packet.flags.MF) if IP in seen else packet.nh in (0, 43, 44, 60)
    assert is_odd or found.hurdle is None


def test_a_frame_that_ends_early_is_not_read_into_the_next_one() -> None:
    """The fast path looks at bytes behind a short packet: they must not complete it."""
    whole = bytes(
        Ether(src=MACS[0], dst=MACS[1]) / IP(src=V4[0], dst=V4[1]) / UDP(sport=53, dport=443) / Raw(bytes(20))
    )
    for end in range(len(whole)):
        cut = whole[:end]
        taken = [(whole + PADDING, 0, len(whole), len(whole), 0.0, ETHERNET)]
        taken.append((cut + whole[end:] + PADDING, 0, end, end, 1.0, ETHERNET))
        agree(taken)


def test_tags_that_look_like_ipv4_are_tags() -> None:
    inner = bytes(Ether(src=MACS[0], dst=MACS[1]) / IP(src=V4[0], dst=V4[1]) / UDP(sport=53, dport=443))
    tagged = inner[:12] + struct.pack("!HH", 0x8100, 0x4500) + inner[12:]
    agree([(frame + PADDING, 0, len(frame), len(frame), 0.0, ETHERNET) for frame in (inner, tagged, tagged, inner)])
