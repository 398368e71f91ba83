"""Recorded flows against another policy: what would end, what would pass, by whom, and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.decision_log import START, WrittenLog
from fakes.site import ALICE, BOB, DB, POLICY, WEB
from strategies.policy import NOW, flows, parties, policies
from zethane.audit.observed import Observer
from zethane.audit.reason import DenyReason
from zethane.policy.decide import decide
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.principal import External, Principal
from zethane.policy.seen import Seen
from zethane.policy.whatif import Between, WhatIf, whatif

LAPTOP, DESK, WEB1, DB1 = "10.0.0.21", "10.0.0.22", "10.0.0.11", "10.0.0.14"


@pytest.fixture
def log() -> WrittenLog:
    written = WrittenLog()
    written.login(replace(ALICE, mfa_at=START), LAPTOP)
    written.login(BOB, DESK)
    written.login(WEB, WEB1)
    written.login(DB, DB1)
    return written


def held(log: WrittenLog, text: str, **window: float) -> WhatIf:
    observer = Observer(lambda _: None, **window)
    seen = (one for line in log.lines if (one := observer.line(line)) is not None)
    return whatif(parse_policy(text, "policy.yaml"), seen)


def summary(answer: WhatIf) -> list[tuple[str, str | None, str | None, str, int]]:
    return [(one.effect, one.source, one.target, one.service, one.flows) for one in answer.changes]


def test_the_same_policy_changes_nothing(log: WrittenLog) -> None:
    log.end(log.flow(LAPTOP, WEB1, "staff-web"), "staff-web", 0.5)
    log.denial(LAPTOP, DB1, 22, DenyReason.DENY_RULE, "no-ssh")
    log.denial(DESK, WEB1, 443, DenyReason.CONDITION_NOT_MET, "staff-web")
    answer = held(log, POLICY)
    assert not answer.changed
    assert (answer.allowed, answer.denied) == (1, 2)


def test_what_ends_says_who_how_often_how_much_and_by_which_rules(log: WrittenLog) -> None:
    for port in (443, 443, 8443):
        log.end(log.flow(LAPTOP, WEB1, "staff-web", port), "staff-web", 0.5, packets=7, octets=700)
    log.end(log.flow(DESK, WEB1, "staff-web", 443), "staff-web", 0.5, packets=1, octets=60)
    log.end(log.flow(WEB1, DB1, "web-db", 5432), "web-db", 0.5)
    new = POLICY + "  - {id: no-web, from: [staff], to: [web], services: [tcp/443], action: deny}\n"
    answer = held(log, new.replace("tcp/443, udp/443", "tcp/443, tcp/8443"))
    (change,) = answer.changes
    assert summary(answer) == [("ends", "staff", "web", "tcp/443", 3)]
    assert (change.packets, change.octets) == (15, 1460)
    why = "rule no-web denies tcp/443 from staff to web"
    assert change.between == (
        Between("user:alice", "workload:web1", "staff-web", "no-web", why, 2, 14, 1400, START + 5, START + 8),
        Between("user:bob", "workload:web1", "staff-web", "no-web", why, 1, 1, 60, START + 11, START + 12),
    )
    assert answer.allowed == 2


def test_connections_that_switches_have_let_in_are_flows_and_what_they_carried_is_none(log: WrittenLog) -> None:
    log.grant(LAPTOP, WEB1, "staff-web")
    log.grant(LAPTOP, WEB1, "staff-web")
    log.usage(LAPTOP, "staff-web")
    answer = held(log, POLICY + "  - {id: no-web, from: [staff], to: [web], services: [tcp/443], action: deny}\n")
    assert summary(answer) == [("ends", "staff", "web", "tcp/443", 2)]
    observer = Observer(lambda _: None)
    assert sum(observer.line(line) is not None for line in log.lines) == 2
    assert not observer.account.damaged


def test_what_was_denied_and_would_pass_is_told(log: WrittenLog) -> None:
    log.denial(WEB1, DB1, 22, DenyReason.DENY_RULE, "no-ssh")
    log.denial(DB1, WEB1, 9000)
    log.denial(DB1, WEB1, 9001)
    log.denial(DB1, WEB1, 9000, DenyReason.QUOTA, "db-web")
    new = (
        POLICY.replace("action: deny", "action: allow")
        + "  - {id: back, from: [db], to: [web], services: [tcp/9000]}\n"
    )
    answer = held(log, new)
    assert summary(answer) == [("passes", "db", "web", "tcp/9000", 1), ("passes", "web", "db", "tcp/22", 1)]
    assert [(one.rule, one.new_rule) for change in answer.changes for one in change.between] == [
        (None, "back"),
        ("no-ssh", "no-ssh"),
    ]
    assert answer.denied == 1


def test_whom_the_new_policy_has_no_place_for_is_nowhere(log: WrittenLog) -> None:
    log.flow(LAPTOP, WEB1, "staff-web")
    answer = held(log, POLICY.replace("groups: [staff]", "groups: [people]"))
    assert summary(answer) == [("ends", None, "web", "tcp/443", 1)]
    assert "user:alice is in no segment" in answer.changes[0].between[0].why


def test_conditions_hold_as_they_did_at_the_time_of_the_flow(log: WrittenLog) -> None:
    """Alice's second factor is ten minutes old with her second flow; bob never had one."""
    log.flow(LAPTOP, WEB1, "staff-web")
    log.now += 600
    log.flow(LAPTOP, WEB1, "staff-web")
    log.flow(DESK, WEB1, "staff-web")
    answer = held(log, POLICY.replace("mfa: true", "mfa: {within: 10m}"))
    assert [(one.source, one.flows) for one in answer.changes[0].between] == [("user:alice", 1), ("user:bob", 1)]
    assert answer.allowed == 1


BERLIN = "Mon-Fri 07:00-19:00 Europe/Berlin"


def test_hours_are_those_of_the_time_of_the_flow_across_the_clocks_change(log: WrittenLog) -> None:
    """At 05:30 UTC it is 07:30 in Berlin in summer and 06:30 in winter; 2023-10-27 is a Friday."""
    summer = datetime.fromisoformat("2023-10-27T05:30:00+00:00")
    for moment in (summer, summer + timedelta(days=3), summer + timedelta(days=1)):
        log.now = moment.timestamp()
        log.flow(LAPTOP, WEB1, "staff-web")
    answer = held(log, POLICY.replace("when: {mfa: true}", f'when: {{hours: "{BERLIN}"}}'))
    assert summary(answer) == [("ends", "staff", "web", "tcp/443", 2)]
    assert answer.allowed == 1


def test_a_flow_that_time_would_have_closed_is_cut(log: WrittenLog) -> None:
    flow = log.flow(LAPTOP, WEB1, "staff-web")
    log.now += 3600
    log.end(flow, "staff-web", 3601.0, packets=1000)
    short = log.flow(LAPTOP, WEB1, "staff-web")
    log.end(short, "staff-web", 0.5)
    # The log begins on a Tuesday at 23:13 in Berlin.
    answer = held(log, POLICY.replace("when: {mfa: true}", 'when: {hours: "Mon-Sun 07:00-23:30 Europe/Berlin"}'))
    assert summary(answer) == [("ends", "staff", "web", "tcp/443", 1), ("cut", "staff", "web", "tcp/443", 1)]
    assert answer.changes[1].packets == 1000
    assert answer.allowed == 0


def test_only_the_time_asked_for_counts(log: WrittenLog) -> None:
    for _ in range(4):
        log.flow(LAPTOP, WEB1, "staff-web")
    nothing = "\n".join(line for line in POLICY.splitlines() if "staff-web" not in line)
    assert held(log, nothing, since=log.now - 1, until=log.now).changes[0].flows == 1


def test_what_nobody_decided_counts_as_allowed() -> None:
    seen = Seen(ALICE, WEB, 6, 80, "user:alice", "workload:web1", 3, 30, 3000, NOW, NOW)
    answer = whatif(parse_policy(POLICY, "policy.yaml"), [seen])
    assert (answer.flows("ends"), answer.changes[0].between[0].rule) == (3, None)


def test_the_view_is_json_with_times_as_text(log: WrittenLog) -> None:
    log.flow(LAPTOP, DB1, "old")
    view: Any = held(log, POLICY).view()
    assert view["changed"] is True
    assert view["changes"][0]["between"][0] == {
        "from": "user:alice",
        "to": "workload:db1",
        "rule": "old",
        "new_rule": None,
        "why": "no rule allows tcp/443 from staff to db",
        "flows": 1,
        "packets": 0,
        "bytes": 0,
        "first": "2023-11-14T22:13:25Z",
        "last": "2023-11-14T22:13:25Z",
    }


@given(policies(), st.lists(st.tuples(parties(), parties(), flows, st.booleans()), max_size=8))
def test_each_flow_changes_exactly_where_the_decision_is_another_one(
    policy: Policy, seen: list[tuple[Principal | External, Principal | External, tuple[int, int], bool]]
) -> None:
    recorded = [
        Seen(subject, target, *flow, "a", "b", first=NOW, last=NOW, allowed=allowed)
        for subject, target, flow, allowed in seen
    ]
    answer = whatif(policy, recorded)
    other = [
        allowed
        for subject, target, flow, allowed in seen
        if decide(policy, subject, target, *flow, NOW).allowed is not allowed
    ]
    assert (answer.flows("ends"), answer.flows("passes")) == (other.count(True), other.count(False))
    assert answer.allowed + answer.denied + len(other) == len(seen)
    assert answer.changed is bool(other)
