"""What holds for every policy."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from strategies.policy import flows, members, policies, policy_files, read, rules
from zethane.policy.compile import compile_policy, simulate
from zethane.policy.decide import decide, decide_service
from zethane.policy.matrix import services_of
from zethane.policy.model import Policy, Service
from zethane.policy.principal import Principal

Flow = tuple[int, int]


def class_name(policy: Policy, principal: Principal) -> str:
    (name,) = policy.segments_of(principal)
    return name


@given(policies(), members(), members(), flows)
def test_the_compiled_policy_decides_as_the_engine_does(
    policy: Policy, subject: Principal, target: Principal, flow: Flow
) -> None:
    """Verdict, rule and reason are the same."""
    compiled = compile_policy(policy)
    source = compiled.class_of(class_name(policy, subject), subject.mfa)
    destination = compiled.class_of(class_name(policy, target), target.mfa)
    assert simulate(compiled, source, destination, *flow) == decide(policy, subject, target, *flow)


@given(policies(), members(), members(), flows)
def test_what_may_be_reached_covers_all_that_is_allowed(
    policy: Policy, subject: Principal, target: Principal, flow: Flow
) -> None:
    """An allowed flow means that the classes may reach each other."""
    compiled = compile_policy(policy)
    source = compiled.class_of(class_name(policy, subject), subject.mfa)
    destination = compiled.class_of(class_name(policy, target), target.mfa)
    if decide(policy, subject, target, *flow).allowed:
        assert compiled.may_reach(source, destination)


@given(policies(), members(), members())
def test_reachable_classes_have_some_allowed_flow(policy: Policy, subject: Principal, target: Principal) -> None:
    """may_reach is exact: no more than what some probe of some rule's service is allowed."""
    compiled = compile_policy(policy)
    source = compiled.class_of(class_name(policy, subject), subject.mfa)
    destination = compiled.class_of(class_name(policy, target), target.mfa)
    if compiled.may_reach(source, destination):
        numbers = (6, 17, 132, 1, 253)
        edges = {0, *(service.low for service in services_of(policy))}
        edges |= {min(service.high + 1, 65535) for service in services_of(policy)}
        assert any(decide(policy, subject, target, number, port).allowed for number in numbers for port in edges)


@given(policy_files(), st.randoms(use_true_random=False), members(), members(), flows)
def test_the_order_of_rules_never_matters(
    file: dict[str, Any], random: Any, subject: Principal, target: Principal, flow: Flow
) -> None:
    """Shuffled rules give the same decision, by the same rule."""
    shuffled = random.sample(file["rules"], len(file["rules"]))
    before = decide(read(file), subject, target, *flow)
    assert decide(read({**file, "rules": shuffled}), subject, target, *flow) == before


@given(policy_files(), rules(action="deny"), members(), members(), flows)
def test_a_deny_never_allows_more(
    file: dict[str, Any], deny: dict[str, Any], subject: Principal, target: Principal, flow: Flow
) -> None:
    """What is allowed with one deny more was allowed without it."""
    more = {**file, "rules": [*file["rules"], {"id": "extra", **deny}]}
    if decide(read(more), subject, target, *flow).allowed:
        assert decide(read(file), subject, target, *flow).allowed


@given(policies(), members(), members(), st.sampled_from(("tcp", "udp", "sctp")), st.integers(0, 65535))
def test_a_whole_service_is_allowed_only_if_each_port_is(
    policy: Policy, subject: Principal, target: Principal, proto: Any, port: int
) -> None:
    """No port inside an allowed range is denied."""
    if decide_service(policy, subject, target, Service(proto)).allowed:
        number = {"tcp": 6, "udp": 17, "sctp": 132}[proto]
        assert decide(policy, subject, target, number, port).allowed


@given(policies(), members(), flows)
def test_nobody_unauthenticated_takes_part(policy: Policy, member: Principal, flow: Flow) -> None:
    """Neither side may be without a session, whatever the rules say."""
    assert not decide(policy, None, member, *flow).allowed
    assert not decide(policy, member, None, *flow).allowed
    assert decide(policy, None, None, *flow).rule is None
