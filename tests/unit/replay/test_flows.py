"""Packets become flows with the right ends, direction and counts, and get the verdict of the policy."""

from __future__ import annotations

import struct

import pytest

from fakes.frames import ACK, FIN_ACK, RST, SYN, SYN_ACK, Host, ethernet, ip, mac
from unit.replay.site import ALICE, DB, GHOST, MIRROR, STRANGER, WEB, decided
from zethane.net.flowkey import ETH_IPV4
from zethane.replay.flow import Count


def test_a_connection_is_one_flow_of_who_sent_its_syn() -> None:
    _, (flow,) = decided(
        [
            (1.0, ALICE.tcp(WEB, 40000, 443, SYN)),
            (1.1, WEB.tcp(ALICE, 443, 40000, SYN_ACK)),
            (1.2, ALICE.tcp(WEB, 40000, 443, ACK, b"x" * 100)),
            (1.3, WEB.tcp(ALICE, 443, 40000, FIN_ACK)),
            (1.4, ALICE.tcp(WEB, 40000, 443, FIN_ACK)),
        ]
    )
    assert (flow.subject.text, flow.object.text) == ("user:alice", "workload:web1")
    assert (flow.subject.place, flow.object.place) == ("staff", "web")
    assert (flow.verdict.outcome, flow.verdict.rule) == ("allow", "staff-web")
    assert (flow.opening, flow.is_opening_seen) == ("syn", True)
    assert (flow.there, flow.back) == (Count(3, 60 + 154 + 60), Count(2, 120))
    assert (flow.first, flow.last) == (1.0, 1.4)


@pytest.mark.parametrize(
    ("first", "subject", "opening", "seen"),
    [
        (ALICE.tcp(WEB, 40000, 443, SYN), ALICE, "syn", True),
        (WEB.tcp(ALICE, 443, 40000, SYN_ACK), ALICE, "answer", True),
        (WEB.tcp(ALICE, 443, 40000, ACK), ALICE, "ports", False),
        (ALICE.tcp(WEB, 40000, 443, ACK), ALICE, "ports", False),
        (DB.tcp(WEB, 5432, 40000, ACK), WEB, "ports", False),  # named by the policy
        (WEB.tcp(ALICE, 40001, 40000, ACK), WEB, "first", False),
        (WEB.udp(ALICE, 53, 40000), WEB, "first", True),
        (WEB.echo(ALICE, reply=True), ALICE, "answer", True),
        (ALICE.echo(WEB), ALICE, "first", True),
    ],
)
def test_who_opened_a_flow(first: bytes, subject: Host, opening: str, *, seen: bool) -> None:
    done, (flow,) = decided([(1.0, first)])
    assert flow.subject.address == subject.ip
    assert (flow.opening, flow.is_opening_seen) == (opening, seen)
    assert done.totals.uncertain.flows == (not seen)


def test_every_outcome_and_its_reason() -> None:
    cases = [
        (ALICE.tcp(WEB, 1, 443), "allow", "staff-web", ""),
        (ALICE.tcp(WEB, 1, 80), "deny", None, "no-rule"),
        (ALICE.tcp(WEB, 1, 22), "deny", "staff-ssh", "condition-not-met"),
        (WEB.tcp(DB, 1, 22), "deny", "no-ssh", "deny-rule"),
        (GHOST.tcp(WEB, 1, 443), "deny", None, "unauthenticated"),
        (WEB.tcp(GHOST, 1, 443), "deny", None, "unknown-destination"),
        (STRANGER.tcp(WEB, 1, 443), "unattributed", None, ""),
        (WEB.tcp(MIRROR, 1, 80), "allow", "updates", ""),
        (MIRROR.tcp(WEB, 1, 80), "deny", None, "no-rule"),
        (WEB.udp(DB, 1, 5005), "allow", "web-db", ""),
        (WEB.udp(DB, 1, 5011), "deny", None, "no-rule"),
        (ALICE.echo(WEB), "allow", "ping", ""),
    ]
    done, flows = decided([(float(number), frame) for number, (frame, *_) in enumerate(cases)])
    by_time = sorted(flows, key=lambda flow: flow.first)
    for (_, outcome, rule, reason), flow in zip(cases, by_time, strict=True):
        assert (flow.verdict.outcome, flow.verdict.rule, flow.verdict.reason) == (outcome, rule, reason)
    totals = done.totals
    assert {outcome: tally.flows for outcome, tally in totals.outcomes.items()} == {
        "allow": 4,
        "deny": 7,
        "unattributed": 1,
    }
    assert totals.pairs["web", "198.51.100.0/24"]["allow"].flows == 1
    assert totals.pairs["unattributed", "web"]["unattributed"].packets == 1
    assert [row.address for row in totals.unknown] == [STRANGER.ip]
    assert totals.rules["staff-web"].flows == 1


def test_what_got_no_answer_or_a_refusal_is_told() -> None:
    packets = [
        (1.0, ALICE.tcp(WEB, 40000, 443, SYN)),
        (1.1, WEB.tcp(ALICE, 443, 40000, SYN_ACK)),
        (2.0, ALICE.tcp(WEB, 40001, 443, SYN)),
        (2.1, WEB.tcp(ALICE, 443, 40001, RST | ACK)),
        (3.0, ALICE.tcp(WEB, 40002, 443, SYN)),
        (4.0, ALICE.udp(WEB, 40003, 53)),
        (4.1, WEB.udp(ALICE, 53, 40003)),
        (5.0, WEB.tcp(ALICE, 22, 40004, RST)),
    ]
    done, flows = decided(packets)
    by_time = sorted(flows, key=lambda flow: flow.first)
    assert [flow.is_answered for flow in by_time] == [True, False, False, True, False]
    assert done.totals.all.answered == 2


def test_the_same_ports_again_are_another_flow_if_the_syn_is_another() -> None:
    again = bytearray(ALICE.tcp(WEB, 40000, 443, SYN))
    again[38:42] = b"\x00\x00\x10\x00"
    packets = [
        (1.0, ALICE.tcp(WEB, 40000, 443, SYN)),
        (2.0, ALICE.tcp(WEB, 40000, 443, SYN)),  # sent again
        (3.0, WEB.tcp(ALICE, 443, 40000, RST | ACK)),
        (4.0, bytes(again)),
        (5.0, WEB.tcp(ALICE, 443, 40000, SYN_ACK)),
    ]
    _, flows = decided(packets)
    assert [(flow.there.packets, flow.back.packets) for flow in flows] == [(2, 1), (1, 1)]


def test_a_server_that_connects_back_from_its_port_opens_a_flow_of_its_own() -> None:
    _, flows = decided([(1.0, ALICE.tcp(WEB, 40000, 443, SYN)), (2.0, WEB.tcp(ALICE, 443, 40000, SYN))])
    assert [(flow.subject.text, flow.verdict.outcome) for flow in flows] == [
        ("user:alice", "allow"),
        ("workload:web1", "deny"),
    ]


def test_udp_that_was_silent_for_long_is_opened_anew_by_who_speaks_first() -> None:
    packets = [(0.0, WEB.udp(DB, 9, 5000)), (299.0, DB.udp(WEB, 5000, 9)), (700.0, DB.udp(WEB, 5000, 9))]
    _, flows = decided(packets)
    assert [(flow.subject.text, flow.whole.packets, flow.verdict.outcome) for flow in flows] == [
        ("workload:web1", 2, "allow"),
        ("workload:db1", 1, "deny"),
    ]


HOURS = """
version: 1
segments:
  web: {labels: {tier: web}}
  staff: {groups: [staff]}
rules:
  - {id: office, from: [staff], to: [web], services: [tcp/443], when: {hours: "Mon-Fri 07:00-19:00 UTC"}}
"""
MONDAY_18 = 1_700_503_200.0 - 1_700_503_200.0 % 86400 + 18 * 3600


def test_hours_are_those_of_the_packets_and_cut_a_flow_that_goes_on() -> None:
    packets = [
        (MONDAY_18, ALICE.tcp(WEB, 40000, 443, SYN)),
        (MONDAY_18 + 3599, WEB.tcp(ALICE, 443, 40000, ACK)),
        (MONDAY_18 + 3600, ALICE.tcp(WEB, 40000, 443, ACK)),
        (MONDAY_18 + 3601, WEB.tcp(ALICE, 443, 40000, ACK)),
        (MONDAY_18 + 3602, ALICE.tcp(WEB, 40001, 443, SYN)),
    ]
    _, flows = decided(packets, text=HOURS)
    assert [(flow.verdict.outcome, flow.whole.packets, flow.opening) for flow in flows] == [
        ("allow", 2, "syn"),
        ("deny", 2, "goes-on"),
        ("deny", 1, "syn"),
    ]
    _, fixed = decided(packets, text=HOURS, now=MONDAY_18)
    assert [(flow.verdict.outcome, flow.whole.packets) for flow in fixed] == [("allow", 4), ("allow", 1)]


def test_icmp_errors_count_with_the_flow_that_they_are_about() -> None:
    request = ALICE.udp(WEB, 40000, 5000)
    done, (flow, *_) = decided(
        [
            (1.0, request),
            (2.0, WEB.unreachable(ALICE, request)),
            (3.0, DB.unreachable(ALICE, request)),  # from neither end
            (4.0, WEB.unreachable(ALICE, ALICE.udp(WEB, 1, 1))),  # about no flow
        ]
    )
    assert (flow.there.packets, flow.related.packets, flow.whole.packets) == (1, 1, 2)
    assert {aside.what: tally.packets for aside, tally in done.totals.asides.items()} == {
        "from neither end of the flow": 1,
        "about no flow": 1,
    }
    assert {aside.reason for aside in done.totals.asides} == {"unrelated-error"}


def fragment(frm: Host, to: Host, number: int, offset: int, payload: bytes, *, more: bool) -> bytes:
    kind, packet = ip(frm.ip, to.ip, 17, payload)
    head = packet[:4] + struct.pack("!HH", number, (0x2000 if more else 0) | offset) + packet[8:]
    return ethernet(frm.mac, to.mac, kind, head)


def test_fragments_go_with_the_first_one_of_their_datagram_in_whatever_order() -> None:
    first = struct.pack("!HHHH", 9, 5000, 1600, 0) + bytes(1480 - 8)
    packets = [
        (1.0, fragment(WEB, DB, 7, 185, bytes(120), more=False)),
        (1.1, fragment(WEB, DB, 7, 0, first, more=True)),
        (1.2, fragment(WEB, DB, 8, 0, first, more=True)),
        (1.3, fragment(WEB, DB, 8, 185, bytes(120), more=False)),
        (1.4, fragment(WEB, DB, 9, 185, bytes(120), more=False)),  # whose first one is missing
    ]
    done, (flow,) = decided(packets)
    assert (flow.verdict.rule, flow.there.packets) == ("web-db", 4)
    ((reason, hindered),) = flow.hurdles
    assert (reason, hindered.packets) == ("fragment", 4)
    ((aside, tally),) = done.totals.asides.items()
    assert (aside.reason, tally.packets) == ("fragment", 1)


def test_what_is_no_flow_is_told_apart_from_denials() -> None:
    group = WEB.udp(Host(0, "01:00:5e:00:00:fb", "224.0.0.251"), 5353, 5353)
    dhcp = ALICE.udp(Host(0, "ff:ff:ff:ff:ff:ff", "255.255.255.255"), 68, 67)
    packets = [
        WEB.arp(DB.ip),
        Host(1, WEB.mac, "2001:db8::11").solicitation("2001:db8::14"),
        group,
        dhcp,
        ethernet(WEB.mac, "01:80:c2:00:00:0e", 0x88CC, bytes(50)),
        ethernet(WEB.mac, "01:80:c2:00:00:00", 38, bytes(50)),
        ethernet(WEB.mac, DB.mac, 0x8847, bytes(50)),
        mac(DB.mac) + mac(WEB.mac) + b"\x08\x00",
    ]
    done, flows = decided([(1.0, frame) for frame in packets])
    assert not flows
    assert sorted((aside.fate.value, aside.reason) for aside in done.totals.asides) == [
        ("dropped", "malformed"),
        ("dropped", "malformed"),
        ("dropped", "malformed"),
        ("dropped", "multicast"),
        ("handled", "arp"),
        ("handled", "dhcp"),
        ("handled", "lldp"),
        ("handled", "nd"),
    ]


def tagged(frame: bytes, *tags: tuple[int, int]) -> bytes:
    return frame[:12] + b"".join(struct.pack("!HH", *tag) for tag in tags) + frame[12:]


def test_tags_are_taken_off_and_two_are_remarked() -> None:
    plain = ALICE.tcp(WEB, 40000, 443)
    done, (flow,) = decided(
        [(1.0, plain), (2.0, tagged(plain, (0x8100, 20))), (3.0, tagged(plain, (0x88A8, 30), (0x8100, 20)))]
    )
    assert flow.there.packets == 3
    assert done.tagged_twice == 1
    done, flows = decided([(1.0, tagged(plain, (0x88A8, 1), (0x8100, 2), (0x8100, 3)))])
    assert not flows
    assert [aside.reason for aside in done.totals.asides] == ["vlan-not-allowed"]


COOKED = struct.pack("!HHH8sH", 0, 1, 6, mac(ALICE.mac) + b"\0\0", ETH_IPV4)
COOKED2 = struct.pack("!HHIHBB8s", ETH_IPV4, 0, 2, 1, 0, 6, mac(ALICE.mac) + b"\0\0")


@pytest.mark.parametrize(
    ("link", "header"),
    [
        (101, b""),
        (12, b""),
        (228, b""),
        (0, struct.pack("<I", 2)),
        (0, struct.pack(">I", 2)),
        (108, struct.pack(">I", 2)),
        (113, COOKED),
        (276, COOKED2),
    ],
)
def test_other_links(link: int, header: bytes) -> None:
    packets = [ALICE.tcp(WEB, 40000, 443), ALICE.tcp(WEB, 40000, 443, ACK), ALICE.tcp(WEB, 40000, 443, ACK)]
    _, (flow,) = decided([(float(n), header + frame[14:54]) for n, frame in enumerate(packets)], link=link)
    assert (flow.verdict.rule, flow.there.packets) == ("staff-web", 3)


def test_links_that_are_not_read_are_named_and_counted() -> None:
    done, flows = decided([(1.0, bytes(60))] * 3, link=105)
    assert not flows
    assert done.links == {"IEEE 802.11": 1}
    ((aside, tally),) = done.totals.asides.items()
    assert (aside.fate.value, aside.what, tally.packets) == ("unread", "IEEE 802.11", 3)


@pytest.mark.parametrize("captured", [54, 48, 38])
def test_packets_that_were_not_captured_whole_count_in_full(captured: int) -> None:
    data = ALICE.tcp(WEB, 40000, 443, ACK, b"x" * 1000)
    _, (flow,) = decided([(1.0, data[:captured], len(data)), (2.0, data[:captured], len(data))])
    assert (flow.verdict.rule, flow.there) == ("staff-web", Count(2, 2 * len(data)))
    done, flows = decided([(1.0, data[:36], len(data))])
    assert not flows
    assert [aside.reason for aside in done.totals.asides] == ["too-short"]
