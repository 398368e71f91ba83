"""What the index finds is what going through the whole policy would."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from strategies.policy import SEGMENTS, externals, policies, read
from zethane.net.prefix import longest
from zethane.policy.model import Policy
from zethane.policy.principal import External, Principal

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
