"""Every odd frame has a reason of its own in the log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6NIQueryName,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, LLC, Dot1AD, Dot1Q, Dot3, Ether
from scapy.packet import Raw

from zethane.audit.reason import DenyReason
from zethane.audit.refused import why_refused
from zethane.net.flowkey import parse_frame

E, V4, V6 = (
    Ether(dst="02:00:00:00:00:02"),
    IP(src="10.0.0.1", dst="10.0.0.2"),
    IPv6(src="2001:db8::1", dst="2001:db8::2"),
)
HOP_BY_HOP, DESTINATION, ROUTING = IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), IPv6ExtHdrRouting()
REASONS = {
    "nothing": (b"", DenyReason.MALFORMED),
    "a tag": (E / Dot1Q(vlan=5) / V4 / TCP(), DenyReason.VLAN_NOT_ALLOWED),
    "two tags": (E / Dot1AD(vlan=5) / Dot1Q(vlan=6) / V4 / TCP(), DenyReason.VLAN_NOT_ALLOWED),
    "arp": (E / ARP(), DenyReason.NEIGHBOUR_SPOOF),
    "rarp": (Ether(type=0x8035) / ARP(op=3), DenyReason.NEIGHBOUR_SPOOF),
    "802.3": (Dot3() / LLC() / Raw(bytes(40)), DenyReason.MALFORMED),
    "an unknown EtherType": (Ether(type=0x88B5) / Raw(bytes(46)), DenyReason.MALFORMED),
    "first fragment": (E / IP(flags="MF") / TCP(), DenyReason.FRAGMENT),
    "later fragment": (E / IP(frag=9) / TCP(), DenyReason.FRAGMENT),
    "fragment with options": (E / IP(flags="MF", options=b"\x94\x04\0\0") / TCP(), DenyReason.FRAGMENT),
    "options": (E / IP(options=b"\x94\x04\0\0") / TCP(), DenyReason.IP_OPTIONS),
    "header of 16 bytes": (E / IP(ihl=4) / TCP(), DenyReason.MALFORMED),
    "protocol 0": (E / IP(proto=0) / Raw(bytes(20)), DenyReason.MALFORMED),
    "redirect": (E / V4 / ICMP(type=5), DenyReason.ROUTER_SPOOF),
    "router advertisement over ICMP": (E / V4 / ICMP(type=9), DenyReason.ROUTER_SPOOF),
    "timestamp": (E / V4 / ICMP(type=13), DenyReason.MALFORMED),
    "IPv6 fragment": (E / V6 / IPv6ExtHdrFragment(m=1) / TCP(), DenyReason.FRAGMENT),
    "atomic fragment": (E / V6 / IPv6ExtHdrFragment() / TCP(), DenyReason.FRAGMENT),
    "fragment behind options": (E / V6 / HOP_BY_HOP / DESTINATION / IPv6ExtHdrFragment() / TCP(), DenyReason.FRAGMENT),
    "routing header": (E / V6 / ROUTING / TCP(), DenyReason.EXTENSION_HEADER),
    "authentication header": (E / V6 / AH() / TCP(), DenyReason.EXTENSION_HEADER),
    "chain of options": (E / V6 / DESTINATION / DESTINATION / TCP(), DenyReason.EXTENSION_HEADER),
    "mobility": (E / IPv6(nh=135) / Raw(bytes(20)), DenyReason.EXTENSION_HEADER),
    "router advertisement": (E / V6 / ICMPv6ND_RA(), DenyReason.ROUTER_SPOOF),
    "hidden router advertisement": (E / V6 / DESTINATION / DESTINATION / ICMPv6ND_RA(), DenyReason.ROUTER_SPOOF),
    "router advertisement behind a fragment header": (
        E / V6 / IPv6ExtHdrFragment() / ICMPv6ND_RA(),
        DenyReason.FRAGMENT,
    ),
    "redirect over IPv6": (E / V6 / ICMPv6ND_Redirect(), DenyReason.ROUTER_SPOOF),
    "neighbor advertisement": (E / V6 / ICMPv6ND_NA(), DenyReason.NEIGHBOUR_SPOOF),
    "hidden neighbor solicitation": (E / V6 / HOP_BY_HOP / ICMPv6ND_NS(), DenyReason.NEIGHBOUR_SPOOF),
    "node information": (E / V6 / ICMPv6NIQueryName(), DenyReason.NEIGHBOUR_SPOOF),
    "ICMP over IPv6": (E / IPv6(nh=1) / ICMP(), DenyReason.MALFORMED),
}


@pytest.mark.parametrize("name", REASONS)
def test_every_odd_frame_is_named_and_never_read(name: str) -> None:
    packet, reason = REASONS[name]
    assert why_refused(bytes(packet)) == reason
    assert parse_frame(bytes(packet)) is None


@given(st.binary(max_size=160))
def test_any_bytes_have_a_reason(data: bytes) -> None:
    assert isinstance(why_refused(data), DenyReason)


@given(st.sampled_from(sorted(REASONS)), st.integers(0, 160))
def test_a_frame_cut_short_has_a_reason(name: str, length: int) -> None:
    assert isinstance(why_refused(bytes(REASONS[name][0])[:length]), DenyReason)
