"""Rules with expressions in the running controller: who is related to whom, and what a change of either end does."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from fakes.frames import ACK, Host, packed
from fakes.site import ONE_SWITCH, TWO_SWITCHES, Site, proof_of
from zethane.pipeline.flow import Flow
from zethane.pipeline.tables import Priority, Table
from zethane.policy.expression import compiled
from zethane.policy.principal import Principal
from zethane.service.flows import LiveFlow

RELATED = "subject.labels.site == object.labels.site"
POLICY = f"""
version: 1
segments:
  web: {{labels: {{tier: web}}}}
  staff: {{groups: [staff]}}
rules:
  - {{id: own-site, from: [staff], to: [web], services: [tcp/443, icmp], when: {{cel: "{RELATED}"}}}}
  - {{id: owner, from: [staff], to: [web], services: [tcp/443], when: {{cel: "object.labels.owner == subject.name"}}}}
  - {{id: open, from: [staff], to: [web], services: [tcp/8000-8999]}}
  - id: not-theirs
    from: [staff]
    to: [web]
    services: [tcp/8443]
    action: deny
    when: {{cel: "object.labels.barred == subject.labels.site"}}
"""
WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
WEB2 = Host(3, "02:00:00:00:00:12", "10.0.0.12")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
ALICE = Principal("user", "alice", frozenset({"staff"}), (("site", "bern"),))
BERN = Principal("workload", "web1", labels=(("barred", "basel"), ("site", "bern"), ("tier", "web")))
BASEL = Principal("workload", "web2", labels=(("barred", "bern"), ("site", "basel"), ("tier", "web")))


@pytest.fixture(params=[ONE_SWITCH, TWO_SWITCHES], ids=["one", "two"])
async def site(request: pytest.FixtureRequest) -> Site:
    found = await Site(request.param, POLICY).start()
    far = "s2" if request.param == TWO_SWITCHES else "s1"
    found.login(WEB1, BERN, far)
    found.login(WEB2, BASEL, far)
    found.login(LAPTOP, ALICE)
    return found


def opened(site: Site, target: Host, port: int, sport: int = 40000) -> LiveFlow | None:
    """Send what opens a flow; the flow, if it is there then."""
    frame = LAPTOP.tcp(target, sport, port)
    site.s1.send(4, frame)
    wanted = packed(LAPTOP.ip), packed(target.ip), sport, port
    keys = site.state.flows.by_key
    return next((keys[key] for key in keys if (key.src, key.dst, key.sport, key.dport) == wanted), None)


def rules_in(site: Site) -> int:
    """The per-flow rules on the switch of whoever opens flows here."""
    return len(rules_of(site))


def rules_of(site: Site) -> list[Flow]:
    tables = site.s1.tables.values()
    return [flow for flow in tables if (flow.table, flow.priority) == (Table.FLOW, Priority.FLOW_VERIFIED)]


def rule_of(site: Site, flow: LiveFlow | None) -> str | None:
    return None if flow is None else site.state.policy.rule_ids[flow.rule]


def denied(site: Site) -> list[tuple[Any, ...]]:
    return [(what.reason.value, what.rule, what.needs) for what, _ in site.records.of("denied")]


def change(site: Site, host: Host, principal: Principal) -> None:
    """The principal at a host has other attributes from now on."""
    live = site.state.sessions.at(site.endpoint(host, _switch_of(site, host)).attachment)
    assert live is not None
    (proof,) = live.session.proofs
    changed = proof_of(principal, proof.at)
    changed = replace(proof, groups=changed.groups, labels=changed.labels)
    assert site.admin.life.change_proof(live.session.number, proof, changed, None, "")


def _switch_of(site: Site, host: Host) -> str:
    return "s2" if host is not LAPTOP and "s2" in site.switches else "s1"


async def test_who_is_related_is_let_through_and_nobody_else(site: Site) -> None:
    """By the rule that holds; the other one is denied, and the log says what does not hold."""
    assert rule_of(site, opened(site, WEB1, 443)) == "own-site"
    assert opened(site, WEB2, 443) is None
    assert [one[:2] for one in denied(site)] == [("condition-not-met", "own-site")]


async def test_a_relation_that_denies_wins(site: Site) -> None:
    """Over a rule without one, for those between whom it holds."""
    assert rule_of(site, opened(site, WEB1, 8443)) == "open"
    assert opened(site, WEB2, 8443) is None
    assert [one[:2] for one in denied(site)] == [("deny-rule", "not-theirs")]


async def test_an_error_denies_and_is_counted_and_told_at_a_bounded_rate(site: Site) -> None:
    """The allow rule does not hold, the deny rule does."""
    change(site, WEB1, replace(BERN, labels=(("tier", "web"),)))
    with capture_logs() as logs:
        for index in range(20):
            assert opened(site, WEB1, 443, 41000 + index) is None
            assert opened(site, WEB1, 8443, 42000 + index) is None
    assert site.state.counters["expression_errors"] >= 60
    told = [one for one in logs if one["event"] == "expression-failed"]
    assert {one["rule"] for one in told} == {"own-site", "owner", "not-theirs"}
    assert len(told) == 15
    assert all("site" in one["error"] or "owner" in one["error"] or "barred" in one["error"] for one in told)


async def test_only_what_does_not_hold_any_more_ends_with_a_change(site: Site) -> None:
    """Of either end, at once; its class is the same as before."""
    change(site, WEB1, replace(BERN, labels=(*BERN.labels[:1], ("owner", "alice"), *BERN.labels[1:])))
    change(site, LAPTOP, replace(ALICE, labels=(("site", "basel"),)))
    kept, rests = opened(site, WEB1, 443), opened(site, WEB2, 443)
    assert (rule_of(site, kept), rule_of(site, rests)) == ("owner", "own-site")
    classes = {live.session_class for live in site.state.sessions}
    change(site, LAPTOP, replace(ALICE, labels=(("site", "geneva"),)))
    await site.settle()
    assert set(site.state.flows.by_key.values()) == {kept}
    assert {live.session_class for live in site.state.sessions} == classes
    assert rules_in(site) == 2
    change(site, WEB1, replace(BERN, labels=(("owner", "bob"), *BERN.labels[1:])))
    await site.settle()
    assert not site.state.flows.by_key
    assert rules_in(site) == 0


async def test_a_flow_may_go_on_by_another_rule(site: Site) -> None:
    """It keeps its record, and its rules say by which."""
    flow = opened(site, WEB1, 443)
    assert rule_of(site, flow) == "own-site"
    change(site, WEB1, replace(BERN, labels=(("owner", "alice"), ("site", "basel"), ("tier", "web"))))
    await site.settle()
    assert list(site.state.flows.by_key.values()) == [flow]
    assert rule_of(site, flow) == "owner"
    assert not site.records.of("flow_ended")


async def test_packets_and_flows_cost_no_evaluation(site: Site) -> None:
    """An expression is run for values that it has not seen, and for nothing else."""
    opened(site, WEB1, 443)
    runs = compiled(RELATED).runs
    for index in range(200):
        opened(site, WEB1, 443, 41000 + index)
        opened(site, WEB1, 443, 40000)
    assert len(site.state.flows) == 201
    assert compiled(RELATED).runs == runs


async def test_the_hot_path_asks_nothing_where_there_is_no_relation(site: Site) -> None:
    """A verdict without relations is what it was."""
    flow = opened(site, WEB1, 8080)
    assert rule_of(site, flow) == "open"
    verdict = site.state.policy.verdict(flow.subject_class, flow.object_class, 6, 8080)
    assert verdict.relations == ()


async def test_a_policy_change_holds_each_pair_against_the_new_rules(site: Site) -> None:
    """Flows that another expression still lets through go on with their next packet; others have ended."""
    change(site, LAPTOP, replace(ALICE, labels=(("site", "basel"),)))
    first = opened(site, WEB2, 443)
    assert rule_of(site, first) == "own-site"
    await site.use_policy(POLICY.replace(RELATED, "subject.labels.site != object.labels.site"))
    assert opened(site, WEB2, 443) is None
    assert rule_of(site, opened(site, WEB1, 443)) == "own-site"
    await site.use_policy(POLICY.replace(RELATED, "true || " + RELATED))
    assert rule_of(site, opened(site, WEB2, 443)) == "own-site"


async def test_after_a_restart_flows_of_relations_are_taken_up_as_they_hold(site: Site) -> None:
    """A switch is gone and comes back: what still holds stays, what does not goes."""
    change(site, LAPTOP, replace(ALICE, labels=(("site", "basel"),)))
    assert opened(site, WEB2, 443) is not None
    site.s1.close("away")
    assert site.s1.connect()
    await site.settle()
    assert [rule_of(site, flow) for flow in site.state.flows.by_key.values()] == ["own-site"]
    site.s1.close("away")
    change(site, LAPTOP, replace(ALICE, labels=(("site", "geneva"),)))
    assert site.s1.connect()
    await site.settle()
    assert not site.state.flows.by_key
    assert rules_in(site) == 0


async def test_a_flow_that_was_idle_and_is_denied_when_it_goes_on_is_not_live(site: Site) -> None:
    """It takes nobody's room, and no error that quotes it passes."""
    assert opened(site, WEB1, 443) is not None
    for flow in rules_of(site):
        site.s1.expire(flow)
    change(site, LAPTOP, replace(ALICE, labels=(("site", "geneva"),)))
    site.s1.take()
    for _ in range(3):
        site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK))
    assert denied(site)[-1][0] == "no-longer-allowed"
    assert len(site.state.flows) == 0
    assert {live.opened for live in site.state.sessions} == {0}
    assert site.state.flows.at(site.s1.dpid) == 0
    error = WEB1.unreachable(LAPTOP, LAPTOP.tcp(WEB1, 40000, 443))
    site.switches[_switch_of(site, WEB1)].send(2, error)
    assert site.s1.take() == []


async def test_an_address_outside_is_an_object() -> None:
    """All that an expression can know of it is the address."""
    uplink = """
uplinks:
  wan: {switch: s1, port: 7, mac: "02:00:00:00:00:01", ip: [10.0.0.1/24], networks: [198.51.100.0/24]}
"""
    policy = """
version: 1
segments: {staff: {groups: [staff]}}
rules:
  - id: out
    from: [staff]
    to: {networks: [198.51.100.0/24]}
    services: [tcp/443]
    when: {cel: "cidr('198.51.100.0/28').containsIP(object.address) && subject.labels.site == 'bern'"}
"""
    site = await Site(ONE_SWITCH + uplink, policy).start()
    site.login(LAPTOP, ALICE)
    router = "02:00:00:00:00:01"
    assert rule_of(site, opened(site, Host(7, router, "198.51.100.7"), 443)) == "out"
    assert opened(site, Host(7, router, "198.51.100.80"), 443, 40001) is None


async def timed_site(expression: str) -> Site:
    """At 00:16:40; the policy has one rule, which rests on a relation and the time."""
    policy = f"""
version: 1
segments: {{web: {{labels: {{tier: web}}}}, staff: {{groups: [staff]}}}}
rules:
  - {{id: r, from: [staff], to: [web], services: [tcp/443], when: {{cel: "{RELATED} && {expression}"}}}}
"""
    site = await Site(ONE_SWITCH, policy).start()
    site.login(WEB1, BERN)
    site.login(LAPTOP, ALICE)
    return site


async def test_a_flow_ends_with_the_time_that_its_relation_asks_for() -> None:
    """In the switch, with a controller or without; and it is not written again."""
    site = await timed_site("time.minute < 20")
    assert opened(site, WEB1, 443) is not None
    assert {flow.hard_timeout for flow in rules_of(site)} == {200}
    site.now = 1200.0
    for flow in rules_of(site):
        site.s1.expire(flow, reason=1)
    assert not site.state.flows.by_key
    assert rules_of(site) == []
    assert opened(site, WEB1, 443) is None


async def test_a_flow_goes_on_where_the_answer_is_the_same_then() -> None:
    """An answer is worked out for some changes of the clock ahead, and then again."""
    site = await timed_site("time.minute < 50")
    flow = opened(site, WEB1, 443)
    (lease,) = {rule.hard_timeout for rule in rules_of(site)}
    assert 100 <= lease <= 200
    site.now += lease
    for rule in rules_of(site):
        site.s1.expire(rule, reason=1)
    assert list(site.state.flows.by_key.values()) == [flow]
    assert len(rules_of(site)) == 2
    assert not site.records.of("flow_ended")


async def test_what_asks_for_a_time_moves_no_session() -> None:
    """Its flows end in the switch; nobody's class or bindings change for that."""
    policy = """
version: 1
segments: {web: {labels: {tier: web}}, staff: {groups: [staff]}}
rules:
  - {id: r, from: [staff], to: [web], services: [tcp/443], when: {cel: "session.aal > 0 && time.minute < 20"}}
"""
    site = await Site(ONE_SWITCH, policy).start()
    site.login(WEB1, BERN)
    site.login(LAPTOP, ALICE)
    assert rule_of(site, opened(site, WEB1, 443)) == "r"
    assert {live.until for live in site.state.sessions} == {math.inf}
    written = site.s1.flow_mods
    while site.now < 1200.0:
        site.now += 4.0
        site.admin.tick(site.now)
    await site.settle()
    assert site.s1.flow_mods == written
    for rule in rules_of(site):
        site.s1.expire(rule, reason=1)
    assert rules_of(site) == []


async def test_an_error_of_a_condition_is_told_as_well() -> None:
    """When the session begins; it has a class in which the allow rule does not hold."""
    policy = """
version: 1
segments: {web: {labels: {tier: web}}, staff: {groups: [staff]}}
rules:
  - {id: r, from: [staff], to: [web], services: [tcp/443], when: {cel: "subject.labels.nothing == 'bern'"}}
"""
    site = await Site(ONE_SWITCH, policy).start()
    site.login(WEB1, BERN)
    with capture_logs() as logs:
        site.login(LAPTOP, ALICE)
    assert [(one["event"], one["rule"]) for one in logs] == [("expression-failed", "r")]
    assert site.state.counters["expression_errors"] == 1
    assert opened(site, WEB1, 443) is None
