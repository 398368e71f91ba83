"""What is decided once for many flows is what the policy engine decides of each."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.policy import NOW, flows, parties, policies
from unit.replay.site import policy
from zethane.policy.decide import decide
from zethane.policy.model import Policy
from zethane.policy.principal import Party, Principal
from zethane.replay.verdict import Judge
from zethane.replay.who import Who

_moments = st.sampled_from((NOW, NOW + 1, NOW + 7200, NOW + 43200, NOW - 43200))


def who(number: int, party: Party) -> Who:
    return Who(number, party, "somebody", "somewhere", "the test")


def fresh(party: Party, moment: float) -> Party:
    return replace(party, mfa_at=moment) if isinstance(party, Principal) and party.mfa_at is not None else party


@settings(max_examples=200, deadline=None)
@given(
    policies(),
    st.lists(st.none() | parties(), min_size=2, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), flows, _moments), max_size=30),
)
def test_every_verdict_is_the_policy_engines(
    wanted: Policy, ends: list[Party], asked: list[tuple[int, int, tuple[int, int], float]]
) -> None:
    judge = Judge(wanted)
    known = [who(number, party) for number, party in enumerate(ends)]
    for one, other, (proto, port), moment in asked:
        subject, target = known[one % len(known)], known[other % len(known)]
        verdict = judge.verdict(subject, target, proto, port, moment)
        decision = decide(wanted, fresh(subject.party, moment), fresh(target.party, moment), proto, port, moment)
        assert (verdict.outcome == "allow") is decision.allowed
        assert verdict.rule == decision.rule or verdict.reason == "condition-not-met"
        assert bool(verdict.reason) is not decision.allowed


EXPRESSIONS = """
version: 1
segments:
  web: {labels: {tier: web}}
  staff: {groups: [staff]}
rules:
  - {id: even, from: [staff], to: [web], services: [tcp/443], when: {cel: "time.now.getMinutes() % 2 == 0"}}
"""


def test_an_expression_over_time_is_asked_again_when_its_answer_may_be_another() -> None:
    judge = Judge(policy(EXPRESSIONS))
    alice = who(1, Principal("user", "alice", frozenset(("staff",))))
    web = who(2, Principal("workload", "web1", labels=(("tier", "web"),)))
    start = 1_700_000_000.0 - 1_700_000_000.0 % 3600
    outcomes = [judge.verdict(alice, web, 6, 443, start + 30 * half).outcome for half in range(8)]
    assert outcomes == ["allow", "allow", "deny", "deny"] * 2
    first = judge.verdict(alice, web, 6, 443, start)
    assert first.until == start + 60
    fixed = Judge(policy(EXPRESSIONS), now=start)
    late = fixed.verdict(alice, web, 6, 443, start + 60)
    assert (late.outcome, late.until) == ("allow", math.inf)
