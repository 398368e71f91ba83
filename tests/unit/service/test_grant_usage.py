"""What sessions and rules have carried through connections that switches let in by themselves, and who tells."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.frames import Host
from fakes.site import ALICE, TWO_SWITCHES, WEB, Site
from fakes.switch import FakeSwitch
from zethane.audit.reason import SessionEvent
from zethane.pipeline.fields import FABRIC, split_cookie
from zethane.pipeline.flow import Flow
from zethane.pipeline.held import Reported
from zethane.pipeline.tables import Table
from zethane.service.counts import Counts, RuleCounts
from zethane.service.grant_usage import EVERY, LAST_COUNTS_DUE
from zethane.service.usage import Usage

GRANTS = """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  staff: {groups: [staff]}
rules:
  - {id: staff-web, from: [staff], to: [web], services: [tcp/443], enforce: switch}
  - {id: staff-db, from: [staff], to: [db], services: [tcp/5432]}
"""
WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")


async def site_of(network: str = TWO_SWITCHES) -> Site:
    site = await Site(network, GRANTS).start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, ALICE, "s2")
    return site


def entries(switch: FakeSwitch, table: Table, number: int) -> list[Flow]:
    """The two entries of a session."""
    found = [flow for flow in switch.tables.values() if flow.table == table and number in split_cookie(flow.cookie)[:2]]
    assert len(found) == 2
    return found


def count(switch: FakeSwitch, table: Table, number: int, *counts: tuple[int, int]) -> None:
    """What the entries of a session have counted."""
    for flow, counted in zip(entries(switch, table, number), counts, strict=True):
        switch.counted[flow.key] = counted


async def read(site: Site, switch: str) -> None:
    assert await site.admin.attestation.attest(site.state.fabric.by_name[switch]) == 0


async def test_a_session_is_told_of_with_all_that_it_has_sent_and_received() -> None:
    site = await site_of()
    count(site.switches["s2"], Table.CONNECTION, 2, (10, 1000), (2, 200))
    count(site.switches["s2"], Table.OWNER, 2, (7, 700), (0, 0))
    await read(site, "s2")
    ((session, counts, reason, moment),) = site.records.of("session_usage")
    assert (session.number, counts, reason, moment) == (2, Counts(12, 1200, 7, 700), "interval", site.now)
    assert site.state.counters["granted_packets"] == 12
    assert site.state.counters["granted_bytes"] == 1200


async def test_nothing_is_told_twice_nor_more_often_than_it_may_be() -> None:
    site = await site_of()
    s2 = site.switches["s2"]
    count(s2, Table.CONNECTION, 2, (10, 1000), (0, 0))
    await read(site, "s2")
    site.now += EVERY
    await read(site, "s2")
    count(s2, Table.CONNECTION, 2, (11, 1100), (0, 0))
    await read(site, "s2")
    site.now += 1
    count(s2, Table.CONNECTION, 2, (12, 1200), (0, 0))
    await read(site, "s2")
    assert [counts.sent_packets for _, counts, *_ in site.records.of("session_usage")] == [10, 11]


async def test_only_a_sessions_own_switch_is_believed() -> None:
    site = await site_of()
    count(site.s1, Table.CONNECTION, 2, (10, 1000), (0, 0))
    await read(site, "s1")
    site.admin.end_session(2, SessionEvent.REVOKED)
    assert site.records.of("session_usage") == []


async def test_the_last_record_has_what_the_entries_had_counted_when_they_went() -> None:
    site = await site_of()
    s2 = site.switches["s2"]
    count(s2, Table.CONNECTION, 2, (10, 1000), (0, 0))
    await read(site, "s2")
    count(s2, Table.CONNECTION, 2, (13, 1300), (1, 50))
    count(s2, Table.OWNER, 2, (5, 500), (1, 60))
    site.admin.end_session(2, SessionEvent.REVOKED)
    (_, (session, counts, reason, _)) = site.records.of("session_usage")
    assert (session.number, counts, reason) == (2, Counts(14, 1350, 6, 560), "session-ended")
    assert not site.admin.grant_usage.is_closing(2)


async def test_a_session_that_ends_at_a_switch_that_is_away_is_told_of_with_what_was_known() -> None:
    site = await site_of()
    s2 = site.switches["s2"]
    count(s2, Table.CONNECTION, 2, (10, 1000), (0, 0))
    site.now += 1
    await read(site, "s2")
    count(s2, Table.CONNECTION, 2, (12, 1200), (0, 0))
    await read(site, "s2")
    s2.close("away")
    site.admin.end_session(2, SessionEvent.REVOKED)
    assert site.admin.grant_usage.is_closing(2)
    assert site.admin.grant_usage.of(2).sent_packets == 12
    site.now += LAST_COUNTS_DUE
    site.admin.tick(site.now)
    assert not site.admin.grant_usage.is_closing(2)
    assert [(c.sent_packets, why) for _, c, why, _ in site.records.of("session_usage")] == [
        (10, "interval"),
        (12, "session-ended"),
    ]


async def test_totals_never_go_back() -> None:
    """A switch that has begun anew, or an entry that was written again, counts from nothing."""
    site = await site_of()
    s2 = site.switches["s2"]
    for number, counted in enumerate((10, 3, 4), 1):
        count(s2, Table.CONNECTION, 2, (counted, 100 * counted), (0, 0))
        await read(site, "s2")
        site.now += EVERY
        assert len(site.records.of("session_usage")) == number
    assert [counts.sent_packets for _, counts, *_ in site.records.of("session_usage")] == [10, 13, 14]


async def test_an_entry_that_goes_while_the_switch_is_read_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read has the entry still, and so has the report that it is gone."""
    site = await site_of()
    s2 = site.switches["s2"]
    count(s2, Table.CONNECTION, 2, (10, 1000), (5, 500))
    await read(site, "s2")
    site.now += EVERY
    count(s2, Table.CONNECTION, 2, (12, 1200), (6, 600))
    gone, stays = entries(s2, Table.CONNECTION, 2)
    read_tables = s2.read_tables

    async def then_gone(*which: Any, **how: Any) -> list[Reported]:
        found = await read_tables(*which, **how)
        s2.expire(gone)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(s2, "read_tables", then_gone)
        await site.admin.attestation.attest(site.state.fabric.by_name["s2"])
    assert site.admin.grant_usage.of(2).sent_packets == 15
    s2.counted[stays.key] = (7, 700)
    site.now += EVERY
    assert await site.admin.attestation.attest(site.state.fabric.by_name["s2"]) == 1  # written again
    assert site.admin.grant_usage.of(2) == Counts(19, 1900)
    assert [counts.sent_packets for _, counts, *_ in site.records.of("session_usage")] == [15, 19]


async def test_what_entries_had_counted_that_go_while_the_session_stays_is_kept() -> None:
    site = await site_of()
    count(site.switches["s2"], Table.CONNECTION, 2, (10, 1000), (0, 0))
    await read(site, "s2")
    await site.use_policy(GRANTS.replace(", enforce: switch", "").replace("id: staff-web", "id: other"))
    await site.use_policy(GRANTS)
    count(site.switches["s2"], Table.CONNECTION, 2, (1, 100), (0, 0))
    site.now += EVERY
    await read(site, "s2")
    assert [counts.sent_packets for _, counts, *_ in site.records.of("session_usage")][-1] == 11


async def test_a_session_without_such_connections_is_not_told_of() -> None:
    site = await site_of()
    await read(site, "s2")
    site.admin.end_session(2, SessionEvent.LOGOUT)
    site.admin.tick(site.now + LAST_COUNTS_DUE)
    assert site.records.of("session_usage") == []


async def test_a_rule_is_told_of_with_what_has_come_since_and_connections_where_they_begin() -> None:
    site = await site_of()
    s2 = site.switches["s2"]
    rule = site.state.policy.rule_numbers["staff-web"]
    for flow in s2.tables.values():
        if split_cookie(flow.cookie) == (0, 0, rule) and flow.table == Table.COMMITTED:
            is_here = any(name == "metadata" and not value & FABRIC for name, value, _ in flow.match)
            s2.counted[flow.key] = (1, 60) if is_here else (90, 9000)  # looked at, let in at once, and told or not
        elif split_cookie(flow.cookie) == (0, 0, rule) and flow.table == Table.RULE:
            s2.counted[flow.key] = (20, 2000)
    await read(site, "s2")
    ((name, switch, counts, _),) = site.records.of("rule_usage")
    assert (name, switch, counts.connections) == ("staff-web", "s2", 3)
    ways = counts.packets // 20
    assert counts == RuleCounts(3, 20 * ways, 2000 * ways)
    site.now += EVERY
    await read(site, "s2")
    assert len(site.records.of("rule_usage")) == 1


async def test_what_a_rule_had_let_in_before_this_controller_is_not_told_again() -> None:
    site = await site_of()
    s2 = site.switches["s2"]
    rule = site.state.policy.rule_numbers["staff-web"]
    flow = next(
        flow
        for flow in s2.tables.values()
        if (flow.table, split_cookie(flow.cookie)[2]) == (Table.COMMITTED, rule)
        and ("metadata", 0, FABRIC) in flow.match
    )
    s2.counted[flow.key], s2.added[flow.key] = (3, 180), site.now - 5
    await read(site, "s2")
    assert site.records.of("rule_usage") == []
    s2.counted[flow.key] = (5, 300)
    await read(site, "s2")
    assert [counts.connections for *_, counts, _ in site.records.of("rule_usage")] == [2]


async def test_radius_accounting_has_what_such_connections_carried_besides_flows() -> None:
    site = await site_of()
    usage = Usage(site.state, site.admin.grant_usage)
    usage.follow(2)
    count(site.switches["s2"], Table.CONNECTION, 2, (10, 1000), (0, 0))
    count(site.switches["s2"], Table.OWNER, 2, (5, 500), (0, 0))
    await read(site, "s2")
    assert await usage.read(2) == Counts(10, 1000, 5, 500)
    site.admin.end_session(2, SessionEvent.LOGOUT)
    assert usage.is_final(2)
    assert await usage.read(2) == Counts(10, 1000, 5, 500)


@pytest.mark.parametrize("table", [Table.CONNECTION, Table.OWNER])
async def test_only_a_sessions_own_switch_reports_the_end_of_its_entries(table: Table) -> None:
    site = await site_of()
    assert all(flow.notify_removed for flow in entries(site.switches["s2"], table, 2))
    assert not any(flow.notify_removed for flow in entries(site.s1, table, 2))
