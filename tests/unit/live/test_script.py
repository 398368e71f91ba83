"""A capture as a script: who plays whom, what is sent when, what is left out and why."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

from labsite import PORTAL_ONLY, TOPOLOGIES
from replay.assign import Assignment
from replay.script import Script, Writer
from zethane.app.topology import Topology, load_topology
from zethane.net.flowkey import parse_frame
from zethane.replay.capture import Capture
from zethane.replay.given import attribution_of
from zethane.replay.source import open_source

CARDS = {"web1": b"\x02" * 6}


def card(host: str) -> bytes:
    return CARDS.get(host, b"\x02\0\0\0\0" + bytes((len(host),)))


def homes(topology: Topology) -> dict[str, Any]:
    inside = {name: [one.ip for one in host.interfaces] for name, host in topology.hosts.items()}
    return inside | {name: [one.ip for one in all_of] for name, all_of in topology.external_hosts.items()}


def script(
    tmp_path: Path, packets: list[Any], topology: Topology, *assume: str, **given: Any
) -> tuple[Script, Assignment]:
    file = tmp_path / "test.pcap"
    wrpcap(str(file), packets)
    assignment = Assignment(
        topology, attribution_of(topology, None, given.pop("map_file", None), assume), homes(topology)
    )
    options: dict[str, Any] = {"limit": 100, "speed": 1.0, "longest": 1.0} | given
    with open_source(str(file)) as source:
        return Writer(assignment, card, **options).write(Capture(source).records()), assignment


def at(moment: float, packet: Any) -> Any:
    made = Ether(src="00:11:22:33:44:55", dst="00:11:22:33:44:66") / packet
    made.time = moment
    return made


@pytest.fixture(scope="module")
def tiers() -> Topology:
    return load_topology(PORTAL_ONLY)


@pytest.fixture(scope="module")
def office() -> Topology:
    return load_topology(TOPOLOGIES / "office")


def test_whoever_has_an_address_of_the_lab_plays_it(tmp_path: Path, tiers: Topology) -> None:
    packet = IP(src="10.0.0.11", dst="10.0.0.13") / TCP(sport=4000, dport=8080, flags="S")
    found, assignment = script(tmp_path, [at(5.0, packet)], tiers)
    (line,) = found.lines
    assert (line.source, line.target, line.at, line.flags) == ("web1", "app1", 0.0, 2)
    assert line.frame == card("app1") + card("web1") + b"\x08\0" + bytes(packet)
    assert [part.host for part in assignment.parts.values()] == ["web1", "app1"]


def test_segments_are_played_by_their_hosts_each_by_the_least_busy(tmp_path: Path, tiers: Topology) -> None:
    packets = [at(0.0, IP(src=f"172.16.0.{n}", dst="192.168.0.1") / UDP(sport=n, dport=53)) for n in (1, 2, 3)]
    found, assignment = script(tmp_path, packets, tiers, "172.16.0.0/16=segment:web", "192.168.0.0/16=workload:app1")
    assert Counter(line.source for line in found.lines) == {"web1": 2, "web2": 1}
    assert {line.target for line in found.lines} == {"app1"}
    for line in found.lines:
        packet = parse_frame(line.frame)
        assert packet is not None
        assert packet.key == line.key
    assert not assignment.without


def test_a_mapping_file_goes_before_the_topology(tmp_path: Path, tiers: Topology) -> None:
    mapping = tmp_path / "map.yaml"
    mapping.write_text("10.0.0.11: host:ghost\n10.9.9.9: user:bob\n", encoding="utf-8")
    packet = IP(src="10.0.0.11", dst="10.9.9.9") / ICMP(id=1)
    found, _ = script(tmp_path, [at(0.0, packet)], tiers, map_file=mapping)
    assert [(line.source, line.target) for line in found.lines] == [("ghost", "desk")]


def test_what_is_outside_is_played_outside(tmp_path: Path, office: Topology) -> None:
    packets = [
        at(0.0, IP(src="10.30.0.21", dst="198.51.100.80") / TCP(sport=1, dport=443, flags="S")),
        at(0.1, IP(src="8.8.8.8", dst="9.9.9.9") / UDP(sport=1, dport=2)),
    ]
    found, _ = script(tmp_path, packets, office, "outside")
    assert [(line.source, line.target) for line in found.lines] == [("anna", "www")]
    assert found.left_out == {"both ends are outside": 1}


def test_what_is_left_out_is_counted_by_why(tmp_path: Path, tiers: Topology) -> None:
    ends = {"src": "10.0.0.11", "dst": "10.0.0.13"}
    error = IP(src="10.0.0.13", dst="10.0.0.11") / ICMP(type=3, code=3) / (IP(**ends) / UDP(sport=1, dport=2))
    packets = [
        at(0.0, ARP(psrc="10.0.0.11", pdst="10.0.0.13")),
        at(0.1, IP(src="10.0.0.11", dst="224.0.0.251") / UDP(sport=5353, dport=5353) / DNS(qd=DNSQR(qname="a"))),
        at(0.2, IP(src="10.0.0.11", dst="10.0.0.99") / UDP(sport=1, dport=2)),
        at(0.3, IP(src="10.0.0.11", dst="10.0.0.254") / TCP(sport=1, dport=8080)),
        at(0.4, IP(**ends) / UDP(sport=1, dport=2) / Raw(b"x" * 1600)),
        at(0.5, IP(**ends, options=[b"\x07\x07\x04\0\0\0\0\0"]) / UDP(sport=1, dport=2)),
        at(0.6, error),
        at(0.7, IP(**ends, frag=5, proto=17) / Raw(b"x" * 40)),
        at(0.8, IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=1, dport=2)),
        at(0.9, IP(**ends) / UDP(sport=1, dport=2)),
    ]
    found, assignment = script(tmp_path, packets, tiers, "fd00::/8=segment:web")
    assert found.left_out == {
        "handled: arp": 1,
        "dropped: multicast": 1,
        "between addresses that nobody plays": 3,
        "larger than 1500 octets": 1,
        "odd: ip-options": 1,
        "ICMP errors": 1,
        "fragments without their first": 1,
    }
    assert [line.key.dport for line in found.lines] == [2]
    assert found.packets == len(packets)
    assert {str(address): why for address, why in assignment.without.items()} == {
        "10.0.0.99": "no host, no mapping and no assumption has this address",
        "10.0.0.254": "the portal is nobody's part",
        "fd00::1": "web1, web2: no IPv6 address",
        "fd00::2": "web1, web2: no IPv6 address",
    }


def test_tags_go_and_fragments_are_sent_as_such(tmp_path: Path, tiers: Topology) -> None:
    ends = {"src": "10.0.0.11", "dst": "10.0.0.13", "id": 7}
    packets = [
        at(0.0, Dot1Q(vlan=9) / IP(**ends) / UDP(sport=1, dport=53)),
        at(0.1, IP(**ends, flags="MF") / UDP(sport=1, dport=53, len=48) / Raw(b"x" * 16)),
        at(0.2, IP(**ends, frag=3, proto=17) / Raw(b"x" * 24)),
    ]
    found, _ = script(tmp_path, packets, tiers)
    assert [(line.fragment, line.key.dport, line.frame[12:14]) for line in found.lines] == [
        (False, 53, b"\x08\0"),
        (True, 53, b"\x08\0"),
        (True, 53, b"\x08\0"),
    ]


def test_what_was_not_captured_is_filled_up(tmp_path: Path, tiers: Topology) -> None:
    whole = at(0.0, IP(src="10.0.0.11", dst="10.0.0.13") / UDP(sport=1, dport=53) / Raw(b"x" * 300))
    short = Ether(bytes(whole)[:60])
    short.wirelen, short.time = len(whole), 0.0
    found, _ = script(tmp_path, [short], tiers)
    (line,) = found.lines
    assert len(line.frame) == len(whole)
    assert parse_frame(line.frame) is not None


def test_flows_that_would_look_alike_are_not_mixed(tmp_path: Path, tiers: Topology) -> None:
    packets = [at(0.0, IP(src=f"172.16.0.{n}", dst="10.0.0.13") / UDP(sport=9, dport=53)) for n in (1, 2)]
    found, _ = script(tmp_path, packets, tiers, "172.16.0.0/16=workload:web1")
    assert len(found.lines) == 1
    assert found.left_out == {"flows that fall together with another's addresses and ports": 1}


@pytest.mark.parametrize(
    ("speed", "expected"), [(1.0, [0.0, 0.5, 1.5, 1.5]), (10.0, [0.0, 0.05, 1.05, 1.05]), (None, [0.0] * 4)]
)
def test_times_are_scaled_and_silence_is_cut_short(
    tmp_path: Path, tiers: Topology, speed: float | None, expected: list[float]
) -> None:
    moments = (100.0, 100.5, 200.0, 199.0)
    packets = [at(when, IP(src="10.0.0.11", dst="10.0.0.13") / UDP(sport=9, dport=53)) for when in moments]
    found, _ = script(tmp_path, packets, tiers, speed=speed)
    assert [round(line.at, 6) for line in found.lines] == expected


def test_no_more_packets_than_asked_for(tmp_path: Path, tiers: Topology) -> None:
    packets = [at(0.0, IP(src="10.0.0.11", dst="10.0.0.13") / UDP(sport=n, dport=53)) for n in range(1, 8)]
    found, _ = script(tmp_path, packets, tiers, limit=5)
    assert len(found.lines) == 5
    assert found.left_out == {"more than 5 packets": 2}
    assert str(ip_address(found.lines[0].key.src)) == "10.0.0.11"
