"""What holds for every test of a policy that is about segments or networks."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from strategies.policy import NETWORKS, NOW, conditions, services
from strategies.rewriting import File, full_files, loaded, questions
from zethane.policy.check import run_tests
from zethane.policy.decide import decide
from zethane.policy.model import Policy, Test
from zethane.policy.moment import moment_text
from zethane.policy.principal import External, Party, Principal

Question = tuple[Party, Party, int, int]


@st.composite
def asking(draw: st.DrawFn) -> File:
    """A policy with one test."""
    file = draw(full_files())
    ends = [*file["segments"], "any", "any", *NETWORKS]
    source, target = draw(st.sampled_from(ends)), draw(st.sampled_from(ends))
    word = draw(st.sampled_from(("allow", "deny", "never")))
    test: dict[str, Any] = {word: f"{source} -> {target}", "service": draw(services())}
    if source not in NETWORKS and draw(st.booleans()):
        test["when"] = draw(conditions())
    if word != "never" and draw(st.booleans()):
        test["at"] = moment_text(NOW)
    return {**file, "tests": [test]}


def nobody(name: str) -> Party:
    """There are no hosts."""
    raise KeyError(name)


def is_about(policy: Policy, test: Test, question: Question) -> bool:
    """Whether a question is one that the test is about."""
    subject, target, ip_proto, port = question
    if isinstance(subject, Principal) and test.condition and not test.condition.holds(subject, NOW):
        return False
    ends = zip((test.source, test.target), (subject, target), strict=True)
    return any(one.matches(ip_proto, port) for one in test.services) and all(
        _is(policy, name, party) for name, party in ends
    )


def _is(policy: Policy, name: str, party: Party) -> bool:
    if isinstance(party, External):
        return name in NETWORKS and _contains(name, party)
    places = policy.segments_of(party) if party else ()
    return len(places) == 1 and name in ("any", *places)


def _contains(name: str, party: External) -> bool:
    network = ipaddress.ip_network(name)
    return network.version == party.address.version and party.address in network


@given(asking(), st.lists(questions(), min_size=1, max_size=8))
def test_what_passes_holds_for_everybody(file: File, asked: list[Question]) -> None:
    policy = loaded(file)
    (outcome,) = run_tests(policy, nobody, NOW)
    if outcome.passed:
        for question in asked:
            if is_about(policy, outcome.test, question):
                assert decide(policy, *question, NOW).allowed == outcome.test.allow


@given(asking())
def test_what_fails_is_shown_by_its_example(file: File) -> None:
    policy = loaded(file)
    (outcome,) = run_tests(policy, nobody, NOW)
    assume(outcome.example is not None)
    example = outcome.example
    assert example is not None
    flow = example.subject, example.object, example.ip_proto, example.port
    decision = decide(policy, *flow, example.moment)
    assert decision.allowed != outcome.test.allow
    assert decision == outcome.decision
    if outcome.test.at is not None:
        assert example.moment == NOW
        assert is_about(policy, outcome.test, flow)
