"""Stages: what is enforced and what is only decided, and what is said of it."""

from __future__ import annotations

import pytest
from hypothesis import given

from strategies.policy import externals, flows, members, policies
from zethane.errors import InputError
from zethane.policy.check import check
from zethane.policy.decide import decide, decide_service
from zethane.policy.explain import explain
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.principal import External, Principal
from zethane.policy.service import Service
from zethane.policy.stage import OPEN, OPEN_IN, OPEN_OUT, compose, open_policy

WEB = Principal("workload", "web1", labels=(("tier", "web"),))
DB = Principal("workload", "db1", labels=(("tier", "db"),))

POLICY = """
version: 1
segments: {web: {labels: {tier: web}}, db: {labels: {tier: db}}}
rules:
  - {id: web-db, from: [web], to: [db], services: [tcp/5432, tcp/22]}
  - {id: no-ssh, from: [web], to: [db], services: [tcp/22], action: deny, stage: audit}
  - {id: ping,   from: [web], to: [db], services: [icmp], stage: audit}
"""
WHOLE = "stage: audit\n" + POLICY.replace(", stage: audit", "")


def policy(text: str = POLICY) -> Policy:
    return parse_policy(text, "policy.yaml")


def test_a_staged_rule_decides_nothing_and_would() -> None:
    staging = compose(policy(), None)
    assert staging.staged is not None
    enforced, staged = (
        [decide(one, WEB, DB, *flow).allowed for flow in ((6, 5432), (6, 22), (1, 0))]
        for one in (staging.enforced, staging.staged)
    )
    assert (enforced, staged) == ([True, True, False], [True, False, True])
    assert (staging.whole, staging.open, staging.rules) == (False, False, 2)
    assert staging.view() == {"stage": "enforce", "staged_version": None, "staged_rules": 2}


def test_a_policy_without_stages_is_enforced_and_nothing_else_is_asked() -> None:
    staging = compose(policy(POLICY.replace(", stage: audit", "")), policy())
    assert staging.staged is None
    assert (staging.rules, staging.detail, staging.open, staging.whole) == (0, "", False, False)


def test_under_a_staged_policy_the_one_of_before_decides_without_its_own_staged_rules() -> None:
    before, new = policy(), policy(WHOLE)
    staging = compose(new, before)
    assert staging.enforced is before
    assert staging.staged is not None
    assert staging.staged.digest == new.digest
    assert (staging.whole, staging.open, staging.rules) == (True, False, 3)
    assert staging.view()["stage"] == "audit"
    assert before.digest in staging.detail


def test_with_no_policy_before_every_session_may_open_everything() -> None:
    staging = compose(policy(WHOLE), None)
    assert (staging.whole, staging.open) == (True, True)
    assert staging.view()["stage"] == "open"
    assert decide(staging.enforced, DB, WEB, 47, 0).rule == OPEN
    assert not decide(staging.enforced, None, WEB, 6, 443).allowed
    assert not decide(staging.enforced, Principal("user", "nobody"), WEB, 6, 443).allowed


@given(policies(), members(), members(), externals, flows)
def test_an_open_policy_lets_all_sessions_through_and_nobody_between_two_addresses_outside(
    any_policy: Policy, subject: Principal, target: Principal, outside: External, flow: tuple[int, int]
) -> None:
    opened = open_policy(any_policy)
    assert decide(opened, subject, target, *flow).rule == OPEN
    assert decide(opened, subject, outside, *flow).rule == OPEN_OUT
    assert decide(opened, outside, target, *flow).rule == OPEN_IN
    assert not decide(opened, outside, outside, *flow).allowed


def test_no_rule_of_a_file_has_the_id_of_an_open_one() -> None:
    with pytest.raises(InputError, match=r"rules\[0\]\.id"):
        policy(POLICY.replace("web-db", OPEN))


def test_it_is_explained_what_staged_rules_would_do() -> None:
    explained = explain(policy(), WEB, DB, Service.parse("tcp/22"))
    assert explained.decision.rule == "web-db"
    assert explained.view()["staged"] == {
        "decision": "deny",
        "rule": "no-ssh",
        "reason": "rule no-ssh denies tcp/22 from web to db",
    }
    because = {one.rule: one.because for one in explained.considered}
    assert because["no-ssh"] == "staged, and decides nothing; it would deny this"
    assert because["ping"] == "staged, and decides nothing; for icmp"
    assert explain(policy(POLICY.replace(", stage: audit", "")), WEB, DB, Service.parse("icmp")).staged is None


def test_what_is_staged_is_remarked_on_and_covers_nothing() -> None:
    text = POLICY + "  - {id: all, from: [web], to: [db], services: [any], stage: audit}\n"
    report = check(policy(text), [], {})
    codes = [(one.code, one.problem.key) for one in report.findings if one.code in ("staged-rule", "covered-rule")]
    assert ("covered-rule", "rule web-db") not in codes
    assert [key for code, key in codes if code == "staged-rule"] == ["rule no-ssh", "rule ping", "rule all"]
    assert [one.code for one in check(policy(WHOLE), [], {}).findings if "staged" in one.code] == ["staged-policy"]


def test_a_policy_that_is_too_large_once_nothing_is_staged_is_an_error_before() -> None:
    asked = "".join(
        f"  - {{id: r{n}, from: [web], to: [db], services: [tcp/{n}], when: {{mfa: {{within: {n}m}}}}, stage: audit}}\n"
        for n in range(1, 9)
    )
    with pytest.raises(InputError, match="more than 6 different conditions"):
        policy(POLICY + asked)


def test_a_service_of_several_ports_is_asked_as_a_whole() -> None:
    staging = compose(policy(), None)
    assert staging.staged is not None
    assert not decide_service(staging.staged, WEB, DB, Service.parse("tcp/22-5432")).allowed
