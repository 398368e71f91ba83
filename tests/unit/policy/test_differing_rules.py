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
    changed: Any = {name: object() if name not in ("id", "stage") else "two"}
    if name in ("source_networks", "target_networks", "sources"):
        changed = {name: ()} if name == "sources" else {name: (parse_policy(NETWORKS, "policy.yaml").networks)}
    if name in ("condition", "object_condition"):
        changed = {name: parse_policy(CONDITION, "policy.yaml").rules[0].condition}
    after = replace(before, rules=(replace(before.rules[0], **changed),))
    expected = {"line": [], "column": [], "id": ["one", "two"]}.get(name, ["one"])
    assert before.differing(after) == expected


NETWORKS = POLICY.replace("[b], services", "{networks: [192.0.2.0/24]}, services")
CONDITION = POLICY.replace("[tcp/22]", "[tcp/22], when: {mfa: true}")
