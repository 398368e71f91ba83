"""UDP flows whose rules wait: no packet is held up, every packet is counted, and what goes on gets its rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.frames import ACK, SYN_ACK, Host
from fakes.site import ALICE, TWO_SWITCHES, WEB, Site
from zethane.audit.reason import SessionEvent
from zethane.native import native
from zethane.pipeline.flow import Flow
from zethane.pipeline.tables import Priority, Table
from zethane.service.deferral import PureDeferral
from zethane.service.flows import FORWARD, RETURN
from zethane.service.untimed import UNANSWERED

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
HERE, THERE = (1, 4), (2, 2)


def rules(site: Site) -> list[Flow]:
    """The per-flow rules of all switches."""
    entries = [flow for switch in site.switches.values() for flow in switch.tables.values()]
    return [flow for flow in entries if flow.table == Table.FLOW and flow.priority == Priority.FLOW_VERIFIED]


async def site_of(network: str | None = None, **limits: int) -> Site:
    """Two hosts, whose UDP flows have no rules at first."""
    limits = {"rules_wait_from": 0} | limits
    site = await (Site(network, **limits) if network else Site(**limits)).start()
    site.login(WEB1, WEB, "s2" if network else "s1")
    site.login(LAPTOP, ALICE)
    return site


def pass_time(site: Site, seconds: float) -> None:
    site.now += seconds
    site.admin.tick(site.now)
    while site.admin.aging.tick(site.now):
        pass


def reaches(site: Site, switch: str, port: int, frame: bytes) -> bool:
    """A host sends; whether it reached the other one."""
    site.switches[switch].send(port, frame)
    return any(one.take() for one in list(site.switches.values()))


def ended(site: Site) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Why flows have ended, and what they had carried."""
    return [(why, flow.counts) for flow, _, why, _ in site.records.of("flow_ended")]


@pytest.mark.parametrize("network", [None, TWO_SWITCHES], ids=["one switch", "two switches"])
async def test_a_question_and_its_answer_pass_without_rules_and_are_counted(network: str | None) -> None:
    site = await site_of(network)
    question, answer = LAPTOP.udp(WEB1, 1000, 443), WEB1.udp(LAPTOP, 443, 1000, b"yes")
    assert reaches(site, "s1", 4, question)
    pass_time(site, UNANSWERED - 1)
    assert reaches(site, "s2" if network else "s1", 2, answer)
    assert rules(site) == []
    assert site.state.counters["flows_deferred"] == 1
    pass_time(site, UNANSWERED - 1)
    assert len(site.state.flows) == 1
    pass_time(site, 1)
    assert len(site.state.flows) == 0
    assert ended(site) == [("idle", (1, len(question), 1, len(answer)))]
    assert all(live.opened == 0 for live in site.state.sessions)


@pytest.mark.parametrize("from_server", [False, True])
async def test_the_second_packet_of_either_way_brings_the_rules(from_server: bool) -> None:
    site = await site_of()
    there, back = LAPTOP.udp(WEB1, 1000, 443), WEB1.udp(LAPTOP, 443, 1000)
    assert reaches(site, "s1", 4, there)
    if from_server:
        assert reaches(site, "s1", 2, back)
        assert rules(site) == []
    assert reaches(site, "s1", 2, back) if from_server else reaches(site, "s1", 4, there)
    assert len(rules(site)) == 2
    (flow,) = site.state.flows.by_key.values()
    assert flow.alive == FORWARD | RETURN
    before = site.state.counters["packet_ins"]
    assert reaches(site, "s1", 4, there)
    assert reaches(site, "s1", 2, back)
    assert site.state.counters["packet_ins"] == before
    assert site.state.counters["reinstalled"] == 0


async def test_connections_and_echo_get_their_rules_at_once() -> None:
    site = await site_of()
    assert reaches(site, "s1", 4, LAPTOP.tcp(WEB1, 1000, 443))
    assert len(rules(site)) == 2
    assert reaches(site, "s1", 2, WEB1.tcp(LAPTOP, 443, 1000, SYN_ACK))
    assert reaches(site, "s1", 4, LAPTOP.tcp(WEB1, 1000, 443, ACK))
    assert site.state.counters["flows_deferred"] == 0


async def test_a_revoked_session_leaves_the_record_of_a_flow_without_rules() -> None:
    site = await site_of()
    question = LAPTOP.udp(WEB1, 1000, 443)
    assert reaches(site, "s1", 4, question)
    (flow,) = site.state.flows.by_key.values()
    site.admin.end_session(flow.subject, SessionEvent.REVOKED)
    assert not reaches(site, "s1", 2, WEB1.udp(LAPTOP, 443, 1000))
    pass_time(site, 0)
    assert [counts for _, counts in ended(site)] == [(1, len(question), 0, 0)]
    assert len(site.state.flows) == 0


async def test_an_answer_that_comes_late_passes_and_is_recorded() -> None:
    site = await site_of()
    assert reaches(site, "s1", 4, LAPTOP.udp(WEB1, 1000, 443))
    pass_time(site, UNANSWERED)
    assert len(ended(site)) == 1
    assert reaches(site, "s1", 2, WEB1.udp(LAPTOP, 443, 1000))


async def test_flows_without_rules_count_against_the_quota() -> None:
    site = await site_of(flows_per_session=2)
    sent = [reaches(site, "s1", 4, LAPTOP.udp(WEB1, port, 443)) for port in (1000, 1001, 1002)]
    assert sent == [True, True, False]


async def test_what_is_attested_is_right_without_rules() -> None:
    site = await site_of()
    assert reaches(site, "s1", 4, LAPTOP.udp(WEB1, 1000, 443))
    assert await site.admin.attestation.attest(site.state.fabric.by_name["s1"]) == 0


compiled = native("zethane.service.deferral_table")
both = pytest.mark.parametrize("made", [PureDeferral, *([compiled.Deferral] if compiled is not None else [])])


@both
def test_rules_wait_where_many_flows_come_and_for_a_second_more(made: Any) -> None:
    deferral = made()
    assert [deferral.waits(HERE, THERE, 3, 100, 10.0) for _ in range(4)] == [False, False, True, True]
    assert deferral.waits(HERE, THERE, 3, 100, 11.9)
    assert not deferral.waits(HERE, THERE, 3, 100, 12.0)
    assert not deferral.waits((9, 1), THERE, 3, 100, 12.0)


@both
@given(ports=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=60), share=st.integers(0, 5))
def test_no_port_has_more_that_wait_than_its_share(made: Any, ports: list[tuple[int, int]], share: int) -> None:
    deferral, waiting = made(), []
    for own, far in ports:
        if deferral.waits((1, own), (1, far), 0, share, 5.0):
            waiting.append((own, far))
    for port in (1, 2, 3):
        assert sum(port in ends for ends in waiting) <= share


few = st.tuples(st.sampled_from((1, 2, 2**64 - 1)), st.sampled_from((1, 1025, 0xFFFFFF00)))
"""Ports of switches that are often the same."""
many = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 0xFFFFFF00))
flows = st.tuples(few | many, few | many, st.sampled_from((0.0, 0.0, 0.3, 1.0, 2.5, -1.0)))


@pytest.mark.skipif(compiled is None, reason="nothing is compiled here")
@given(st.lists(flows, max_size=100), st.integers(0, 4), st.integers(0, 3))
def test_both_count_the_same(seen: list[Any], enough: int, share: int) -> None:
    one, other, now = PureDeferral(), compiled.Deferral(), 1000.0
    for own, far, later in seen:
        now += later
        assert one.waits(own, far, enough, share, now) == other.waits(own, far, enough, share, now)


@pytest.mark.skipif(compiled is None, reason="nothing is compiled here")
def test_both_count_the_same_of_more_ports_than_there_is_room_for_at_first() -> None:
    one, other = PureDeferral(), compiled.Deferral()
    for now in (10.0, 11.0, 13.0, 14.0, 14.5):
        for turn in range(2):
            for port in range(4000 if now < 14 else 40):
                own, far = (port % 7, port), (1 + port % 5, 4000 - port)
                waits = one.waits(own, far, 300, 2, now)
                assert other.waits(own, far, 300, 2, now) == waits, (now, turn, port)
