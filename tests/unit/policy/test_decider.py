"""Decisions of many flows are those that `decide` makes of each."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from strategies.policy import AGES, NOW, flows, parties, policy_files, read
from zethane.policy.decide import decide
from zethane.policy.decider import Decider
from zethane.policy.model import Policy
from zethane.policy.principal import External, Principal

HOURS = ("Mon-Fri 07:00-19:00 Europe/Berlin", "Mon-Sun 22:00-06:00 UTC", "Sat 00:00-24:00 America/New_York")

moments = st.builds(
    lambda age, more, hours: NOW + hours * 3600 + age + more,
    st.sampled_from((0, *AGES)),
    st.sampled_from((-1.0, 0.0, 1.0)),
    st.integers(-30, 30),
)


@st.composite
def timed(draw: st.DrawFn) -> Policy:
    """A policy of which some rules have hours, and some are staged."""
    file: dict[str, Any] = draw(policy_files(expressions=True))
    for rule in file["rules"]:
        if draw(st.integers(0, 2)) == 0:
            rule["when"] = {**rule["when"], "hours": draw(st.sampled_from(HOURS))}
        rule["stage"] = draw(st.sampled_from(("enforce", "enforce", "audit")))
    return read(file)


@given(
    timed(),
    st.lists(parties(), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), flows, moments), min_size=1, max_size=12),
)
def test_each_is_decided_as_it_is_alone(
    policy: Policy, ends: list[Principal | External], asked: list[tuple[int, int, tuple[int, int], float]]
) -> None:
    decider = Decider(policy)
    for first, second, flow, now in asked:
        subject, target = ends[first % len(ends)], ends[second % len(ends)]
        decision, until = decider.decide_until(subject, target, *flow, now)
        assert decision == decide(policy, subject, target, *flow, now)
        assert until > now
        if until < math.inf:
            for moment in (math.nextafter(until, 0), (now + until) / 2):
                assert decide(policy, subject, target, *flow, moment) == decision


@given(timed(), parties(), flows)
def test_who_is_not_authenticated_is_denied(policy: Policy, party: Principal | External, flow: tuple[int, int]) -> None:
    decider = Decider(policy)
    for subject, target in ((None, party), (party, None), (None, None)):
        assert decider.decide(subject, target, *flow, NOW) == decide(policy, subject, target, *flow, NOW)


@given(timed(), parties(), parties(), flows)
def test_somebody_else_at_the_same_place_in_memory_is_somebody_else(
    policy: Policy, one: Principal | External, other: Principal | External, flow: tuple[int, int]
) -> None:
    """Objects that are not kept may get each other's id; nothing is remembered of them that outlives them."""
    decider = Decider(policy)
    for party in (one, other) * 3:
        again = replace(party)
        assert decider.decide(again, again, *flow, NOW) == decide(policy, again, again, *flow, NOW)
