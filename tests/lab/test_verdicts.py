"""What the lab probes for a cell, and what it makes of the answers. No network."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lab.agent.packets import (
    NONCE,
    UDP_REQUEST,
    arrival,
    crc32c,
    echo_request,
    internet_checksum,
    is_sctp_answer,
    sctp_answer,
    sctp_init,
)
from lab.names import MAX_INTERFACE, Names, new_run_id
from lab.verdicts import Observation, Verdict, judge, probes_of, report, sampled_ports
from lab.view import matrix_view, mismatch_line
from zethane.policy.decide import Decision
from zethane.policy.matrix import Cell
from zethane.policy.service import Service

V4 = {"a": [ip_address("10.0.0.1")], "b": [ip_address("10.0.0.2")]}
BOTH = {
    "a": [ip_address("10.0.0.1"), ip_address("2001:db8::1")],
    "b": [ip_address("10.0.0.2"), ip_address("2001:db8::2")],
}


def cell(service: str, *, allowed: bool) -> Cell:
    return Cell("a", "b", Service.parse(service), Decision(allowed, "r1" if allowed else None, "for the test"))


def verdict(service: str, answers: str, *, allowed: bool) -> Verdict:
    """`answers`: per probe A (answered), L (arrived, no answer) or D (nothing), IPv4 first."""
    asked = cell(service, allowed=allowed)
    addresses = BOTH if len(answers) in (2, 6) else V4
    probes = probes_of(asked, addresses, [asked.service])
    seen = [
        Observation(probe, answer == "A", answer in "AL", "answered" if answer == "A" else "timeout")
        for probe, answer in zip(probes, answers, strict=True)
    ]
    return judge(asked, seen)


@pytest.mark.parametrize(
    ("service", "answers", "allowed", "observed"),
    [
        ("tcp/443", "A", True, "allow"),
        ("tcp/443", "D", True, "deny"),
        ("tcp/443", "L", True, "deny"),
        ("tcp/443", "D", False, "deny"),
        ("tcp/443", "A", False, "allow"),
        ("tcp/443", "L", False, "allow"),  # it got through, answered or not
        ("icmp", "AD", True, "deny"),  # IPv6 is blocked against the policy
        ("icmp", "DA", False, "allow"),  # IPv6 passes against the policy
        ("tcp/10-20", "AAA", True, "allow"),
        ("tcp/10-20", "ADA", True, "deny"),
        ("tcp/10-20", "ADA", False, "deny"),  # a range is allowed only when all of it is
        ("tcp/10-20", "AAADDD", False, "allow"),  # but IPv4 lets all of it pass
    ],
)
def test_verdicts(service: str, answers: str, *, allowed: bool, observed: str):
    """Expectation and answers to a verdict, literally."""
    assert verdict(service, answers, allowed=allowed).observed == observed


def test_a_mismatch_names_family_and_port():
    """Only what disagrees with the policy is told."""
    assert verdict("tcp/443", "DA", allowed=False).details == ("tcp/443 over IPv6: answered",)
    assert verdict("tcp/443", "AL", allowed=True).details == (
        "tcp/443 over IPv6: reached the target, but no answer came back (timeout)",
    )


def test_hosts_without_a_common_family_are_denied_and_say_so():
    """Nothing could be probed: that is never taken for allowed."""
    found = judge(cell("icmp", allowed=True), [])
    assert (found.observed, found.mismatch) == ("deny", True)
    assert found.details == ("the hosts share no address family: nothing was probed",)


def test_the_edges_of_other_services_inside_a_range_are_probed_too():
    """A rule about part of the range may decide differently there."""
    services = [Service.parse(text) for text in ("tcp/100-200", "tcp/150-160", "udp/120", "tcp/300")]
    assert sampled_ports(services[0], services) == (100, 150, 160, 200)
    assert sampled_ports(Service.parse("tcp"), []) == (1, 32768, 65535)
    assert sampled_ports(Service.parse("icmp"), services) == (0,)


def test_the_report_has_the_shape_that_programs_rely_on():
    """The policy's cells with `observed`, and a summary."""
    told = report([verdict("tcp/443", "A", allowed=True), verdict("icmp", "A", allowed=False)])
    assert told["summary"] == {"cells": 2, "mismatches": 1, "flaky": 0}
    assert told["cells"][0] == {
        "from": "a",
        "to": "b",
        "service": "tcp/443",
        "decision": "allow",
        "rule": "r1",
        "observed": "allow",
    }


def rendered(verdicts: list[Verdict], width: int) -> str:
    console = Console(width=width, no_color=True, record=True)
    with console.capture() as captured:
        console.print(matrix_view(verdicts, ["a", "b"], {"a": "web"}, width))
    return captured.get()


def test_the_matrix_shows_right_and_wrong_cells_without_colour():
    """Letters for what passes, a dot for what is denied, and marks of their own for mismatches."""
    answers = [("icmp", "A", True), ("tcp/22", "D", False), ("tcp/80", "A", False), ("udp/53", "D", True)]
    shown = rendered([verdict(service, seen, allowed=allowed) for service, seen, allowed in answers], 80)
    assert "a·!x" in shown
    assert "a=icmp" in shown
    assert (
        mismatch_line(verdict("udp/53", "D", allowed=True)) == "a → b udp/53: expected allow (rule r1), observed deny"
    )


def test_a_matrix_too_wide_for_the_terminal_is_shown_by_segments():
    """Every line fits."""
    shown = rendered([verdict("icmp", "A", allowed=True)], 24)
    assert "Which segment" in shown
    assert max(map(len, shown.splitlines())) <= 24


@given(st.integers(1, 256), st.integers(1, 0xFEFF), st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,31}", fullmatch=True))
def test_names_fit_into_an_interface_name(number: int, port: int, switch: str):
    """Linux allows 15 characters."""
    names = Names(new_run_id())
    bridges = (names.bridge(switch, number), names.legacy(number, port))
    ports = (names.port(number, port), names.legacy_trunk(number, port), names.host(4096), names.access(4096))
    assert len({*bridges, *ports}) == len(bridges) + len(ports)
    for name in (*bridges, *ports):
        assert len(name) <= MAX_INTERFACE


def ip4(protocol: int, data: bytes) -> bytes:
    return bytes([0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]) + data


def tcp(flags: int) -> bytes:
    return b"\x80\0" + (443).to_bytes(2, "big") + bytes(8) + bytes([0x50, flags]) + bytes(6)


@pytest.mark.parametrize(
    ("packet", "opened"),
    [
        (ip4(6, tcp(0x02)), ("tcp", 443)),
        (ip4(6, tcp(0x12)), None),
        (ip4(6, tcp(0x10)), None),
        (ip4(17, b"\x80\0\0\x35\0\0\0\0" + UDP_REQUEST + bytes(NONCE)), ("udp", 53)),
        (ip4(17, b"\x80\0\0\x35\0\0\0\0other traffic"), None),
        (ip4(1, echo_request(4, 7, 1, bytes(NONCE))), ("icmp", 0)),
        (ip4(1, b"\0" + bytes(7)), None),
        (ip4(132, sctp_init(40000, 5000, 9)), ("sctp", 5000)),
    ],
)
def test_what_counts_as_an_arrival(packet: bytes, opened: tuple[str, int] | None):
    """Only what opens something: answers to allowed flows do not count against a denied direction."""
    expected = opened and (opened[0], "10.0.0.1", "10.0.0.2", opened[1])
    assert arrival(packet) == expected


@given(st.binary(max_size=120))
def test_any_bytes_are_an_arrival_or_none(packet: bytes):
    """What comes from the network is anything."""
    found = arrival(packet)
    assert found is None or found[0] in ("tcp", "udp", "icmp", "sctp")


def test_checksums_are_those_of_the_standards():
    """The example of RFC 1071 §3 and the check value of CRC-32C."""
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D
    assert crc32c(b"123456789") == 0xE3069283


def test_an_sctp_answer_fits_its_request_only():
    """Ports and tag have to be those of the INIT."""
    answer = sctp_answer(sctp_init(40000, 5000, 9), own_tag=77)
    assert answer is not None
    assert is_sctp_answer(answer, 40000, 5000, 9)
    assert not is_sctp_answer(answer, 40000, 5000, 8)
    assert sctp_answer(answer, own_tag=1) is None
