"""A replay of any size: its sums are exact, its tables bounded; and the flows as traffic that was seen."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

from fakes import captures
from fakes.frames import ACK, SYN, Host, tcp_segment
from fuzz.captures import records_of
from unit.replay.site import ALICE, DB, MIRROR, STRANGER, WEB, attribution, decided, policy
from zethane.app.topology import load_topology
from zethane.policy.principal import External, Principal
from zethane.replay.attribution import NETWORK_ITSELF, Attribution, Entity, Told
from zethane.replay.flow import Flow
from zethane.replay.given import attribution_of
from zethane.replay.meter import MAX_DATAGRAMS, Meter
from zethane.replay.packet import Aside
from zethane.replay.replay import seen_in
from zethane.replay.table import MAX_SIGNATURES, Table
from zethane.replay.totals import MAX_DETAILS, OTHERS
from zethane.replay.verdict import Judge


def scan(ports: range) -> Iterator[captures.Taken]:
    for number, port in enumerate(ports):
        yield float(number), ALICE.tcp(WEB, 40000, port, SYN)


def test_a_table_that_is_full_tells_what_was_silent_for_longest_and_the_sums_stay_exact() -> None:
    done, flows = decided(scan(range(1, 5001)), room=1000)
    assert len(flows) == done.totals.all.flows == 5000
    assert done.totals.all.packets == 5000
    assert done.totals.outcomes["allow"].flows == 1
    assert 0 < done.evicted < 5000
    whole, _ = decided(scan(range(1, 5001)))
    assert whole.evicted == 0
    assert whole.totals.pairs == done.totals.pairs


def test_details_are_bounded_and_what_is_over_the_bound_is_counted_together() -> None:
    done, _ = decided(scan(range(1, MAX_DETAILS + 500)))
    assert len(done.totals.services) <= MAX_DETAILS + 10
    assert sum(tally.flows for tally in done.totals.services.values()) == MAX_DETAILS + 499
    assert any(row.service == OTHERS for row in done.totals.services)
    assert done.totals.pairs["staff", "web"]["deny"].flows == MAX_DETAILS + 498


def test_signatures_and_datagrams_are_bounded() -> None:
    flows: list[Flow] = []
    wanted = policy()
    table = Table(Judge(wanted), attribution(wanted), flows.append)
    lost: list[Aside] = []
    meter = Meter(table, lambda *told: lost.append(told[0]))
    frame = ALICE.tcp(WEB, 40000, 443, ACK)
    meter.run(records_of(frame[:22] + bytes((ttl,)) + frame[23:] for ttl in range(256)))
    assert len(table.signatures) == MAX_SIGNATURES
    later = bytearray(WEB.udp(DB, 1, 1))
    later[21] = 5
    meter.run(
        records_of(
            bytes(later[:14]) + bytes(later[14:18]) + struct.pack("!H", number) + bytes(later[20:])
            for number in range(MAX_DATAGRAMS + 100)
        )
    )
    assert len(lost) == 100
    meter.finish()
    table.finish()
    assert len(lost) == MAX_DATAGRAMS + 100
    assert [flow.there.packets for flow in flows] == [256]


def test_times_that_jump_about_make_no_trouble() -> None:
    packets: list[captures.Taken] = [
        (when, ALICE.tcp(WEB, 40000, 443, ACK)) for when in (4e9, 0.0, 4e9, 1.7e9, 0.0, 1.7e9)
    ]
    done, flows = decided(packets)
    assert sum(flow.there.packets for flow in flows) == 6
    assert all(flow.first <= flow.last for flow in flows)
    assert done.totals.all.last == 4e9


def test_seen_traffic_has_both_ends_as_policy_sees_them() -> None:
    wanted = policy()
    packets: list[captures.Taken] = [
        (5.0, ALICE.tcp(WEB, 40000, 443, SYN)),
        (6.0, WEB.tcp(ALICE, 443, 40000, ACK)),
        (7.0, WEB.tcp(MIRROR, 40000, 80, SYN)),
        (8.0, STRANGER.echo(WEB)),
    ]
    seen = sorted(
        seen_in(captures.capture(captures.pcap(packets)), wanted, attribution(wanted)), key=lambda one: one.first
    )
    first, second, third = seen
    assert isinstance(first.subject, Principal)
    assert str(first.subject.address) == ALICE.ip
    assert (first.source, first.target, first.ip_proto, first.port) == ("user:alice", "workload:web1", 6, 443)
    assert (first.flows, first.packets, first.octets, first.first, first.last) == (1, 2, 120, 5.0, 6.0)
    assert (first.allowed, first.rule) == (None, None)
    assert isinstance(second.object, External)
    assert (second.target, second.port) == (MIRROR.ip, 80)
    assert (third.subject, third.source, third.ip_proto, third.port) == (None, STRANGER.ip, 1, 0)


def test_parts_of_the_network_itself_are_no_matter_of_policy() -> None:
    wanted = policy()
    portal, server = Host(8, "02:00:00:00:00:fe", "10.0.0.254"), Host(9, "02:00:00:00:00:53", "10.0.0.53")
    told = {
        ip_network(ALICE.ip): Entity("user:alice", "", Principal("user", "alice", frozenset(("staff",)))),
        ip_network(portal.ip): Entity("the portal", "", standing="portal"),
        ip_network(server.ip): Entity("server:dns", "", standing="dns"),
    }
    who = Attribution(wanted, (Told(told),))
    judge = Judge(wanted)
    alice, there, dns = (who.who(bytes(map(int, host.ip.split("."))), b"") for host in (ALICE, portal, server))
    assert there.place == NETWORK_ITSELF
    asked = [
        (alice, there, 8080),
        (alice, dns, 53),
        (alice, dns, 22),
        (dns, alice, 22),
    ]
    assert judge.verdict(alice, there, 17, 53, 0.0).reason == "no-rule"
    assert [judge.verdict(one, other, 6, port, 0.0).outcome for one, other, port in asked] == [
        "allow",
        "allow",
        "deny",
        "deny",
    ]
    capture = captures.capture(captures.pcap([(1.0, ALICE.tcp(portal, 1, 8080, SYN))]))
    assert list(seen_in(capture, wanted, who)) == []


BRANCH = Path(__file__).parents[3] / "topologies" / "branch"


def test_a_topologys_files_say_who_has_which_address() -> None:
    topology = load_topology(BRANCH)
    who = attribution_of(topology)
    expected = {
        "10.20.0.21": ("user:alice", "staff", "known"),
        "2001:db8:20::11": ("workload:files", "files", "known"),
        "10.20.0.66": ("ghost", "not logged in", "known"),
        "198.51.100.80": ("www", "198.51.100.80/32", "known"),
        "203.0.113.99": ("203.0.113.99", "0.0.0.0/0", "known"),
        "10.20.0.1": ("router wan", "not logged in", "known"),
        "10.20.0.2": ("server:services", "the network itself", "dns"),
        "192.0.2.1": ("192.0.2.1", "unattributed", "unattributed"),
    }
    found = {}
    for address in expected:
        one = who.who(ip_address(address).packed, bytes(6))
        found[address] = (one.text, one.place, one.standing)
    assert found == expected
    mac = topology.hosts["laptop"].mac.to_bytes(6, "big")
    assert who.who(ip_address("fe80::1").packed, mac).text == "user:alice"


def test_a_segment_with_the_header_of_another_packet_behind_it_is_one_packet() -> None:
    """Every octet of the link is counted, also those behind the IP packet."""
    frame = ALICE.tcp(WEB, 1, 443, SYN) + tcp_segment(1, 2, SYN)
    _, (flow,) = decided([(1.0, frame)])
    assert flow.there.octets == len(frame)
