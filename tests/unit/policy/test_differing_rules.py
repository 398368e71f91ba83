"""What of a rule makes it another rule: everything that it says, and not where it says so."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from zethane.policy.load import parse_policy
from zethane.policy.model import Rule

POLICY = """
version: 1
segments: {a: {labels: {s: a}}, b: {labels: {s: b}}}
rules: [{id: one, from: [a], to: [b], services: [tcp/22]}]
"""


@pytest.mark.parametrize("name", sorted(field.name for field in fields(Rule)))
def test_a_rule_that_says_anything_else_is_another_rule(name: str) -> None:
    before = parse_policy(POLICY, "policy.yaml")
    other: Any = getattr(parse_policy(OTHER, "policy.yaml").rules[1], name)
    if name in ("source_networks", "target_networks"):
        other = parse_policy(NETWORKS, "policy.yaml").networks
    changed = {name: {"id": "two", "expression": "1 == 1", "enforce": "switch"}.get(name, other)}
    assert getattr(before.rules[0], name) != changed[name]
    after = replace(before, rules=(replace(before.rules[0], **changed),))
    expected = {"line": [], "column": [], "id": ["one", "two"]}.get(name, ["one"])
    assert before.differing(after) == expected


def test_the_same_rules_in_another_order_and_in_other_lines_do_not_differ() -> None:
    before, after = parse_policy(MANY, "policy.yaml"), parse_policy("# more\n" + TURNED, "policy.yaml")
    assert before.rules != after.rules
    assert before.differing(after) == []


def test_of_many_rules_those_are_named_that_differ() -> None:
    before, after = parse_policy(MANY, "policy.yaml"), parse_policy(MANY, "policy.yaml")
    rules = [rule for rule in after.rules if rule.id not in ("r7", "r30")]
    rules[20] = replace(rules[20], action="deny")
    after = replace(after, rules=(*rules, replace(rules[0], id="new")))
    assert before.differing(after) == sorted(["r7", "r30", rules[20].id, "new"])
    assert after.differing(before) == before.differing(after)


NETWORKS = POLICY.replace("[b], services", "{networks: [192.0.2.0/24]}, services")
OTHER = """
version: 1
segments: {a: {labels: {s: a}}, b: {labels: {s: b}}}
rules:
  - {id: two, from: [a], to: [b], services: [tcp/22]}
  - {id: one, from: [b], to: [a], services: [tcp/23], action: deny, stage: audit,
     when: {mfa: true, object: {labels: {x: y}}, hours: Mon-Fri 07:00-19:00 UTC}}
"""
_RULES = [f"  - {{id: r{number}, from: [a], to: [b], services: [tcp/{number + 1}]}}\n" for number in range(300)]
_HEAD = POLICY[: POLICY.index("rules:")] + "rules:\n"
MANY, TURNED = _HEAD + "".join(_RULES), _HEAD + "".join(reversed(_RULES))
