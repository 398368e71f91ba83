"""A session that changes: what goes, what stays, and that nothing is interrupted that may go on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fakes.frames import ACK, Host
from fakes.site import ALICE, TWO_SWITCHES, WEB, Site, proof_of
from zethane.audit.reason import SessionEvent
from zethane.errors import CapacityError
from zethane.identity.session import Session
from zethane.pipeline.change import Add, Change
from zethane.pipeline.tables import Table
from zethane.policy.principal import Principal
from zethane.service import flow_review
from zethane.service.accounting import COUNTERS_DUE

POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  staff: {groups: [staff]}
  guests: {groups: [guests]}
rules:
  - {id: web-all, from: [staff, guests], to: [web], services: [tcp/443]}
  - {id: admin, from: [staff], to: [web], services: [tcp/22]}
  - {id: back, from: [web], to: [staff], services: [tcp/9000]}
  - {id: other-back, from: [web], to: [guests], services: [tcp/9001]}
"""
WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
STAFF = Principal("user", "alice", frozenset({"staff"}))
GUESTS = frozenset({"guests"})


async def busy(network: str = TWO_SWITCHES, far: str = "s2", **limits: Any) -> tuple[Site, Session]:
    """A laptop on s1 with two flows to a server on another switch, and one from it."""
    site = await Site(network, POLICY, **limits).start()
    site.login(WEB1, WEB, far)
    laptop = site.login(LAPTOP, STAFF)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 22))
    site.switches[far].send(2, WEB1.tcp(LAPTOP, 41000, 9000))
    for switch in site.switches.values():
        switch.take()
    return site, laptop


def move(site: Site, session: Session, groups: frozenset[str] = GUESTS) -> bool:
    proof = site.state.sessions.by_number[session.number].session.proofs[0]
    changed = replace(proof, groups=groups)
    return site.admin.change_proof(session.number, proof, changed, SessionEvent.CHANGED, "groups")


async def test_only_the_flows_that_the_new_segment_does_not_allow_are_gone() -> None:
    site, laptop = await busy()
    packet_ins = site.state.counters["packet_ins"]
    assert move(site, laptop)
    s1, s2 = site.s1, site.switches["s2"]
    assert s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK)).ports == [9]
    assert s2.send(2, WEB1.tcp(LAPTOP, 443, 40000, ACK)).ports == [9]
    assert site.state.counters["packet_ins"] == packet_ins, "the rules are there: no packet has to be asked about"
    assert s1.send(4, LAPTOP.tcp(WEB1, 40001, 22, ACK)).ports == []
    assert s2.send(2, WEB1.tcp(LAPTOP, 41000, 9000, ACK)).ports == []
    assert [flow.key.dport for flow in site.state.flows.by_key.values()] == [443]
    await site.settle()


async def test_a_flow_that_goes_on_is_not_ended_in_the_log_and_counts_all_its_packets() -> None:
    site, laptop = await busy()
    move(site, laptop)
    await site.settle()
    ended = site.records.of("flow_ended")
    assert sorted(arguments[0].key.dport for arguments in ended) == [22, 9000]
    assert {arguments[2] for arguments in ended} == {"session-changed"}
    site.admin.end_session(laptop.number, SessionEvent.LOGOUT)
    site.now += COUNTERS_DUE + 1
    site.admin.tick(site.now)
    flow, _, why, _ = site.records.of("flow_ended")[-1]
    assert (flow.key.dport, why) == (443, "session-logout")
    assert flow.packets == 3, "the one that opened it, one of the old rule and one of the new"


async def test_each_switch_gets_the_change_as_one_bundle_with_its_removals_first() -> None:
    site, laptop = await busy()
    bundles: dict[str, list[list[Change]]] = {name: [] for name in site.switches}
    for name, switch in site.switches.items():
        commit = switch.commit

        def kept(changes: Any, commit: Any = commit, name: str = name) -> Any:
            bundles[name].append(list(changes))
            return commit(changes)

        switch.commit = kept  # type: ignore[method-assign]  # the test looks in between
    before = {name: switch.flow_mods for name, switch in site.switches.items()}
    move(site, laptop)
    for name in ("s1", "s2"):
        (changes,) = bundles[name]
        assert site.switches[name].flow_mods - before[name] == len(changes), "and nothing beside it"
        kinds = [isinstance(change, Add) for change in changes]
        assert kinds == sorted(kinds)
    await site.settle()


async def test_a_session_that_comes_back_finds_its_flows_decided_again() -> None:
    site, laptop = await busy()
    move(site, laptop)
    move(site, laptop, frozenset({"staff"}))
    assert site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK)).ports == [9]
    assert site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 22, ACK)).ports == [], "what was cut has to be opened anew"
    assert 22 not in {flow.key.dport for flow in site.state.flows.by_key.values()}


async def test_the_object_of_a_flow_may_be_the_one_that_changes() -> None:
    site, laptop = await busy()
    site.switches["s2"].send(2, WEB1.tcp(LAPTOP, 41001, 9000))
    web = site.state.sessions.by_address[bytes([10, 0, 0, 11])].session
    proof = web.proofs[0]
    labelled = replace(proof, labels=(("rack", "7"), ("tier", "web")))
    assert site.admin.change_proof(web.number, proof, labelled, SessionEvent.CHANGED, "labels")
    assert len(site.state.flows) == 4, "the same segment: nothing has happened to its flows"
    move(site, laptop)
    assert [flow.key.dport for flow in site.state.flows.by_key.values()] == [443]


async def test_what_is_more_than_can_be_written_at_once_comes_back_with_its_next_packet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flow_review, "MAX_CARRIED", 1)
    site, laptop = await busy()
    site.s1.send(4, LAPTOP.tcp(WEB1, 40002, 443))
    move(site, laptop)
    assert len(site.state.flows) == 1
    for sport in (40000, 40002):
        data = LAPTOP.tcp(WEB1, sport, 443, ACK, b"x")
        site.s1.send(4, data)
    assert len(site.state.flows) == 2
    assert site.s1.send(4, LAPTOP.tcp(WEB1, 40002, 443, ACK)).ports == [9]


async def test_bindings_are_brought_where_the_new_class_may_talk_and_taken_from_where_it_may_not() -> None:
    policy = POLICY.replace("- {id: other-back", "- {id: db-guests, from: [db], to: [guests], services: [tcp/1]}\n  # ")
    policy = policy.replace("  staff:", "  db: {labels: {tier: db}}\n  staff:").replace("[staff, guests]", "[staff]")
    site = await Site(TWO_SWITCHES, policy).start()
    site.login(WEB1, WEB, "s2")
    site.login(Host(3, "02:00:00:00:00:31", "10.0.0.31"), Principal("workload", "db1", labels=(("tier", "db"),)), "s3")
    laptop = site.login(LAPTOP, STAFF)

    def holding() -> set[str]:
        return {point.switch.name for point in site.state.fabric.points.values() if laptop.number in point.remote}

    assert holding() == {"s2"}
    move(site, laptop)
    assert holding() == {"s3"}
    entries = [flow for flow in site.switches["s2"].tables.values() if flow.source == f"session {laptop.number}"]
    assert entries == []
    home = {flow.source for flow in site.s1.tables.values() if flow.table == Table.DESTINATION}
    web = site.state.sessions.by_address[bytes([10, 0, 0, 11])].session.number
    assert f"session {web}" not in home, "the laptop's switch needs the server no more"


async def test_the_same_change_twice_is_one_and_an_unknown_proof_changes_nothing() -> None:
    site, laptop = await busy()
    proof = laptop.proofs[0]
    changed = replace(proof, groups=GUESTS)
    assert site.admin.change_proof(laptop.number, proof, changed, SessionEvent.CHANGED, "")
    assert not site.admin.change_proof(laptop.number, proof, changed, SessionEvent.CHANGED, "")
    assert site.admin.change_proof(laptop.number, changed, changed, SessionEvent.CHANGED, "")
    assert len([one for one in site.records.of("session") if one[0] == SessionEvent.CHANGED]) == 1
    assert not site.admin.change_proof(999, proof, None, SessionEvent.REVOKED, "")


async def test_a_session_that_cannot_be_kept_as_it_is_now_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart would take up what is on the disk, which is better than what is left."""
    site, laptop = await busy()

    def full(_: Session) -> None:
        raise CapacityError("the disk is full")

    monkeypatch.setattr(site.store, "save", full)
    assert move(site, laptop)
    assert laptop.number not in site.state.sessions.by_number


async def test_a_weaker_login_closes_what_asked_for_more_and_nothing_else() -> None:
    policy = POLICY.replace("services: [tcp/22]}", "services: [tcp/22], when: {mfa: true}}")
    site = await Site(policy=policy).start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, ALICE)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 22))
    site.login(LAPTOP, replace(ALICE, mfa=False))
    assert site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK)).ports == [2]
    assert site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 22, ACK)).ports == []


async def test_a_proof_that_is_another_principals_is_refused() -> None:
    site, laptop = await busy()
    other = proof_of(Principal("user", "bob", frozenset({"staff"})), site.now)
    with pytest.raises(Exception, match="one of another"):
        site.admin.change_proof(laptop.number, laptop.proofs[0], other, SessionEvent.CHANGED, "")
