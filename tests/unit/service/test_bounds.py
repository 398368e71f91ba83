"""What hosts and switches do fills no table beyond its bound, and leaves room for others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes.frames import ACK, Host
from fakes.site import ALICE, PORTAL, WEB, Site
from zethane.audit.reason import SessionEvent
from zethane.policy.principal import Principal
from zethane.service import flows
from zethane.service.sessions import Live

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
SECOND = Host(5, "02:00:00:00:00:22", "10.0.0.22")
CAROL = Principal("user", "carol", frozenset({"staff"}), mfa=True)


def replace_number(live: Live) -> Live:
    """A session that begins at the same place when another one has ended."""
    session = replace(live.session, number=live.session.number + 3)
    return Live(session, live.session_class, live.switch, live.mac, heard=live.heard)


async def busy(**limits: int) -> Site:
    site = await Site(**limits).start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, ALICE)
    site.login(SECOND, CAROL)
    return site


async def test_a_session_that_opens_all_it_can_leaves_room_on_the_switch_for_another() -> None:
    site = await busy(flows_per_switch=100)
    for port in range(1000, 1300):
        site.s1.send(LAPTOP.port, LAPTOP.tcp(WEB1, port, 443))
    assert len(site.state.flows) == 50
    assert site.records.reasons()[:1] == ["table-full"]
    for port in range(1000, 1020):
        site.s1.send(SECOND.port, SECOND.tcp(WEB1, port, 443))
    assert len(site.state.flows) == 70
    for port in range(2000, 2300):
        site.s1.send(SECOND.port, SECOND.tcp(WEB1, port, 443))
        site.s1.send(LAPTOP.port, LAPTOP.tcp(WEB1, port, 443))
    assert len(site.state.flows) == 75  # 50 of one; the other has as many as are free


async def test_what_ends_makes_room() -> None:
    site = await busy(flows_per_switch=10)
    for port in range(1000, 1020):
        site.s1.send(LAPTOP.port, LAPTOP.tcp(WEB1, port, 443))
    dpid = site.s1.dpid
    assert site.state.flows.at(dpid) == 5
    live = site.state.sessions.at(site.endpoint(LAPTOP).attachment)
    assert live is not None
    site.admin.life.end(live, SessionEvent.LOGOUT)
    assert site.state.flows.at(dpid) == 0


async def test_flows_that_were_idle_and_go_on_count_against_the_quota() -> None:
    """Else a host could let its flows go idle, open as many others, and go on with all of them."""
    site = await busy(flows_per_session=3)
    live = site.state.sessions.at(site.endpoint(LAPTOP).attachment)
    assert live is not None
    for first in (1000, 2000):
        for port in range(first, first + 3):
            site.s1.send(LAPTOP.port, LAPTOP.tcp(WEB1, port, 443))
        for flow in [flow for flow in site.s1.tables.values() if flow.notify_removed and first == 1000]:
            site.s1.expire(flow)
    assert live.opened == 3
    site.s1.take()
    late = LAPTOP.tcp(WEB1, 1000, 443, ACK, b"late")
    site.s1.send(LAPTOP.port, late)
    assert site.s1.take() == []
    assert live.opened == 3
    site.state.flows.remove(next(iter(site.state.flows.by_key.values())))
    live.closes(b"")
    site.s1.send(LAPTOP.port, late)  # it is still known
    assert site.s1.take() == [(WEB1.port, late)]
    assert live.opened == 3


async def test_a_flow_that_was_idle_is_nobody_elses_who_has_its_numbers() -> None:
    """Numbers are given out again after sixteen million sessions: the records of the next must not name the last."""
    site = await busy()
    attachment = site.endpoint(LAPTOP).attachment
    before = site.state.sessions.at(attachment)
    assert before is not None
    number = before.session.number
    site.s1.send(LAPTOP.port, LAPTOP.tcp(WEB1, 1000, 443))
    for flow in [flow for flow in site.s1.tables.values() if flow.notify_removed]:
        site.s1.expire(flow)
    site.admin.end_session(number, SessionEvent.LOGOUT)
    site.now += 1.0
    site.store.new_number = lambda _: number  # type: ignore[method-assign]
    assert site.login(LAPTOP, CAROL).number == number
    site.s1.take()
    site.s1.send(LAPTOP.port, LAPTOP.tcp(WEB1, 1000, 443, ACK, b"late"))
    assert site.s1.take() == []
    assert site.records.reasons() == ["no-flow"]


async def test_sessions_that_come_and_go_leave_nothing_behind() -> None:
    site = await busy()
    sessions = site.state.sessions
    for _ in range(3000):
        live = sessions.at(site.endpoint(LAPTOP).attachment)
        assert live is not None
        sessions.remove(live)
        sessions.add(replace_number(live))
    assert len(sessions._due._heap) < 3000
    assert len(sessions._hearing._heap) < 3000
    assert next(sessions.due(site.now), None) is None
    site.now = live.ends + 1
    assert len({one.session.number for one in sessions.due(site.now)}) == 3


async def test_flows_taken_back_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "MAX_CLOSING", 3)
    site = await busy()
    for port in range(1000, 1010):
        site.s1.send(LAPTOP.port, LAPTOP.tcp(WEB1, port, 443))
    for flow in site.state.flows.of_session(2):
        site.state.flows.close(flow, "test", site.now)
    site.admin.accounting.settle(site.now)
    assert len(site.records.of("flow_ended")) == 7


async def test_portal_connections_have_a_bound_in_total() -> None:
    site = await Site(portal_flows=5, portal_flows_per_port=4).start()
    for host in (LAPTOP, SECOND):
        for port in range(4):
            site.s1.send(host.port, host.tcp(PORTAL, 1000 + port, 8080))
    assert len(site.admin.portal_access) == 5
    assert site.records.reasons() == ["table-full"] * 3


async def test_a_switch_that_answers_with_errors_fills_no_log() -> None:
    site = await Site().start()
    for _ in range(1000):
        site.admin.refused(site.s1, "error type 1 code 1")
    assert len(site.records.of("switch")) < 30
    assert site.state.counters["switch_errors"] == 1000


async def test_entries_that_can_expire_have_a_bound_and_are_counted_back() -> None:
    site = await busy(timed_flows_per_switch=3)
    for port in range(1000, 1010):
        site.s1.send(LAPTOP.port, LAPTOP.tcp(WEB1, port, 443))
    timeouts = [flow.idle_timeout for flow in site.s1.tables.values() if flow.notify_removed]
    assert sorted(timeouts) == [0] * 14 + [300] * 6
    dpid = site.s1.dpid
    assert (site.state.flows.at(dpid), site.state.flows.timed_at(dpid)) == (10, 3)
    live = site.state.sessions.at(site.endpoint(LAPTOP).attachment)
    assert live is not None
    site.admin.life.end(live, SessionEvent.LOGOUT)
    assert (site.state.flows.at(dpid), site.state.flows.timed_at(dpid)) == (0, 0)
