"""Conditions on addresses: a session's class is that of the address which a packet has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fakes.frames import ACK, Host
from fakes.site import ONE_SWITCH, TWO_SWITCHES, Site, proof_of
from zethane.app.controller import Controller
from zethane.audit.reason import SessionEvent
from zethane.identity.session import Session
from zethane.pipeline.tables import Table
from zethane.policy.principal import Principal
from zethane.service.policy_in_force import PolicyInForce

POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  staff: {groups: [staff]}
rules:
  - id: near
    from: [staff]
    to: [web]
    services: [tcp/443]
    when: {subject: {networks: [10.0.0.16/28, "2001:db8::20/124"]}}
  - id: inner
    from: [staff]
    to: [web]
    services: [tcp/22]
    when: {object: {networks: ["2001:db8::10/124"], labels: {rack: "7"}}}
  - id: not-from-there
    from: [staff]
    to: [web]
    services: [tcp/80]
    action: deny
    when: {subject: {networks: [10.0.0.0/28]}}
  - {id: http, from: [staff], to: [web], services: [tcp/80]}
"""
WEB = Principal("workload", "web1", labels=(("rack", "7"), ("tier", "web")))
STAFF = Principal("user", "alice", frozenset({"staff"}))
WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11", "2001:db8::11")
NEAR = Host(4, "02:00:00:00:00:21", "10.0.0.21", "2001:db8::21")
FAR = Host(4, NEAR.mac, "10.0.0.9", "2001:db8::99")


async def site_with(network: str = ONE_SWITCH, far: str = "s1") -> tuple[Site, Session]:
    """The laptop has an address of each kind that is near, and after `claim` one that is far."""
    site = await Site(network, POLICY).start()
    site.login(WEB1, WEB, far)
    site.admin.claim_address(site.endpoint(WEB1, far, WEB1.addresses[1]), 1)
    laptop = site.login(NEAR, STAFF)
    return site, laptop


def claim(site: Site, laptop: Session, *addresses: str) -> None:
    for address in addresses:
        site.admin.claim_address(site.endpoint(NEAR, address=address), laptop.number)


def opened(site: Site, host: Host, port: int, *, ipv6: bool = False, sport: int = 40000) -> bool:
    """Whether the first packet of a flow to the server is let through."""
    before = len(site.records.of("allowed"))
    source, target = (Host(one.port, one.mac, one.addresses[ipv6]) for one in (host, WEB1))
    site.s1.send(4, source.tcp(target, sport, port))
    return len(site.records.of("allowed")) > before


async def test_the_address_decides_and_not_the_session() -> None:
    site, laptop = await site_with()
    claim(site, laptop, FAR.ip, FAR.addresses[1])
    assert opened(site, NEAR, 443)
    assert not opened(site, FAR, 443)
    (what, _) = site.records.of("denied")[-1]
    needs = "an address in 10.0.0.16/28 or 2001:db8::20/124"
    assert (what.reason.value, what.rule, what.needs) == ("condition-not-met", "near", (needs,))
    assert not opened(site, FAR, 443, ipv6=True)


async def test_a_deny_for_a_network_is_for_that_network_alone() -> None:
    site, laptop = await site_with()
    claim(site, laptop, FAR.ip)
    assert opened(site, NEAR, 80)
    assert not opened(site, FAR, 80)
    assert site.records.reasons()[-1] == "deny-rule"


async def test_the_object_is_asked_for_its_address_and_its_labels() -> None:
    site, laptop = await site_with()
    claim(site, laptop, NEAR.addresses[1])
    assert not opened(site, NEAR, 22)
    assert site.records.of("denied")[-1][0].needs == ("an object with an address in 2001:db8::10/124",)
    assert opened(site, NEAR, 22, ipv6=True)


async def test_a_flow_stops_when_the_label_of_its_object_goes_and_others_of_the_object_stay() -> None:
    for network, far in ((ONE_SWITCH, "s1"), (TWO_SWITCHES, "s2")):
        site, laptop = await site_with(network, far)
        claim(site, laptop, NEAR.addresses[1])
        assert opened(site, NEAR, 22, ipv6=True)
        assert opened(site, NEAR, 443)
        live = site.state.sessions.by_number[1]
        (proof,) = live.session.proofs
        relabelled = replace(proof_of(replace(WEB, labels=(("tier", "web"),)), proof.at), expires=proof.expires)
        changed = replace(proof, labels=relabelled.labels)
        assert site.admin.change_proof(1, proof, changed, SessionEvent.CHANGED, "labels")
        assert site.s1.send(4, NEAR.tcp(WEB1, 40000, 443, ACK)).ports == [2 if far == "s1" else 9]
        assert [flow.key.dport for flow in site.state.flows.by_key.values()] == [443]
        await site.settle()


def classes(site: Site, switch: str, session: Session) -> dict[Any, int]:
    """What a switch writes for each address of a session as the class of the sender."""
    found = {}
    for flow in site.switches[switch].tables.values():
        if flow.table == Table.SOURCE and flow.source == f"session {session.number}":
            address = next(value for name, value, _ in flow.match if name in ("ipv4_src", "ipv6_src"))
            found[address] = next(action.value for action in flow.actions if hasattr(action, "value"))
    return found


async def test_bindings_have_the_class_of_their_address_on_every_switch_and_go_with_it() -> None:
    site, laptop = await site_with(TWO_SWITCHES, "s2")
    claim(site, laptop, FAR.ip)
    live = site.state.sessions.by_number[laptop.number]
    for switch in ("s1", "s2"):
        found = classes(site, switch, laptop)
        assert len(found) == 2
        assert len(set(found.values())) == 2
        assert set(found.values()) == live.classed
    home = site.state.fabric.by_name["s1"]
    assert all(home.classes[one] == 1 for one in live.classed)
    near = live.by_address[bytes([10, 0, 0, 21])]
    site.admin.enforcement.address_released(live, bytes([10, 0, 0, 21]))
    site.state.sessions.remove_address(live, bytes([10, 0, 0, 21]))
    assert near not in home.classes
    for switch in ("s1", "s2"):
        assert len(classes(site, switch, laptop)) == 1
    site.admin.end_session(laptop.number, SessionEvent.LOGOUT)
    assert set(home.classes) == set(), "nothing is left of it in the count"
    assert classes(site, "s1", laptop) == {}
    assert classes(site, "s2", laptop) == {}


async def test_a_restart_gives_every_address_its_class_and_keeps_the_flows() -> None:
    site, laptop = await site_with()
    claim(site, laptop, FAR.ip)
    assert opened(site, NEAR, 443)
    again = Site(policy=POLICY, store=site.store)
    again.s1.tables = dict(site.s1.tables)
    await again.start()
    assert again.s1.tables == site.s1.tables
    assert len(again.state.flows) == 1
    assert not opened(again, FAR, 443)
    assert again.s1.send(4, NEAR.tcp(WEB1, 40000, 443, ACK)).ports == [2]


async def test_a_policy_that_begins_to_ask_for_networks_ends_the_flows_from_elsewhere_alone() -> None:
    site, laptop = await site_with()
    claim(site, laptop, FAR.ip)
    await site.use_policy(POLICY.replace('    when: {subject: {networks: [10.0.0.16/28, "2001:db8::20/124"]}}\n', ""))
    assert opened(site, NEAR, 443)
    assert opened(site, FAR, 443, sport=40001)
    await site.use_policy(POLICY)
    site.s1.take()
    assert site.s1.send(4, FAR.tcp(WEB1, 40001, 443, ACK)).ports == []
    site.s1.send(4, NEAR.tcp(WEB1, 40000, 443, ACK))
    assert [port for port, _ in site.s1.take()] == [2], "with its next packet at the latest"
    assert {flow.key.src for flow in site.state.flows.by_key.values()} == {bytes([10, 0, 0, 21])}


async def test_where_nobody_asks_for_networks_a_session_has_one_class() -> None:
    site = await Site().start()
    laptop = site.login(NEAR, STAFF)
    live = site.state.sessions.by_number[laptop.number]
    assert live.by_address == {}
    assert live.classed == {live.session_class}
    policy: PolicyInForce = site.state.policy
    assert policy.classes_at("staff", STAFF, [bytes(4)], 0.0) == {}


async def test_the_running_controller_explains_by_address() -> None:
    site, laptop = await site_with()
    claim(site, laptop, FAR.ip)
    nothing: Any = None
    facade = Controller(site.admin, nothing, nothing, nothing, nothing, nothing, nothing)
    assert facade.explain(NEAR.ip, WEB1.ip, "tcp/443")["decision"] == "allow"
    said = facade.explain(FAR.ip, WEB1.ip, "tcp/443")
    assert (said["decision"], said["lacking"]["rule"]) == ("deny", "near")
