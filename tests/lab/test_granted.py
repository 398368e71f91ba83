"""A policy with grants wherever there may be some: the same policy but for that. No network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.granted import enforced_by, with_grants
from labsite import TOPOLOGIES
from zethane.app.topology import load_topology
from zethane.policy.load import parse_policy

POLICY = """
version: 1
segments: {a: {labels: {s: a}}, b: {labels: {s: b}}}
rules:
  - {id: one, from: [a], to: [b], services: [tcp/22], when: {hours: "Mon-Fri 08:30-19:00 UTC"}}
  - id: two
    from: [b]
    to: [a]
    services: [icmp]
  - {id: three, from: [a], to: [a], services: [any], action: deny}
  - {id: four, from: [a], to: [a], services: [tcp], when: {cel: "subject.name == object.name"}}
"""


def test_rules_that_may_be_grants_are_and_no_others() -> None:
    text = with_grants(POLICY)
    assert [rule.id for rule in parse_policy(text, "policy.yaml").rules if rule.enforce == "switch"] == ["one", "two"]
    assert with_grants(text) == text


@pytest.mark.parametrize(
    "folder", sorted(file.parent for file in TOPOLOGIES.glob("*/policy.yaml")), ids=lambda p: p.name
)
def test_nothing_else_of_a_shipped_policy_is_other(folder: Path) -> None:
    topology = load_topology(folder)
    with enforced_by(topology, "switch") as granted:
        assert granted.folder.name == folder.name
        assert any(rule.is_grant for rule in granted.policy.rules)
        rules = tuple(replace(rule, enforce="flow") for rule in granted.policy.rules)
        assert rules == topology.policy.rules
        assert not granted.check().errors
    assert not granted.folder.exists()
