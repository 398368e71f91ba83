"""Ended sessions on switches with many flows: their packets stop at once, their rules go in pieces afterwards."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import count
from random import Random

import pytest

from fakes.frames import ACK, Host, packed
from fakes.site import ALICE, BOB, DB, TWO_SWITCHES, WEB, Site
from fakes.switch import FakeSwitch
from zethane.audit.reason import SessionEvent
from zethane.identity.session import Attachment, Session
from zethane.net.flowkey import ICMP, TCP, UDP, FlowKey
from zethane.pipeline.change import RemoveMatching
from zethane.pipeline.fields import cookie, split_cookie
from zethane.pipeline.flow import Flow
from zethane.pipeline.tables import Priority, Table
from zethane.pipeline.verified import both_directions, verified_flow
from zethane.policy.principal import Principal
from zethane.service import clearing
from zethane.service.clearing import pieces
from zethane.service.flows import LiveFlow
from zethane.service.sessions import Live

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
DESK = Host(5, "02:00:00:00:00:22", "10.0.0.22")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large here is small elsewhere."""
    monkeypatch.setattr(clearing, "SMALL", 3)
    monkeypatch.setattr(clearing, "PIECE", 4)


def session(number: int) -> Session:
    return Session(number, Principal("workload", f"w{number}"), Attachment(1, 1, 0, number), (), "a", 0.0)


def rules(switch: FakeSwitch) -> list[Flow]:
    entries = switch.tables.values()
    return [flow for flow in entries if flow.table == Table.FLOW and flow.priority == Priority.FLOW_VERIFIED]


def rules_of(switch: FakeSwitch, number: int) -> list[Flow]:
    return [flow for flow in rules(switch) if number in split_cookie(flow.cookie)[:2]]


async def site_with_flows(network: str | None = None, flows: int = 20) -> tuple[Site, Live, Live]:
    """A user with flows to a server, which has one to another; the sessions of the server and of the user."""
    site = Site(network) if network else Site()
    await site.start()
    far = "s2" if network else "s1"
    web, alice = site.login(WEB1, WEB, far), site.login(LAPTOP, ALICE)
    site.login(DB1, DB)
    for port in range(flows):
        site.s1.send(4, LAPTOP.tcp(WEB1, 40000 + port, 443))
        site.s1.send(4, LAPTOP.udp(WEB1, 40000 + port, 443))
    site.s1.send(4, LAPTOP.echo(WEB1))
    site.switches[far].send(2, WEB1.tcp(DB1, 41000, 5432))
    sessions = site.state.sessions.by_number
    return site, sessions[web.number], sessions[alice.number]


async def clear(site: Site, steps: int = 1000) -> None:
    """Let time pass until nothing is left to be done."""
    site.now += clearing.PATIENCE
    for _ in range(steps):
        if not site.admin.clearing.tick(site.now):
            return
        await site.settle()
    raise AssertionError("it does not come to an end")


async def test_no_packet_passes_from_the_first_two_flow_mods_on_and_the_rules_go_later() -> None:
    site, _, alice = await site_with_flows()
    before, held = site.s1.flow_mods, len(rules(site.s1))
    assert site.admin.end_session(alice.session.number, SessionEvent.REVOKED)
    assert site.s1.flow_mods - before == 2
    assert len(rules(site.s1)) == held
    site.s1.take()
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK))
    site.s1.send(2, WEB1.tcp(LAPTOP, 443, 40000, ACK))
    assert site.s1.take() == []
    assert site.admin.clearing.tick(site.now) is False  # another one may follow
    await clear(site)
    assert rules_of(site.s1, alice.session.number) == []
    assert len(rules(site.s1)) == 2


async def test_every_flow_has_its_record_with_its_counters() -> None:
    site, _, alice = await site_with_flows()
    site.admin.end_session(alice.session.number, SessionEvent.REVOKED)
    assert site.records.of("flow_ended") == []
    await clear(site)
    ended = site.records.of("flow_ended")
    assert len(ended) == 41
    assert {why for _, _, why, _ in ended} == {"session-revoked"}
    # The first packet of a flow is delivered by the controller.
    assert {(flow.packets, flow.return_packets) for flow, *_ in ended} == {(2, 1)}
    assert not site.state.flows.is_closing(alice.session.number)


async def test_a_controller_that_stops_meanwhile_leaves_no_flow_without_a_record() -> None:
    site, _, alice = await site_with_flows()
    site.admin.end_session(alice.session.number, SessionEvent.REVOKED)
    site.admin.accounting.finish()
    ended = site.records.of("flow_ended")
    assert len(ended) == 41
    assert {why for _, _, why, _ in ended} == {"session-revoked"}
    await clear(site)
    assert len(site.records.of("flow_ended")) == 41


async def test_one_piece_is_under_way_and_has_about_as_many_flows_as_it_may() -> None:
    site, _, alice = await site_with_flows(flows=64)
    site.admin.end_session(alice.session.number, SessionEvent.REVOKED)
    site.now += clearing.PATIENCE
    gone, steps, before = [], 0, len(rules(site.s1))
    while site.admin.clearing.tick(site.now):
        assert site.admin.clearing.tick(site.now)  # nothing begins before the switch has answered
        await site.settle()
        gone.append(before - len(rules(site.s1)))
        before, steps = len(rules(site.s1)), steps + 1
    assert max(gone) <= 4 * clearing.PIECE
    assert sum(gone) == 2 * (2 * 64 + 1)


async def test_it_waits_while_others_are_revoked_but_not_for_ever() -> None:
    site, web, alice = await site_with_flows()
    site.admin.end_session(alice.session.number, SessionEvent.REVOKED)
    site.now += clearing.QUIET - 0.1
    site.admin.end_session(web.session.number, SessionEvent.REVOKED)
    site.now += clearing.QUIET - 0.1
    assert not site.admin.clearing.tick(site.now)
    desk = site.login(DESK, BOB)
    site.now += clearing.PATIENCE - 2 * clearing.QUIET + 0.2
    site.admin.end_session(desk.number, SessionEvent.REVOKED)
    assert site.admin.clearing.tick(site.now)


async def test_very_many_are_not_waited_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clearing, "MANY", 10)
    site, _, alice = await site_with_flows()
    site.admin.end_session(alice.session.number, SessionEvent.REVOKED)
    assert site.admin.clearing.tick(site.now)
    await site.settle()


async def test_on_a_switch_with_few_flows_they_go_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clearing, "SMALL", 4096)
    site, _, alice = await site_with_flows()
    site.admin.end_session(alice.session.number, SessionEvent.REVOKED)
    assert rules_of(site.s1, alice.session.number) == []
    assert not site.admin.clearing.names(alice.session.number)


async def test_rules_that_wait_count_against_the_switch() -> None:
    site, _, alice = await site_with_flows()
    dpid, before = site.s1.dpid, site.state.flows.at(site.s1.dpid)
    site.admin.end_session(alice.session.number, SessionEvent.REVOKED)
    assert site.state.flows.at(dpid) == before
    await clear(site)
    assert site.state.flows.at(dpid) == len(site.state.flows) == 1


async def test_both_ends_are_cleared_and_attestation_finds_nothing_strange_meanwhile() -> None:
    site, web, _ = await site_with_flows(TWO_SWITCHES)
    points = [site.state.fabric.points[site.switches[name].dpid] for name in ("s1", "s2")]
    site.admin.end_session(web.session.number, SessionEvent.REVOKED)
    for steps in range(3):
        for point in points:
            assert await site.admin.attestation.attest(point) == 0
        site.now += clearing.PATIENCE * (steps == 0)
        site.admin.clearing.tick(site.now)
        await site.settle()
    await clear(site)
    for point, name in zip(points, ("s1", "s2"), strict=True):
        assert rules_of(site.switches[name], web.session.number) == []
        assert await site.admin.attestation.attest(point) == 0


async def test_what_nobody_knew_of_is_found_by_attestation() -> None:
    site, web, alice = await site_with_flows()
    number = alice.session.number
    key = FlowKey(packed(LAPTOP.ip), packed(WEB1.ip), TCP, 1, 443)
    stray = verified_flow(both_directions(key, number, web.session.number, 1, 1, 77)[0], notify=True, idle=0)
    site.s1.tables[stray.key] = stray
    site.admin.end_session(number, SessionEvent.REVOKED)
    await clear(site)
    assert rules_of(site.s1, number) == [stray]
    assert await site.admin.attestation.attest(site.state.fabric.points[site.s1.dpid]) == 1
    assert rules_of(site.s1, number) == []


async def test_a_rule_that_only_says_that_it_is_of_an_ended_session_is_not_left_alone() -> None:
    """Packets that a rule takes are those of the sessions in its match; its cookie is what somebody has written."""
    site, web, alice = await site_with_flows()
    key = FlowKey(packed(WEB1.ip), packed(DB1.ip), TCP, 1, 22)
    real = both_directions(key, web.session.number, 3, 1, 1, 77)[0]
    foreign = verified_flow(replace(real, cookie=cookie(alice.session.number, 3, 77)), notify=False, idle=300)
    site.admin.end_session(alice.session.number, SessionEvent.REVOKED)
    assert site.admin.clearing.waits(alice.session.number)
    site.s1.tables[foreign.key] = foreign
    assert await site.admin.attestation.attest(site.state.fabric.points[site.s1.dpid]) == 1
    assert foreign.key not in site.s1.tables


async def test_a_number_is_not_given_out_again_while_rules_may_have_it() -> None:
    site, _, alice = await site_with_flows()
    number, taken = alice.session.number, count(alice.session.number)
    site.store.new_number = lambda in_use: next(one for one in taken if not in_use(one))  # type: ignore[method-assign]
    site.admin.end_session(number, SessionEvent.REVOKED)
    await clear(site)
    assert site.login(DESK, BOB).number != number
    site.now += clearing.LINGER + 1
    site.admin.clearing.tick(site.now)
    assert not site.admin.clearing.names(number)


async def test_a_switch_that_goes_away_is_made_right_when_it_is_back() -> None:
    site, _, alice = await site_with_flows()
    site.admin.end_session(alice.session.number, SessionEvent.REVOKED)
    site.now += clearing.PATIENCE
    site.admin.clearing.tick(site.now)
    site.s1.close("gone")
    await site.settle()
    assert site.s1.connect()
    await site.settle()
    assert rules_of(site.s1, alice.session.number) == []
    assert not site.admin.clearing.tick(site.now)
    assert not site.admin.clearing.waits(alice.session.number)
    assert site.state.flows.at(site.s1.dpid) == 1
    assert len(site.records.of("flow_ended")) == 41


async def test_the_same_host_opens_the_same_flow_to_the_next_session_meanwhile() -> None:
    site, web, _ = await site_with_flows()
    site.admin.end_session(web.session.number, SessionEvent.REVOKED)
    again = site.login(WEB1, WEB)
    site.s1.take()
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    assert len(site.s1.take()) == 1
    assert len(rules_of(site.s1, again.number)) == 2
    site.admin.end_session(again.number, SessionEvent.REVOKED)
    await clear(site)
    ended = [(flow.object, why) for flow, _, why, _ in site.records.of("flow_ended")]
    assert Counter(ended)[web.session.number, "session-revoked"] == 41
    assert Counter(ended)[again.number, "session-revoked"] == 1
    assert not site.state.flows.is_closing(web.session.number)
    assert not site.state.flows.is_closing(again.number)


async def test_another_session_at_the_address_is_not_touched_by_what_is_cleared() -> None:
    site, web, _ = await site_with_flows()
    site.admin.end_session(web.session.number, SessionEvent.REVOKED)
    again = site.login(WEB1, WEB)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    await clear(site)
    assert len(rules_of(site.s1, again.number)) == 2
    assert len(site.state.flows) == 1
    site.s1.take()
    site.s1.send(2, WEB1.tcp(LAPTOP, 443, 40000, ACK))
    assert len(site.s1.take()) == 1


@pytest.mark.parametrize("seed", range(4))
def test_pieces_take_every_rule_of_the_flows_and_no_others(seed: int) -> None:
    random = Random(seed)  # noqa: S311  # no secret
    parties = [session(number) for number in range(4)]
    flows, entries = [], []
    for _ in range(300):
        a, b = random.sample(range(4), 2)
        proto = random.choice((TCP, TCP, UDP, ICMP, 47))
        ports = (random.randrange(1, 2**16), 443) if proto in (TCP, UDP) else (8, 0) if proto == ICMP else (0, 0)
        size = random.choice((4, 16))
        key = FlowKey(bytes((10, *([0] * (size - 2)), a)), bytes((10, *([0] * (size - 2)), b)), proto, *ports)
        flow = LiveFlow(key, a, b, random.choice((1, 2)), 1, 1, parties[a], parties[b], 0.0, math.inf)
        flows.append(flow)
        entries += [verified_flow(d, notify=True) for d in both_directions(key, a, b, 1, 1, flow.rule)]
    of_one = [flow for flow in flows if 0 in (flow.subject, flow.object)]
    removals = [removal for piece in pieces(of_one) for removal in piece.removals]
    assert all(isinstance(removal, RemoveMatching) for removal in removals)
    left = [flow for flow in entries if not any(removal.takes(flow.key, flow.cookie) for removal in removals)]
    assert left == [flow for flow in entries if 0 not in split_cookie(flow.cookie)[:2]]
