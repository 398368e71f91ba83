"""The policy's own tests: on hosts, on all members of segments, under conditions, at a time, and never."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timezone
from typing import Any

import pytest

from zethane.errors import InputError
from zethane.policy.check import check
from zethane.policy.load import parse_policy
from zethane.policy.outcome import Outcome
from zethane.policy.principal import External, Parties, Principal

NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc).timestamp()

POLICY = """\
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  staff: {groups: [staff, ops]}
rules:
  - {id: https, from: [staff], to: [web], services: [tcp/443], when: {mfa: true}}
  - {id: page, from: [staff], to: [web], services: [tcp/80]}
  - {id: day, from: [web], to: [db], services: [tcp/5432], when: {hours: "Mon-Fri 07:00-19:00 Europe/Berlin"}}
  - {id: lab, from: [staff], to: [db], services: [tcp/22], when: {object: {labels: {site: lab}}, device: true}}
  - {id: out, from: [web], to: {networks: [198.51.100.0/24]}, services: [udp/53]}
  - {id: not-there, from: [web], to: {networks: [198.51.100.8/29]}, services: [udp/53], action: deny}
  - {id: x, from: [db], to: [web], services: [tcp/1], when: {cel: subject.labels.tier == object.labels.tier}}
tests:
"""
HOSTS: dict[str, Parties] = {
    "web1": Principal("workload", "web1", labels=(("tier", "web"),)),
    "db1": Principal("workload", "db1", labels=(("site", "lab"), ("tier", "db"))),
    "laptop": Principal("user", "alice", frozenset({"staff"}), mfa=True, mfa_at=0.0, aal=2),
    "desk": Principal("user", "bob", frozenset({"staff"})),
    "ghost": None,
    "dns": (External(ipaddress.IPv4Address("198.51.100.53")),),
    "db": Principal("workload", "web1", labels=(("tier", "web"),)),
}


def find(name: str) -> Parties:
    """Who is behind the name of a host or an address."""
    if name in HOSTS:
        return HOSTS[name]
    try:
        return External(ipaddress.ip_address(name))
    except ValueError:
        raise KeyError(name) from None


def outcome(test: str) -> Outcome:
    """What becomes of one test."""
    policy = parse_policy(f"{POLICY}  - {test}\n", "p")
    report = check(policy, [], HOSTS, find, [ipaddress.ip_network("198.51.0.0/16")], now=NOW)
    assert not report.errors, report.errors
    return report.outcomes[0]


def problems(test: str) -> list[str]:
    """What is wrong with one test."""
    try:
        policy = parse_policy(f"{POLICY}  - {test}\n", "p")
    except InputError as error:
        return [str(problem) for problem in error.problems]
    report = check(policy, [], HOSTS, find, [ipaddress.ip_network("198.51.0.0/16")], now=NOW)
    return [str(problem) for problem in report.errors]


@pytest.mark.parametrize(
    ("test", "passed"),
    [
        ("{allow: laptop -> web1, service: tcp/443}", True),
        ("{allow: desk -> web1, service: tcp/443}", False),
        # What a test says of a host overrides what its login gives.
        ("{deny: laptop -> web1, service: tcp/443, when: {mfa: false}}", True),
        ("{allow: desk -> web1, service: tcp/443, when: {mfa: true}}", True),
        ("{allow: desk -> web1, service: tcp/443, when: {mfa: {within: 5m}}}", True),
        ("{deny: laptop -> db1, service: tcp/22}", True),
        ("{allow: laptop -> db1, service: tcp/22, when: {device: true}}", True),
        ("{deny: laptop -> db1, service: tcp/22, when: {device: true, object: {labels: {site: live}}}}", True),
        # Hosts are asked about now, or when the test says.
        ("{allow: web1 -> db1, service: tcp/5432}", True),
        ("{deny: web1 -> db1, service: tcp/5432, at: 2026-11-23T22:00+01:00}", True),
        ("{allow: web1 -> db1, service: tcp/5432, at: 2026-11-23T06:00:00Z}", True),
        ("{allow: web1 -> db1, service: tcp/5432, at: 2026-11-23T05:59:59Z}", False),
        # Segments: all members, whatever they prove.
        ("{allow: staff -> web, service: tcp/80}", True),
        ("{allow: staff -> web, service: tcp/443}", False),
        ("{deny: staff -> web, service: tcp/443}", False),
        ("{allow: staff -> web, service: tcp/443, when: {mfa: true}}", True),
        ("{deny: staff -> web, service: tcp/443, when: {mfa: false}}", True),
        ("{allow: staff -> web, service: tcp/80-81}", False),
        ("{deny: staff -> web, service: tcp/81-442}", True),
        ("{allow: staff -> segment:db, service: tcp/22, when: {device: true, object: {labels: {site: lab}}}}", True),
        ("{allow: staff -> segment:db, service: tcp/22, when: {device: true}}", False),
        ("{allow: staff -> db1, service: tcp/22, when: {device: {labels: {managed: yes-it-is}}}}", True),
        # All times, or one.
        ("{allow: web -> segment:db, service: tcp/5432}", False),
        ("{deny: web -> segment:db, service: tcp/5432}", False),
        ("{allow: web -> segment:db, service: tcp/5432, at: 2026-11-23T12:00+01:00}", True),
        ("{deny: web -> segment:db, service: tcp/5432, at: 2026-11-22T12:00+01:00}", True),
        # A host before a segment of the same name, unless the test says which.
        ("{deny: laptop -> db, service: tcp/22, when: {device: true}}", True),
        ("{allow: laptop -> host:db, service: tcp/80}", True),
        ("{deny: segment:db -> web, service: tcp/80}", True),
        # Outside.
        ("{allow: web -> dns, service: udp/53}", True),
        ("{allow: web -> 198.51.100.0/24, service: udp/53}", False),
        ("{deny: web -> 198.51.100.8/29, service: udp/53}", True),
        ("{allow: web -> 198.51.100.0/29, service: udp/53}", True),
        ("{deny: web -> 198.51.101.0/24, service: any}", True),
        ("{allow: web1 -> 198.51.100.7, service: udp/53}", True),
        ("{deny: web -> 198.51.100.9, service: any}", True),
        ("{deny: 198.51.0.0/16 -> any, service: any}", True),
        # Never.
        ('{never: "laptop -> web : tcp/80"}', False),
        ('{never: "segment:db -> web : tcp/80"}', True),
        ("{never: segment:db -> staff, service: any}", True),
        ("{never: web -> segment:db, service: tcp/5432}", False),
        ("{never: desk -> web1, service: tcp/443}", False),
        ("{never: desk -> web1, service: tcp/22}", True),
        ("{never: desk -> db1, service: tcp/22}", False),
        ("{never: any -> segment:db, service: udp}", True),
        ("{never: any -> web, service: tcp/443}", False),
        ("{never: any -> web, service: tcp/443, when: {mfa: false}}", True),
        ("{never: 0.0.0.0/0 -> any, service: any}", True),
        ("{never: ghost -> web, service: any}", True),
        ("{allow: ghost -> web, service: tcp/80}", False),
        # An expression may be true or not.
        ("{deny: segment:db -> web, service: tcp/1}", False),
        ("{allow: segment:db -> web, service: tcp/1}", False),
        # Of nobody nothing is true.
        ("{deny: staff -> web, service: tcp/443, when: {subject: {labels: {tier: web}}}}", False),
    ],
)
def test_each_kind_of_test(test: str, passed: bool) -> None:
    assert outcome(test).passed == passed


def test_a_failure_shows_somebody_and_the_rule() -> None:
    failed = outcome("{never: any -> web, service: tcp/443}")
    assert failed.decision.rule == "https"
    assert failed.place == "p:7"
    assert failed.text == (
        "never any -> web tcp/443: rule https allows tcp/443 from staff to web (p:7); for example somebody with "
        "group ops, a second factor -> somebody with tier=web, no second factor, tcp/443, at 2026-11-25T12:00:00Z"
    )
    view: dict[str, Any] = dict(failed.view())
    assert view["expected"] == "never"
    assert view["example"]["from"]["mfa"] is True
    late = outcome("{allow: web -> segment:db, service: tcp/5432}")
    assert late.decision.reason == "no rule allows tcp/5432 from web to db"
    assert late.example is not None
    assert late.example.moment == datetime(2026, 11, 25, 18, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("{allow: ghost -> web, service: tcp/80}", "ghost is not authenticated, or not in exactly one segment"),
        (
            "{deny: staff -> web, service: tcp/443, when: {mfa: false, subject: {labels: {tier: web}}}}",
            "there can be nobody whom this is about",
        ),
        ("{allow: 198.51.100.1 -> 198.51.100.2, service: any}", "both ends are outside"),
    ],
)
def test_a_test_about_nobody_fails_and_says_so(test: str, reason: str) -> None:
    assert reason in outcome(test).decision.reason


@pytest.mark.parametrize(
    ("test", "wanted"),
    [
        ("{allow: staf -> web, service: tcp/80}", "no host and no segment is named 'staf'; did you mean 'staff'?"),
        ("{allow: staff -> segment:web1, service: tcp/80}", "no host and no segment is named 'segment:web1'"),
        ("{allow: staff -> host:web, service: tcp/80}", "no host and no segment is named 'host:web'"),
        ("{allow: web -> 10.0.0.0/99, service: tcp/80}", "no host and no segment is named '10.0.0.0/99'"),
        ("{never: 10.0.0.0/24 -> web, service: any}", "no uplink of the network leads to 10.0.0.0/24"),
        ("{allow: dns -> web, service: any, when: {mfa: true}}", "expected no condition: nobody at 'dns' logs in"),
        ("{allow: a -> b}", "expected one service"),
        ('{never: "a -> b : any", service: any}', "expected one service"),
        ('{never: "a -> b : tcp/x"}', "found 'tcp/x'"),
        ("{allow: a -> b, deny: a -> b, service: any}", "expected one of allow, deny and never"),
        ("{allow: a -> b, service: any, at: 2026-11-23T22:00}", "expected a time with its zone (RFC 3339)"),
        ("{allow: a -> b, service: any, at: 2026-13-23T22:00Z}", "expected a time with its zone (RFC 3339)"),
        ("{never: a -> b, service: any, at: 2026-11-23T22:00Z}", "expected no time: what never is, is at none"),
        ('{allow: a -> b, service: any, when: {hours: "Mon 07:00-08:00 UTC"}}', "expected at, the moment of the test"),
        ('{allow: a -> b, service: any, when: {cel: "true"}}', "an expression does not say that"),
        ("never: web -> db : any", 'text with ": " in it needs quotes'),
    ],
)
def test_what_is_wrong_with_a_test_is_said(test: str, wanted: str) -> None:
    found = problems(test)
    assert any(wanted in problem for problem in found), found
    assert all(problem.startswith("p:15:") for problem in found)
