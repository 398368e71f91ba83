"""A switch is made right in slices: what changes meanwhile is in its tables afterwards, whenever it happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fakes.frames import Host
from fakes.site import ALICE, DB, POLICY, WEB, Site
from zethane.audit.reason import SessionEvent
from zethane.pipeline.change import Add
from zethane.pipeline.fields import split_cookie
from zethane.pipeline.flow import EntryKey, Flow, ToController, match
from zethane.pipeline.tables import Table
from zethane.service.intent import intended

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
TABLET = Host(6, "02:00:00:00:00:22", "10.0.0.22")


@pytest.fixture(autouse=True)
def _slices_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zethane.service.slices.SLICE", 1)


async def began() -> Site:
    """A controller after a restart, whose switch has some of what it should, and something of somebody else."""
    site = await Site().start()
    for host, who in ((WEB1, WEB), (DB1, DB), (LAPTOP, ALICE)):
        site.login(host, who)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    again = Site(store=site.store)
    again.now = site.now + 1
    kept = dict(list(site.s1.tables.items())[1::2])
    again.s1.tables = kept | {key: flow for key, flow in site.s1.tables.items() if key[0] == Table.FLOW}
    again.s1.added = dict.fromkeys(again.s1.tables, site.now)
    again.s1.apply([Add(Flow(Table.RULE, 65535, match(eth_type=0x0800), 7, actions=(ToController(),)))])
    again.admin.restore(again.store.sessions())
    return again


def end(site: Site) -> None:
    (number,) = [live.session.number for live in site.state.sessions if live.session.principal.name == "alice"]
    site.admin.end_session(number, SessionEvent.REVOKED)


def end_and_begin_again(site: Site) -> None:
    end(site)
    site.login(LAPTOP, ALICE)


def begin(site: Site) -> None:
    site.login(TABLET, WEB)


def change_policy(site: Site) -> None:
    text = POLICY.replace("tcp/443", "tcp/8443", 1)
    assert text != POLICY
    site._spawn(site.use_policy(text))


def bodies(tables: dict[EntryKey, Flow]) -> dict[EntryKey, tuple[object, ...]]:
    """Without the rules of flows, which are nobody's intent."""
    return {key: flow.body for key, flow in tables.items() if key[0] != Table.FLOW or flow.goto != Table.FORWARD}


CHANGES: list[Callable[[Site], None]] = [end, begin, end_and_begin_again, change_policy]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("turns", [*range(12), *range(12, 160, 7)])
async def test_a_change_in_the_middle_is_in_the_tables_at_the_end(change: Callable[[Site], None], turns: int) -> None:
    site = await began()
    assert site.s1.connect()
    for _ in range(turns):
        await asyncio.sleep(0)
    change(site)
    await site.settle()
    point = site.state.fabric.points[site.s1.dpid]
    wanted = {flow.key: flow for flow in intended(site.state, point).values()}
    assert bodies(site.s1.tables) == bodies(wanted)
    assert point.ready
    assert point.missed is None
    live = {live.session.number for live in site.state.sessions}
    assert all({flow.subject, flow.object} <= live for flow in site.state.flows.by_key.values())


@pytest.mark.parametrize("turns", [*range(12), *range(12, 60, 7)])
async def test_a_session_that_ends_meanwhile_loses_what_the_switch_held_of_it_at_once(turns: int) -> None:
    """It does what it did before until it is right: an old entry would let the session's packets pass until then."""
    site = await began()
    assert site.s1.connect()
    for _ in range(turns):
        await asyncio.sleep(0)
    (number,) = [live.session.number for live in site.state.sessions if live.session.principal.name == "alice"]

    def bound() -> list[EntryKey]:
        tables = (Table.SOURCE, Table.DESTINATION)
        return [
            key for key, flow in site.s1.tables.items() if key[0] in tables and number in split_cookie(flow.cookie)[:2]
        ]

    assert bound()
    end(site)
    assert bound() == []
    await site.settle()
    assert bound() == []


async def test_leases_that_ran_on_while_it_was_made_right_end_no_later() -> None:
    """The clock goes on between two slices: what is written late is written for less time."""
    site = await began()
    ends = {live.session.number: live.session.ends for live in site.state.sessions}
    assert site.s1.connect()
    while site._tasks and not all(task.done() for task in site._tasks):
        site.now += 0.7
        await asyncio.sleep(0)
    await site.settle()
    left = {
        ends[split_cookie(flow.cookie)[0]] - site.s1.bundled[key] - flow.hard_timeout
        for key, flow in site.s1.tables.items()
        if key[0] == Table.SOURCE and key in site.s1.bundled and flow.hard_timeout
    }
    assert left
    assert all(0 <= early <= 2 for early in left)


async def test_a_connection_that_goes_while_it_is_made_right_leaves_nothing_behind() -> None:
    site = await began()
    assert site.s1.connect()
    for _ in range(20):
        await asyncio.sleep(0)
    site.admin.disconnected(site.s1, "gone")
    await site.settle()
    point = site.state.fabric.points[site.s1.dpid]
    assert (point.ready, point.missed) == (False, None)
    assert site.s1.connect()
    await site.settle()
    assert point.ready


async def test_where_too_much_changes_meanwhile_it_is_started_over_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zethane.service.reconciliation.MAX_MISSED", 0)
    site = await began()
    assert site.s1.connect()
    for _ in range(20):
        await asyncio.sleep(0)
    begin(site)
    await site.settle()
    assert site.s1.closed is not None
    assert "too much has changed" in site.s1.closed
