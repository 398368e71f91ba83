"""What holds for every policy."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.policy import NOW, externals, flows, members, parties, policies, policy_files, read, rules
from zethane.policy.compile import CompiledPolicy, compile_policy, simulate
from zethane.policy.decide import decide, decide_service
from zethane.policy.entry import Class, Entry, NetworkClass
from zethane.policy.matrix import services_of
from zethane.policy.model import Policy, Service
from zethane.policy.principal import External, Principal

Flow = tuple[int, int]


def class_name(policy: Policy, principal: Principal) -> str:
    (name,) = policy.segments_of(principal)
    return name


def class_of(policy: Policy, compiled: CompiledPolicy, party: Principal | External) -> Class | None:
    """The class of anybody; None for an address in no named network."""
    if isinstance(party, External):
        network = policy.network_of(party.address)
        return NetworkClass(network) if network else None
    return compiled.class_of(class_name(policy, party), party, NOW)


@given(policies(expressions=True), parties(), parties(), flows)
def test_the_compiled_policy_decides_as_the_engine_does(
    policy: Policy, subject: Principal | External, target: Principal | External, flow: Flow
) -> None:
    """Verdict, rule and reason are the same."""
    compiled = compile_policy(policy).as_of(NOW)
    source, destination = class_of(policy, compiled, subject), class_of(policy, compiled, target)
    decision = decide(policy, subject, target, *flow, NOW)
    if source is None or destination is None:
        assert not decision.allowed
        assert decision.rule is None
    else:

        def holds(entry: Entry) -> bool:
            rule = policy.rule(entry.rule)
            assert rule is not None
            answer = rule.relation(subject, target, NOW)
            return answer is None or answer.holds(or_error=not entry.allow)

        assert simulate(compiled, source, destination, *flow, holds) == decision


@given(policies(expressions=True), parties(), parties(), flows)
def test_without_an_answer_less_is_allowed(
    policy: Policy, subject: Principal | External, target: Principal | External, flow: Flow
) -> None:
    """Who does not know whether a relation holds lets through nothing that the engine does not."""
    compiled = compile_policy(policy)
    source, destination = class_of(policy, compiled, subject), class_of(policy, compiled, target)
    if source is not None and destination is not None and simulate(compiled, source, destination, *flow).allowed:
        assert decide(policy, subject, target, *flow, NOW).allowed


@given(policies(), parties(), parties(), flows)
def test_an_allow_is_sure_until_the_moment_that_is_named(
    policy: Policy, subject: Principal | External, target: Principal | External, flow: Flow
) -> None:
    """It holds at every moment at which hours open or close before, and no longer."""
    compiled = compile_policy(policy).as_of(NOW)
    source, destination = class_of(policy, compiled, subject), class_of(policy, compiled, target)
    if source is None or destination is None or not simulate(compiled, source, destination, *flow).allowed:
        return
    rule = simulate(compiled, source, destination, *flow).rule
    assert rule is not None
    until = compiled.sure_until(source, destination, *flow, rule, NOW)
    assert until > NOW
    moments = [moment for moment in compiled.boundaries(compiled.hours) if moment > NOW]
    for moment in moments:
        at_moment = compiled.as_of(moment)
        if moment < until:
            assert simulate(at_moment, source, destination, *flow).allowed
    if until in moments[:-1] and until < NOW + 12 * 86400:
        assert not simulate(compiled.as_of(until), source, destination, *flow).allowed


@settings(deadline=None)  # there may be a thousand pairs
@given(policies(), parties(), parties())
def test_who_may_reach_whom_at_some_time_is_a_peer_at_any(
    policy: Policy, subject: Principal | External, target: Principal | External
) -> None:
    """Bindings are not moved by hours."""
    compiled = compile_policy(policy)
    source, destination = class_of(policy, compiled, subject), class_of(policy, compiled, target)
    if source is None or destination is None:
        return
    peers = compiled.peers()[source]
    assert compiled.as_of(NOW).peers()[source] == peers
    for moment in (NOW, NOW + 6 * 3600, NOW + 86400):
        if compiled.as_of(moment).may_reach(source, destination):
            assert destination in peers


@given(policies(expressions=True), parties(), parties(), flows)
def test_what_may_be_reached_covers_all_that_is_allowed(
    policy: Policy, subject: Principal | External, target: Principal | External, flow: Flow
) -> None:
    """An allowed flow means that the classes may reach each other."""
    compiled = compile_policy(policy).as_of(NOW)
    source, destination = class_of(policy, compiled, subject), class_of(policy, compiled, target)
    if decide(policy, subject, target, *flow, NOW).allowed:
        assert source is not None
        assert destination is not None
        assert compiled.may_reach(source, destination)


@given(policies(), externals, externals, flows)
def test_two_ends_outside_are_never_let_through(
    policy: Policy, subject: External, target: External, flow: Flow
) -> None:
    """Whatever the rules say: none of them is about such a flow."""
    assert not decide(policy, subject, target, *flow, NOW).allowed


@given(policies(expressions=True), members(), externals, flows)
def test_an_address_is_in_every_network_that_contains_it(
    policy: Policy, member: Principal, outside: External, flow: Flow
) -> None:
    """How long a prefix is plays no role: rules for all of them add up, and a deny for any of them wins."""
    for subject, target in ((member, outside), (outside, member)):
        about = [
            rule
            for rule in policy.rules
            if rule.serves(*flow)
            and rule.holds_for(subject, target, NOW)
            and _is_about(policy, rule.sources, rule.source_networks, subject)
            and _is_about(policy, rule.targets, rule.target_networks, target)
        ]
        allowed = any(rule.allow for rule in about) and all(rule.allow for rule in about)
        assert decide(policy, subject, target, *flow, NOW).allowed == allowed


def _is_about(policy: Policy, names: Any, networks: Any, party: Principal | External) -> bool:
    if isinstance(party, External):
        return any(party.address in network for network in networks if network.version == party.address.version)
    return "any" in names or class_name(policy, party) in names


@given(policies(), members(), members())
def test_reachable_classes_have_some_allowed_flow(policy: Policy, subject: Principal, target: Principal) -> None:
    """may_reach is exact: no more than what some probe of some rule's service is allowed."""
    compiled = compile_policy(policy).as_of(NOW)
    source = compiled.class_of(class_name(policy, subject), subject, NOW)
    destination = compiled.class_of(class_name(policy, target), target, NOW)
    if compiled.may_reach(source, destination):
        numbers = (6, 17, 132, 1, 253)
        edges = {0, *(service.low for service in services_of(policy))}
        edges |= {min(service.high + 1, 65535) for service in services_of(policy)}
        assert any(decide(policy, subject, target, number, port, NOW).allowed for number in numbers for port in edges)


@given(policy_files(), st.randoms(use_true_random=False), parties(), parties(), flows)
def test_the_order_of_rules_never_matters(
    file: dict[str, Any], random: Any, subject: Principal | External, target: Principal | External, flow: Flow
) -> None:
    """Shuffled rules give the same decision, by the same rule."""
    shuffled = random.sample(file["rules"], len(file["rules"]))
    before = decide(read(file), subject, target, *flow, NOW)
    assert decide(read({**file, "rules": shuffled}), subject, target, *flow, NOW) == before


@given(policy_files(expressions=True), rules(action="deny"), parties(), parties(), flows)
def test_a_deny_never_allows_more(
    file: dict[str, Any],
    deny: dict[str, Any],
    subject: Principal | External,
    target: Principal | External,
    flow: Flow,
) -> None:
    """What is allowed with one deny more was allowed without it."""
    more = {**file, "rules": [*file["rules"], {"id": "extra", **deny}]}
    if decide(read(more), subject, target, *flow, NOW).allowed:
        assert decide(read(file), subject, target, *flow, NOW).allowed


@given(policies(), members(), members(), st.sampled_from(("tcp", "udp", "sctp")), st.integers(0, 65535))
def test_a_whole_service_is_allowed_only_if_each_port_is(
    policy: Policy, subject: Principal, target: Principal, proto: Any, port: int
) -> None:
    """No port inside an allowed range is denied."""
    if decide_service(policy, subject, target, Service(proto), NOW).allowed:
        number = {"tcp": 6, "udp": 17, "sctp": 132}[proto]
        assert decide(policy, subject, target, number, port, NOW).allowed


@given(policies(), members(), flows)
def test_nobody_unauthenticated_takes_part(policy: Policy, member: Principal, flow: Flow) -> None:
    """Neither side may be without a session, whatever the rules say."""
    assert not decide(policy, None, member, *flow, NOW).allowed
    assert not decide(policy, member, None, *flow, NOW).allowed
    assert decide(policy, None, None, *flow, NOW).rule is None
