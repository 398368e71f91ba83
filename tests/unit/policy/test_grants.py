"""`enforce: switch` in a policy: what may be a grant, and who says so."""

from __future__ import annotations

import pytest

from zethane.errors import InputError
from zethane.policy.check import check
from zethane.policy.compile import compile_policy
from zethane.policy.decide import decide
from zethane.policy.diff import diff
from zethane.policy.explain import explain
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.principal import Principal
from zethane.policy.service import Service

ALICE = Principal("user", "alice", frozenset({"staff"}), mfa=True)
WEB = Principal("workload", "web1", labels=(("tier", "web"),))


POPULATION = [(ALICE, "identities.yaml"), (WEB, "identities.yaml")]


def policy(rule: str) -> Policy:
    text = (
        "version: 1\nsegments:\n  web: {labels: {tier: web}}\n  staff: {groups: [staff]}\n"
        f"rules:\n  - {{id: one, from: [staff], to: [web], services: [tcp/443], {rule}}}\n"
    )
    return parse_policy(text, "policy.yaml")


@pytest.mark.parametrize(
    "rule",
    [
        "enforce: switch",
        "enforce: switch, when: {mfa: true}",
        "enforce: switch, when: {mfa: {within: 15m}, object: {labels: {tier: web}}}",
        'enforce: switch, when: {hours: "Mon-Fri 07:00-19:00 UTC"}',
        "enforce: switch, when: {cel: \"'staff' in subject.groups\"}",
    ],
)
def test_what_classes_and_hours_can_tell_may_be_a_grant(rule: str) -> None:
    granted = policy(rule)
    assert granted.rules[0].is_grant
    assert all(entry.grant for entry in compile_policy(granted).entries)


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("enforce: switch, action: deny", "expected flow: a deny rule"),
        ("enforce: switch, when: {cel: 'subject.name == object.name'}", "about both ends, an address or the time"),
        ("enforce: switch, when: {cel: 'time.hour < 8'}", "about both ends, an address or the time"),
        ("enforce: controller", "expected"),
    ],
)
def test_what_a_switch_cannot_tell_is_an_error_with_its_place(rule: str, what: str) -> None:
    with pytest.raises(InputError) as caught:
        policy(rule)
    (problem,) = caught.value.problems
    assert what in str(problem)
    assert str(problem).startswith("policy.yaml:6:")
    assert "enforce" in str(problem)


def test_a_grant_decides_as_any_rule_does_and_explain_says_who_lets_it_in() -> None:
    plain, granted = policy("action: allow"), policy("enforce: switch")
    assert decide(plain, ALICE, WEB, 6, 443) == decide(granted, ALICE, WEB, 6, 443)
    for one, who in ((plain, "flow"), (granted, "switch")):
        explained = explain(one, ALICE, WEB, Service.parse("tcp/443"))
        assert (explained.enforced, explained.view()["enforced"]) == (who, who)
    assert explain(granted, WEB, ALICE, Service.parse("tcp/443")).enforced is None


def test_a_difference_of_enforcement_alone_is_told_and_nobody_gains_or_loses() -> None:
    plain, granted = policy("action: allow"), policy("enforce: switch")
    for old, new, who in ((plain, granted, "the switch lets"), (granted, plain, "each of its flows")):
        found = diff(old, new, 0.0)
        assert found.gained == found.lost == ()
        assert [note for note in found.notes if who in note]


def test_what_no_switch_can_track_is_remarked() -> None:
    codes = [one.code for one in check(policy("enforce: switch"), POPULATION, {}).findings]
    assert "verified-grant" not in codes
    text = policy("enforce: switch").text.replace("tcp/443", "sctp/5000, any")
    findings = check(parse_policy(text, "policy.yaml"), POPULATION, {}).findings
    (remark,) = [str(one) for one in findings if one.code == "verified-grant"]
    assert "sctp/5000, any" in remark


def test_another_policy_with_the_same_rule_as_a_grant_is_another_one() -> None:
    assert policy("action: allow").differing(policy("enforce: switch")) == ["one"]
