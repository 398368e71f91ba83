"""Whoever changes a session need not tell the hot path: what that keeps of it is void at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fakes.frames import ACK, SYN
from fakes.hot_site import LAPTOP, WEB1, HotSite, packet_in
from zethane.audit.reason import SessionEvent
from zethane.native import native
from zethane.service.sessions import PureWatched

pytestmark = pytest.mark.skipif(native("zethane.service.watched") is None, reason="nothing is compiled here")


async def _site() -> tuple[HotSite, bytes]:
    hot = await HotSite(fast=True).start()
    rule = hot.state.policy.rule_numbers["staff-web"]
    return hot, packet_in(rule, 1, 3, LAPTOP.port, LAPTOP.tcp(WEB1, 1000, 443, SYN))


def _is_plain(hot: HotSite, packet: bytes) -> bool:
    link = hot.channels["s1"]
    link._intake.begin()
    return bool(hot.fast.run(link, packet, 0))


@pytest.mark.parametrize(
    ("name", "value"),
    [("session_class", 0xFFFF), ("by_address", {b"\x0a\0\0\x15": 1}), ("entered", False), ("switch", 77)],
)
async def test_a_session_that_is_another_one_is_not_taken_for_what_it_was(name: str, value: Any) -> None:
    hot, packet = await _site()
    hot.feed("s1", packet)
    assert hot.fast.taken == 1
    setattr(hot.state.sessions.by_number[1], name, value)
    assert not _is_plain(hot, packet)
    assert hot.fast.taken == 1


async def test_an_address_that_is_gone_is_not_taken_for_the_sessions() -> None:
    hot, packet = await _site()
    hot.feed("s1", packet)
    live = hot.state.sessions.by_number[1]
    live.session = replace(live.session, addresses=live.session.addresses[1:])
    assert not _is_plain(hot, packet)


async def test_flows_are_counted_where_the_session_is_changed_meanwhile() -> None:
    hot, packet = await _site()
    live = hot.state.sessions.by_number[1]
    assert live.opened == 0
    hot.feed("s1", packet)
    assert live.opened == 1
    live.session = replace(live.session)
    assert live.opened == 1
    live.opened += 1
    rule = hot.state.policy.rule_numbers["staff-web"]
    hot.feed("s1", packet_in(rule, 1, 3, LAPTOP.port, LAPTOP.tcp(WEB1, 1001, 443, SYN)))
    assert live.opened == 3
    live.opened -= 1
    assert live.opened == 2


async def test_a_flow_keeps_the_sessions_that_it_was_opened_between() -> None:
    hot, packet = await _site()
    live = hot.state.sessions.by_number[1]
    before = live.session
    hot.feed("s1", packet)
    live.session = replace(live.session)
    (flow,) = hot.state.flows.of_session(1)
    assert flow.opened_by is before
    again = flow.afresh()
    assert again.opened_by is before
    assert again.opened_to is hot.state.sessions.by_number[3].session
    assert not _is_plain(hot, packet_in(0, 1, 3, LAPTOP.port, LAPTOP.tcp(WEB1, 1, 443, ACK)))


async def test_a_number_that_somebody_else_has_now_is_somebody_elses() -> None:
    """What is kept is used again when a session has ended: two sites at once never take it for their own."""
    (one, packet), (other, _) = await _site(), await _site()
    for hot in (one, other, one):
        hot.feed("s1", packet)
        hot.fast.prepare(range(1, 5))
    for number in (3, 1):
        one.site.admin.end_session(number, SessionEvent.LOGOUT)
    assert not _is_plain(one, packet)
    other.feed("s1", packet_in(other.state.policy.rule_numbers["staff-web"], 1, 3, 2, LAPTOP.tcp(WEB1, 7, 443, SYN)))
    assert other.fast.taken == 2
    assert not _is_plain(one, packet)


async def test_a_session_that_was_got_to_know_before_the_first_packet_stays_known() -> None:
    hot, packet = await _site()
    live = hot.state.sessions.by_number[1]
    hot.fast.prepare([1, 3])
    hot.state.sessions.by_number.pop(1)  # so it cannot be got to know once more
    hot.feed("s1", packet)
    assert live.opened == 1


def test_the_twin_counts_too() -> None:
    watched = PureWatched()
    watched.opened = 3
    assert watched.opened == 3
