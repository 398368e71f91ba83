"""Flows without idle timeouts: the silent ones go, nothing in use does, and everything is counted back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.frames import ACK, SYN_ACK, Host
from fakes.site import ALICE, TWO_SWITCHES, WEB, Site
from zethane.audit.reason import SessionEvent
from zethane.net.flowkey import TCP, UDP
from zethane.pipeline.flow import EntryKey, Flow
from zethane.pipeline.tables import Priority, Table
from zethane.pipeline.verified import FIN_IDLE, IDLE_TIMEOUTS
from zethane.service import aging
from zethane.service.untimed import HALF_CLOSED, MAX_DOUBLED, TRIAL, UNANSWERED

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")


class Idling:
    """The idle timeouts of a site's switches, as Open vSwitch keeps them: an entry that is written over keeps its age.

    Test against the real one: tests/ovs/test_aging.py.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._used: dict[tuple[str, EntryKey], float] = {}

    def packet(self, switch: str, port: int, frame: bytes) -> bool:
        """A host sends; whether it reached the other one."""
        self._note()
        outcome = self._site.switches[switch].send(port, frame)
        for flow in outcome.path:
            self._used[switch, flow.key] = self._site.now
        self._note()
        return any(one.take() for one in list(self._site.switches.values()))

    def step(self, seconds: float = 1.0) -> None:
        """Time passes."""
        self._site.now += seconds
        self._note()
        for name, switch in self._site.switches.items():
            for flow in per_flow(self._site, name):
                if flow.idle_timeout and self._site.now - self._used[name, flow.key] >= flow.idle_timeout:
                    switch.expire(flow)
        while self._site.admin.aging.tick(self._site.now):
            pass
        self._note()

    def _note(self) -> None:
        there = {(name, flow.key) for name in self._site.switches for flow in per_flow(self._site, name)}
        self._used = {key: self._used.get(key, self._site.now) for key in there}


def per_flow(site: Site, name: str = "s1") -> list[Flow]:
    entries = site.switches[name].tables.values()
    return [flow for flow in entries if flow.table == Table.FLOW and flow.priority == Priority.FLOW_VERIFIED]


def timeouts(site: Site, name: str = "s1") -> list[int]:
    return sorted(flow.idle_timeout for flow in per_flow(site, name))


async def busy(network: str | None = None, **limits: int) -> Site:
    """Two hosts whose flows have no timeouts."""
    limits = {"timed_flows_per_switch": 0} | limits
    site = await (Site(network, **limits) if network else Site(**limits)).start()
    site.login(WEB1, WEB, "s2" if network else "s1")
    site.login(LAPTOP, ALICE)
    return site


def nothing_is_left(site: Site) -> None:
    assert len(site.state.flows) == 0
    assert all(not per_flow(site, name) for name in site.switches)
    dpids = [switch.dpid for switch in site.switches.values()]
    assert [(site.state.flows.at(dpid), site.state.flows.timed_at(dpid)) for dpid in dpids] == [(0, 0)] * len(dpids)
    assert all(live.opened == 0 for live in site.state.sessions)
    assert [(site.state.flows.untimed_at(dpid), site.state.flows.on_trial(dpid)) for dpid in dpids] == [(0, 0)] * len(
        dpids
    )


def reasons(site: Site) -> list[str]:
    """Why flows have ended."""
    return [why for _, _, why, _ in site.records.of("flow_ended")]


async def test_a_silent_flow_is_given_a_timeout_and_goes_with_its_record() -> None:
    site = await busy()
    switch = Idling(site)
    assert switch.packet("s1", 4, LAPTOP.tcp(WEB1, 40000, 443))
    assert timeouts(site) == [0, 0]
    for _ in range(IDLE_TIMEOUTS[TCP]):
        switch.step()
        assert len(site.state.flows) == 1
    assert timeouts(site) == [IDLE_TIMEOUTS[TCP]] * 2
    switch.step()
    nothing_is_left(site)
    assert reasons(site) == ["idle"]


async def test_an_idle_connection_goes_on_with_its_next_packet() -> None:
    site = await busy()
    switch = Idling(site)
    switch.packet("s1", 4, LAPTOP.tcp(WEB1, 40000, 443))
    while len(site.state.flows):
        switch.step()
    assert switch.packet("s1", 2, WEB1.tcp(LAPTOP, 443, 40000, ACK))
    assert len(site.state.flows) == 1
    assert timeouts(site) == [0, 0]


@pytest.mark.parametrize(("seconds", "reaches"), [(1, True), (50, True), (100, False)])
async def test_an_answer_may_come_a_little_later_than_the_first_test(seconds: int, reaches: bool) -> None:
    site = await busy()
    switch = Idling(site)
    switch.packet("s1", 4, LAPTOP.udp(WEB1, 5000, 443))
    for _ in range(UNANSWERED + 1):
        switch.step()
    nothing_is_left(site)
    site.now += seconds
    assert switch.packet("s1", 2, WEB1.udp(LAPTOP, 443, 5000)) is reaches


async def test_a_datagram_flow_in_use_stays_and_is_tested_less_and_less() -> None:
    site = await busy()
    switch = Idling(site)
    for second in range(1000):
        assert switch.packet("s1", 4, LAPTOP.udp(WEB1, 5000, 443))
        if second % 3 == 0:
            switch.packet("s1", 2, WEB1.udp(LAPTOP, 443, 5000))
        switch.step()
    assert reasons(site) == []
    assert site.state.counters["reinstalled"] == 0
    assert 8 <= site.state.counters["flows_tested"] <= 12
    for _ in range((IDLE_TIMEOUTS[UDP] << MAX_DOUBLED) + IDLE_TIMEOUTS[UDP] + int(TRIAL) + 1):
        switch.step()
    nothing_is_left(site)


async def test_what_a_switch_removed_just_before_a_test_was_over_is_there_again_and_lives() -> None:
    """The report crosses with what was written: the entry is new, without a timeout."""
    site = await busy()
    switch = Idling(site)
    switch.packet("s1", 4, LAPTOP.tcp(WEB1, 40000, 443))
    site.now += IDLE_TIMEOUTS[TCP]
    site.admin.aging.tick(site.now)
    tested = per_flow(site)
    assert {flow.idle_timeout for flow in tested} == {IDLE_TIMEOUTS[TCP]}
    site.now += TRIAL
    site.admin.aging.tick(site.now)
    after = dict(site.s1.tables)
    for flow in tested:
        site.s1.tables[flow.key] = flow
        site.s1.expire(flow)
    site.s1.tables = after
    assert timeouts(site) == [0, 0]
    assert len(site.state.flows) == 1
    assert await site.admin.attestation.attest(site.state.fabric.points[site.s1.dpid]) == 0


async def test_the_other_direction_of_a_connection_that_was_reset_goes_soon() -> None:
    site = await busy()
    switch = Idling(site)
    switch.packet("s1", 4, LAPTOP.tcp(WEB1, 40000, 443))
    first = per_flow(site)[0]
    site.s1.expire(replace_idle(site, first, FIN_IDLE))
    assert len(site.state.flows) == 1
    for _ in range(HALF_CLOSED):
        assert timeouts(site) == [0]
        switch.step()
    assert timeouts(site) == [HALF_CLOSED]
    switch.step()
    nothing_is_left(site)


def replace_idle(site: Site, flow: Flow, seconds: int) -> Flow:
    """The switch has shortened an entry's timeout."""
    changed = site.s1.tables[flow.key] = Flow(
        **{name: getattr(flow, name) for name in Flow.__dataclass_fields__} | {"idle_timeout": seconds}
    )
    return changed


async def test_the_far_end_is_tested_along_and_what_it_still_holds_runs_out() -> None:
    site = await busy(TWO_SWITCHES)
    switch = Idling(site)
    switch.packet("s1", 4, LAPTOP.udp(WEB1, 5000, 443))
    assert timeouts(site, "s1") == timeouts(site, "s2") == [0, 0]
    for _ in range(UNANSWERED):
        switch.step()
    assert timeouts(site, "s1") == timeouts(site, "s2") == [UNANSWERED] * 2
    switch.step()
    nothing_is_left(site)
    # A connection whose FINs the far end has not seen.
    switch.packet("s1", 4, LAPTOP.tcp(WEB1, 40000, 443))
    for flow in per_flow(site, "s1"):
        site.s1.expire(replace_idle(site, flow, FIN_IDLE))
    assert timeouts(site, "s2") == [FIN_IDLE] * 2
    for name in ("s1", "s2"):
        point = site.state.fabric.points[site.switches[name].dpid]
        assert await site.admin.attestation.attest(point) == 0
    for _ in range(FIN_IDLE):
        switch.step()
    nothing_is_left(site)
    assert reasons(site) == ["idle", "finished"]


async def test_a_switch_that_is_away_is_not_written_to_and_its_flows_are_tested_when_it_is_back() -> None:
    site = await busy()
    switch = Idling(site)
    switch.packet("s1", 4, LAPTOP.tcp(WEB1, 40000, 443))
    point = site.state.fabric.points[site.s1.dpid]
    point.ready = False
    for _ in range(IDLE_TIMEOUTS[TCP] + 10):
        switch.step()
    assert timeouts(site) == [0, 0]
    point.ready = True
    site.s1.is_behind = True
    switch.step()
    assert timeouts(site) == [0, 0]
    site.s1.is_behind = False
    switch.step()
    switch.step()
    nothing_is_left(site)


async def test_no_more_are_tested_at_once_than_may_and_all_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aging, "LEAST_ON_TRIAL", 10)
    site = await busy()
    for port in range(1000, 1100):
        site.s1.send(4, LAPTOP.udp(WEB1, port, 443))
    ended = 0
    site.now += UNANSWERED
    while len(site.state.flows):
        while site.admin.aging.tick(site.now):
            pass
        assert site.state.flows.timed_at(site.s1.dpid) == min(10, len(site.state.flows))
        for flow in per_flow(site):
            if flow.idle_timeout:
                site.s1.expire(flow)
        ended += 10
        assert len(site.state.flows) == 100 - ended
    nothing_is_left(site)


async def test_a_clock_that_is_put_back_keeps_no_flow() -> None:
    site = await busy()
    switch = Idling(site)
    switch.packet("s1", 4, LAPTOP.udp(WEB1, 5000, 443))
    site.now -= 86400
    site.admin.aging.tick(site.now)
    assert timeouts(site) == [UNANSWERED] * 2


async def test_flows_of_a_session_that_ends_are_tested_no_more() -> None:
    site = await busy()
    switch = Idling(site)
    switch.packet("s1", 4, LAPTOP.tcp(WEB1, 40000, 443))
    (flow,) = site.state.flows.by_key.values()
    site.admin.end_session(flow.subject, SessionEvent.LOGOUT)
    assert site.state.flows.untimed_at(site.s1.dpid) == 0
    for _ in range(IDLE_TIMEOUTS[TCP] + 10):
        switch.step()
    assert site.state.counters["flows_tested"] == 0
    nothing_is_left(site)


PORTS = st.integers(1, 4)
TRAFFIC = st.lists(
    st.tuples(st.integers(1, 60), PORTS, st.sampled_from(("ask", "answer")), st.sampled_from((TCP, UDP))), max_size=40
)


@settings(max_examples=30, deadline=None)
@given(TRAFFIC)
async def test_whatever_hosts_send_what_is_in_use_stays_and_what_is_silent_goes(
    traffic: list[tuple[int, int, str, int]],
) -> None:
    site = await busy()
    switch = Idling(site)
    last: dict[tuple[int, int], float] = {}
    for pause, port, what, proto in traffic:
        for _ in range(pause):
            switch.step()
        asks = (LAPTOP.tcp(WEB1, port, 443), LAPTOP.udp(WEB1, port, 443))
        answers = (WEB1.tcp(LAPTOP, 443, port, SYN_ACK), WEB1.udp(LAPTOP, 443, port))
        known = (proto, port) in last
        index = int(proto == UDP)
        reached = switch.packet("s1", *((4, asks[index]) if what == "ask" else (2, answers[index])))
        silent = site.now - last.get((proto, port), 0.0)
        if what == "ask" or (known and silent < UNANSWERED):
            assert reached
        if reached:
            last[proto, port] = site.now
        check_the_silent_are_gone(site, last)
    for _ in range(5 * IDLE_TIMEOUTS[TCP] // 5 + 2):
        switch.step(5.0)
    nothing_is_left(site)


def check_the_silent_are_gone(site: Site, last: Mapping[tuple[int, int], float]) -> None:
    for key in site.state.flows.by_key:
        idle = IDLE_TIMEOUTS[key.proto]
        assert site.now - last[key.proto, key.sport] <= (idle << MAX_DOUBLED) + idle + TRIAL
