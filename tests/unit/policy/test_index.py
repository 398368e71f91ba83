"""What the index finds is what going through the whole policy would."""

from __future__ import annotations

from dataclasses import fields, replace
from ipaddress import ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from strategies.policy import SEGMENTS, externals, policies, read
from zethane.net.prefix import longest
from zethane.policy.condition import Condition
from zethane.policy.hours import Hours, parse_window
from zethane.policy.model import Policy, Rule
from zethane.policy.principal import External, Principal
from zethane.policy.service import Service

KEYS = ("role", "site")
VALUES = ("a", "b")
GROUPS = ("g", "h")

_labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
_groups = st.lists(st.sampled_from(GROUPS), max_size=2, unique=True)


@given(st.lists(st.tuples(_labels, _groups).filter(any), min_size=1, max_size=6), _labels, _groups)
def test_the_segments_of_a_principal(selectors: list[Any], labels: dict[str, str], groups: list[str]) -> None:
    asked = [{"labels": one} | ({"groups": of} if of else {}) if one else {"groups": of} for one, of in selectors]
    policy = read({"version": 1, "segments": {f"s{index}": one for index, one in enumerate(asked)}})
    principal = Principal("user", "u", frozenset(groups), tuple(sorted(labels.items())))
    assert policy.segments_of(principal) == tuple(
        sorted(name for name, segment in policy.segments.items() if segment.holds(principal))
    )


@given(policies(), st.sampled_from(SEGMENTS), externals)
def test_the_rules_from_a_place(policy: Policy, segment: str, outside: External) -> None:
    network = policy.network_of(outside.address)
    assert network == longest(outside.address, policy.networks)
    for place in (segment, network):
        if place is not None:
            about = {rule.id for rule in policy.rules if rule.opens_from(place)}
            assert about <= {rule.id for rule in policy.rules_from(place)}
    assert all(policy.rule(rule.id) is rule for rule in policy.rules)


def test_a_rule_that_differs_in_anything_but_its_line_is_another() -> None:
    """Whatever a rule may say: a part that is left out here would be a change that is not put in force."""
    rule = {"id": "one", "from": ["web"], "to": ["db"], "services": ["tcp/1"]}
    file = {"version": 1, "segments": {name: {"labels": {"segment": name}} for name in SEGMENTS}, "rules": [rule]}
    policy = read(file)
    for field in fields(Rule):
        other = replace(policy, rules=(replace(policy.rules[0], **{field.name: _OTHER[field.name]}),))
        expected = {"id": ["one", "other"], "line": [], "column": []}.get(field.name, ["one"])
        assert policy.differing(other) == expected, field.name


_OTHER: dict[str, Any] = {
    "id": "other",
    "sources": ("db",),
    "targets": ("web",),
    "services": (Service("udp"),),
    "action": "deny",
    "condition": Condition(mfa=True),
    "line": 77,
    "column": 77,
    "source_networks": (ip_network("192.0.2.0/24"),),
    "target_networks": (ip_network("192.0.2.0/24"),),
    "object_condition": Condition(labels=(("a", "b"),)),
    "hours": Hours((parse_window("Mon 01:00-02:00 UTC"),)),
    "expression": "subject.name == object.name",
    "stage": "audit",
    "enforce": "switch",
}
