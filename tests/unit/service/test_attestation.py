"""Tables read back: what is not as intended is put right and logged, and nothing else, whatever goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from fakes.frames import ACK, SYN_ACK, Host
from fakes.site import ALICE, BOB, DB, POLICY, PORTAL, TWO_SWITCHES, WEB, Site
from zethane.audit.reason import SessionEvent
from zethane.errors import ChannelError, SessionError
from zethane.pipeline.change import Add, Installed, Remove, RemoveMatching
from zethane.pipeline.fields import Reason, cookie, verify_meter
from zethane.pipeline.flow import Flow, Output, ToController, match
from zethane.pipeline.held import Reported, session_of
from zethane.pipeline.tables import TABLES, Priority, Table
from zethane.pipeline.verified import FIN_IDLE
from zethane.service import attestation, written
from zethane.service.clearing import LINGER
from zethane.service.points import Point
from zethane.service.reconciliation import _Leases
from zethane.service.switch import PortState

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
DESK = Host(5, "02:00:00:00:00:22", "10.0.0.22")
GHOST = Host(6, "02:00:00:00:00:66", "10.0.0.66")
STRICTER = POLICY.replace("tcp/443, udp/443", "tcp/443")


def point(site: Site, name: str = "s1") -> Point:
    return site.state.fabric.points[site.switches[name].dpid]


async def attest(site: Site, name: str = "s1") -> int:
    return await site.admin.attestation.attest(point(site, name))


def told(site: Site) -> list[str]:
    """The findings that were logged."""
    return [event for event, *_ in site.records.of("switch") if event.endswith(("-rule", "-meter", "repaired"))]


async def busy() -> Site:
    """One switch with sessions, flows of several kinds, and a connection to the portal."""
    site = await Site().start()
    for host, principal in ((WEB1, WEB), (DB1, DB), (LAPTOP, ALICE)):
        site.login(host, principal)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    site.s1.send(4, LAPTOP.udp(WEB1, 5000, 443))
    site.s1.send(4, LAPTOP.echo(WEB1))
    site.s1.send(2, WEB1.tcp(DB1, 41000, 5432))
    site.s1.send(6, GHOST.tcp(PORTAL, 50000, 8080))
    return site


async def spread() -> Site:
    """Two switches with hosts and one between them."""
    site = await Site(TWO_SWITCHES).start()
    site.login(WEB1, WEB, "s2")
    site.login(LAPTOP, ALICE, "s1")
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    site.s1.send(4, LAPTOP.udp(WEB1, 5000, 443))
    return site


def per_flow(site: Site, name: str = "s1") -> list[Flow]:
    entries = site.switches[name].tables.values()
    return [flow for flow in entries if flow.table == Table.FLOW and flow.priority == Priority.FLOW_VERIFIED]


async def test_what_is_right_is_found_right() -> None:
    site = await busy()
    before = dict(site.s1.tables)
    mods = site.s1.flow_mods
    assert await attest(site) == 0
    assert site.s1.tables == before
    assert site.s1.flow_mods == mods
    assert point(site).attested == site.now
    site = await spread()
    assert [await attest(site, name) for name in site.switches] == [0, 0, 0]


FOREIGN = [
    Flow(Table.PORT, 65535, match(in_port=6), 7, goto=Table.SOURCE),
    Flow(Table.SOURCE, 900, match(in_port=6), 7, goto=Table.FLOW),
    Flow(Table.FLOW, 65000, match(in_port=6), cookie(1, 2, 3), goto=Table.FORWARD),
    Flow(Table.RULE, 65535, (), 7),
    Flow(Table.FORWARD, 900, (), 7, actions=(Output(3),)),
]


@pytest.mark.parametrize("foreign", FOREIGN)
async def test_a_foreign_entry_goes_and_is_logged(foreign: Flow) -> None:
    site = await busy()
    before = dict(site.s1.tables)
    site.s1.apply([Add(foreign)])
    assert await attest(site) == 1
    assert site.s1.tables == before
    (record,) = [arguments for arguments in site.records.of("switch") if arguments[0] == "foreign-rule"]
    assert record[1] == "s1"
    assert f"{foreign.table.text} {foreign.priority}" in record[2]
    assert site.state.counters["foreign_rules"] == 1
    assert point(site).repaired == 1
    assert await attest(site) == 0


@pytest.mark.parametrize("table", list(Table))
async def test_a_missing_entry_comes_back(table: Table) -> None:
    site = await busy()
    before = dict(site.s1.tables)
    gone = next(flow for flow in before.values() if flow.table == table and not flow.notify_removed)
    del site.s1.tables[gone.key]
    assert await attest(site) == 1
    assert site.s1.tables == before
    assert told(site) == ["missing-rule"]


async def test_an_altered_entry_is_written_again() -> None:
    site = await busy()
    before = dict(site.s1.tables)
    misses = [flow for flow in before.values() if flow.priority == Priority.MISS]
    for flow in misses:
        port = Output(3) if TABLES[flow.table].may_output else ToController(9)
        site.s1.tables[flow.key] = (
            replace(flow, actions=(port,)) if TABLES[flow.table].may_act else replace(flow, meter=77)
        )
    assert await attest(site) == len(misses)
    assert site.s1.tables == before
    assert set(told(site)) == {"altered-rule"}


async def test_an_altered_per_flow_rule_is_written_again_and_its_flow_stays() -> None:
    site = await busy()
    before = dict(site.s1.tables)
    rule = next(flow for flow in per_flow(site) if ("ip_proto", 6, 255) in flow.match and flow.cookie >> 40 == 3)
    flows = len(site.state.flows)
    for change in (
        {"cookie": rule.cookie ^ 1},
        {"idle_timeout": 0},
        {"idle_timeout": 3000},
        {"hard_timeout": 9},
        {"goto": Table.RULE},
        {"actions": ()},
        {"notify_removed": False},
    ):
        fields = {name: getattr(rule, name) for name in Flow.__dataclass_fields__} | change
        site.s1.tables[rule.key] = Flow(**fields)  # type: ignore[arg-type]  # one of each
        assert await attest(site) == 1, change
        assert site.s1.tables == before, change
    assert set(told(site)) == {"altered-rule"}
    assert len(site.state.flows) == flows


async def test_a_per_flow_rule_whose_fin_has_passed_is_right() -> None:
    site = await busy()
    for rule in per_flow(site):
        fields = {name: getattr(rule, name) for name in Flow.__dataclass_fields__} | {"idle_timeout": FIN_IDLE}
        site.s1.tables[rule.key] = Flow(**fields)
    assert await attest(site) == 0


async def test_per_flow_rules_of_flows_that_nobody_opened_go() -> None:
    """One like those that are right, but for the port; one of a portal connection that there is not."""
    site = await busy()
    before = dict(site.s1.tables)
    for rule in per_flow(site):
        names = dict(field[:2] for field in rule.match)
        if "tcp_src" in names:
            other = match(**{name: (value, mask) for name, value, mask in rule.match} | {"tcp_src": 1, "tcp_dst": 2})
            fields = {name: getattr(rule, name) for name in Flow.__dataclass_fields__} | {"match": other}
            site.s1.tables.setdefault(other_key(other), Flow(**fields))
    added = len(site.s1.tables) - len(before)
    assert added == 6
    assert await attest(site) == added
    assert site.s1.tables == before
    assert set(told(site)) == {"foreign-rule"}
    assert len(site.state.flows) == 4


def other_key(wanted: tuple[object, ...]) -> tuple[Table, int, tuple[object, ...]]:
    return Table.FLOW, Priority.FLOW_VERIFIED, wanted


async def test_a_per_flow_rule_that_is_gone_without_a_word_comes_back() -> None:
    site = await busy()
    before = dict(site.s1.tables)
    rules = [rule for rule in per_flow(site) if rule.cookie & 0xFFFF != Reason.PORTAL]
    for rule in rules:
        del site.s1.tables[rule.key]
    assert await attest(site) == len(rules) == 8
    assert site.s1.tables == before


async def test_a_lease_that_was_lengthened_or_shortened_is_put_right() -> None:
    site = await busy()
    site.now += 600
    bound = [flow for flow in site.s1.tables.values() if flow.hard_timeout]
    assert await attest(site) == 0
    for flow, lease in zip(bound, (65000, 0, 700, 27000, 65000, 0), strict=True):
        fields = {name: getattr(flow, name) for name in Flow.__dataclass_fields__} | {"hard_timeout": lease}
        site.s1.tables[flow.key] = Flow(**fields)
    assert await attest(site) == 6
    assert {flow.hard_timeout for flow in site.s1.tables.values()} == {0, 8 * 3600 - 600}


@pytest.mark.parametrize("off", [-59, -3, 3, 12, 60])
async def test_a_lease_that_is_some_seconds_off_is_put_right_and_no_alarm(off: int) -> None:
    site = await busy()
    bound = [flow for flow in site.s1.tables.values() if flow.hard_timeout]
    for flow in bound:
        site.s1.tables[flow.key] = replace(flow, hard_timeout=flow.hard_timeout + off)
    assert await attest(site) == 0
    assert {flow.hard_timeout for flow in site.s1.tables.values()} == {0, 8 * 3600}
    assert site.state.counters["leases_corrected"] == len(bound)
    assert told(site) == []
    assert await attest(site) == 0
    assert site.state.counters["leases_corrected"] == len(bound)


async def test_very_many_inexact_leases_are_put_right_a_part_in_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attestation, "MAX_CORRECTED", 4)
    site = await busy()
    bound = [flow for flow in site.s1.tables.values() if flow.hard_timeout]
    for flow in bound:
        site.s1.tables[flow.key] = replace(flow, hard_timeout=flow.hard_timeout + 30)
    for corrected in (4, len(bound), len(bound)):
        assert await attest(site) == 0
        assert site.state.counters["leases_corrected"] == corrected
    assert {flow.hard_timeout for flow in site.s1.tables.values()} == {0, 8 * 3600}


async def test_a_lease_that_is_put_right_later_than_the_tables_were_asked_for_does_not_outlast_its_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = await busy()
    bound = [flow for flow in site.s1.tables.values() if flow.hard_timeout]
    for flow in bound:
        site.s1.tables[flow.key] = replace(flow, hard_timeout=65000)
    channel = point(site).channel
    assert channel is not None
    read = channel.read_tables

    async def read_for_long(*asked: Any, **how: Any) -> Any:
        found = await read(*asked, **how)
        site.now += 20
        return found

    monkeypatch.setattr(channel, "read_tables", read_for_long)
    assert await attest(site) == len(bound) == 6
    monkeypatch.undo()
    assert {flow.hard_timeout for flow in site.s1.tables.values()} == {0, 8 * 3600 - 20}
    assert await attest(site) == 0


@pytest.mark.parametrize("pace", [40e-6, 60e-6, 90e-6])
@pytest.mark.parametrize("entries", [2, 5_000, 200_000])
def test_leases_of_a_bundle_begin_with_its_commit_however_long_it_takes_to_write(pace: float, entries: int) -> None:
    leases, commit = _Leases(entries), pace * entries
    for number in range(entries):
        now = 100.0 + pace * number
        late = 100.0 + commit - (now + leases.until_commit(now))
        assert -2.0 <= late < 11.0, number


def bindings(site: Site, name: str = "s1") -> list[Flow]:
    """The entries of sessions that a switch holds."""
    return [flow for flow in site.switches[name].tables.values() if session_of(flow.table, flow.cookie)]


async def test_entries_of_sessions_that_are_right_are_not_looked_into() -> None:
    site = await spread()
    for _ in range(3):
        site.now += 30
        assert [await attest(site, name) for name in site.switches] == [0, 0, 0]
        assert all(switch.looked_into == [] for switch in site.switches.values())
    altered = bindings(site)[0]
    site.s1.tables[altered.key] = replace(altered, idle_timeout=9)
    assert await attest(site) == 1
    looked = {session_of(flow.table, flow.cookie) for flow in site.s1.looked_into}
    assert looked == {session_of(altered.table, altered.cookie)}


@pytest.mark.parametrize(
    "change",
    [
        None,
        {"cookie": cookie(0, 0, Reason.BINDING)},
        {"cookie": cookie(9, 0, Reason.BINDING)},
        {"hard_timeout": 0},
        {"hard_timeout": 9},
        {"hard_timeout": 65000},
        {"idle_timeout": 9},
        {"actions": ()},
        {"metadata": (7, 7)},
        {"notify_removed": True},
    ],
)
@pytest.mark.parametrize("table", [Table.SOURCE, Table.DESTINATION])
async def test_what_is_done_to_an_entry_of_a_session_that_was_right_is_found(
    table: Table, change: dict[str, object] | None
) -> None:
    site = await busy()
    assert await attest(site) == 0
    before = dict(site.s1.tables)
    for flow in [flow for flow in bindings(site) if flow.table == table]:
        if change is None:
            del site.s1.tables[flow.key]
        else:
            fields = {name: getattr(flow, name) for name in Flow.__dataclass_fields__} | change
            site.s1.tables[flow.key] = Flow(**fields)  # type: ignore[arg-type]  # one of each
        assert await attest(site) == 1
        assert site.s1.tables == before
        assert await attest(site) == 0


async def test_many_entries_are_looked_at_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    site = await spread()
    interval = site.admin.attestation.interval
    assert interval(30.0) == 30.0
    for name in site.switches:
        await attest(site, name)
    entries = sum(len(switch.tables) for switch in site.switches.values())
    assert interval(30.0) == 30.0
    monkeypatch.setattr(attestation, "PER_SECOND", 2)
    assert interval(30.0) == entries / 2 > 30.0


async def test_an_entry_more_in_a_sessions_name_is_found_and_so_is_that_of_one_that_has_ended() -> None:
    site = await busy()
    assert await attest(site) == 0
    before = dict(site.s1.tables)
    for flow in bindings(site):
        fields = {name: getattr(flow, name) for name in Flow.__dataclass_fields__} | {"priority": flow.priority + 1}
        site.s1.tables[flow.table, flow.priority + 1, flow.match] = Flow(**fields)
        assert await attest(site) == 1
        assert site.s1.tables == before
    (live, *_) = site.state.sessions.by_number.values()
    held = [flow for flow in bindings(site) if session_of(flow.table, flow.cookie) == live.session.number]
    site.admin.end_session(live.session.number, SessionEvent.REVOKED)
    for flow in held:
        site.s1.tables[flow.key] = flow
    assert await attest(site) == len(held) > 0


async def test_long_leases_that_are_renewed_in_time_are_right_all_the_while() -> None:
    site = await Site(session_lifetime=200_000.0, reauthenticate_after=200_000.0).start()
    site.login(LAPTOP, ALICE)
    for _ in range(400):
        site.now += 499
        site.admin.tick(site.now)
        assert await attest(site) == 0, site.now


async def test_a_lease_that_runs_out_while_the_answer_is_on_its_way_is_no_finding() -> None:
    site = await Site(session_lifetime=100.0, reauthenticate_after=100.0).start()
    site.login(LAPTOP, ALICE)
    site.now += 99.5
    assert await attest(site) == 0
    for flow in [flow for flow in site.s1.tables.values() if flow.hard_timeout]:
        site.s1.expire(flow, 1)
    assert await attest(site) == 0


async def test_meters_are_put_right_and_those_of_others_left_alone() -> None:
    site = await busy()
    site.s1.meters[99] = (1, 1)
    before = dict(site.s1.meters)
    del site.s1.meters[verify_meter(2)]
    site.s1.meters[verify_meter(3)] = (10**6, 10**6)
    assert await attest(site) == 2
    assert site.s1.meters == before
    assert told(site) == ["missing-meter", "altered-meter"]
    assert site.state.counters["repaired_meters"] == 2


async def test_many_findings_are_put_right_and_logged_in_bounds() -> None:
    site = await busy()
    before = dict(site.s1.tables)
    site.s1.apply([Add(Flow(Table.RULE, priority, match(metadata=priority), 7)) for priority in range(1, 1001)])
    assert await attest(site) == 1000
    assert site.s1.tables == before
    assert told(site) == ["foreign-rule"] * attestation.MAX_LOGGED + ["repaired"]
    assert site.records.of("switch")[-1][2] == f"{1000 - attestation.MAX_LOGGED} entries more"


async def test_what_is_logged_of_an_entry_is_bounded() -> None:
    site = await busy()
    long = match(**dict.fromkeys(("reg0", "reg1", "metadata", "tcp_src", "tcp_dst", "udp_src"), (21845, 30583)))
    actions = tuple(Output(port) for port in range(100))
    site.s1.apply([Add(Flow(Table.RULE, 9, long, 7)), Add(Flow(Table.FORWARD, 9, (), 7, actions=actions))])
    await attest(site)
    assert max(len(arguments[2]) for arguments in site.records.of("switch")) <= 301


async def test_a_switch_that_is_away_is_not_looked_at() -> None:
    site = await busy()
    site.s1.close("gone")
    assert await attest(site) == 0
    assert point(site).attested is None


async def test_ports_that_come_and_go_leave_their_entries_right() -> None:
    site = await busy()
    before = dict(site.s1.tables)
    site.admin.port_status(site.s1, PortState(30, "new", up=True), removed=False)
    await site.settle()
    assert len(site.s1.tables) > len(before)
    assert verify_meter(30) in site.s1.meters
    assert await attest(site) == 0
    assert len(site.state.flows) == 4
    site.admin.port_status(site.s1, PortState(30, "new", up=True), removed=True)
    await site.settle()
    assert site.s1.tables == before
    assert verify_meter(30) not in site.s1.meters
    assert await attest(site) == 0


# the network goes on


def meanwhile(site: Site, what: Callable[[], object], name: str = "s1") -> None:
    """Let something happen after the switch has looked at its tables, and before its answer is read."""
    switch = site.switches[name]

    async def answer() -> None:
        switch.answer = type(switch).answer.__get__(switch)  # type: ignore[method-assign]  # once
        what()
        await asyncio.sleep(0)

    async def skip_meters() -> None:
        switch.answer = answer  # type: ignore[method-assign]  # the answer after this one
        await asyncio.sleep(0)

    switch.answer = skip_meters  # type: ignore[method-assign]  # meters are asked for first


CHANGES: dict[str, Callable[[Site], object]] = {
    "login": lambda site: site.login(DESK, BOB),
    "logout": lambda site: site.admin.end_session(3, SessionEvent.LOGOUT),
    "new flow": lambda site: site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 443)),
    "flow idle": lambda site: [site.s1.expire(rule) for rule in per_flow(site) if rule.notify_removed],
    "portal connection": lambda site: site.s1.send(6, GHOST.tcp(PORTAL, 50001, 8080)),
    "portal connection over": lambda site: [
        site.s1.expire(rule) for rule in per_flow(site) if rule.cookie & 0xFFFF == Reason.PORTAL and rule.notify_removed
    ],
    "port down": lambda site: site.admin.port_status(site.s1, PortState(4, "p4", up=False), removed=False),
    "port gone": lambda site: site.admin.port_status(site.s1, PortState(7, "p7", up=True), removed=True),
    "port new": lambda site: site.admin.port_status(site.s1, PortState(31, "p", up=True), removed=False),
    "renewal": lambda site: site.login(LAPTOP, ALICE),
    "claim": lambda site: site.admin.claim_address(site.endpoint(Host(4, LAPTOP.mac, "10.0.0.99")), 3),
    "time": lambda site: setattr(site, "now", site.now + 20),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_what_changes_while_the_answer_is_on_its_way_is_no_finding(name: str) -> None:
    site = await busy()
    meanwhile(site, lambda: CHANGES[name](site))
    assert await attest(site) == 0
    await site.settle()
    assert told(site) == []
    assert await attest(site) == 0


async def test_a_switch_that_goes_away_while_its_answer_is_on_its_way_is_left_alone() -> None:
    site = await busy()
    site.s1.apply([Add(FOREIGN[0])])
    meanwhile(site, lambda: site.s1.close("gone"))
    with pytest.raises(ChannelError):
        await attest(site)
    assert told(site) == []
    assert site.s1.connect()
    await site.settle()
    assert FOREIGN[0].key not in site.s1.tables


async def test_a_policy_that_changes_while_the_answer_is_on_its_way_is_no_finding() -> None:
    site = await busy()
    changing: list[asyncio.Task[None]] = []
    meanwhile(site, lambda: changing.append(asyncio.get_running_loop().create_task(site.use_policy(STRICTER))))
    assert await attest(site) == 0
    await asyncio.gather(*changing)
    assert await attest(site) == 0
    assert told(site) == []


async def test_rules_that_outlive_their_flow_at_the_objects_switch_are_left_to_run_out() -> None:
    site = await spread()
    for rule in per_flow(site, "s1"):
        site.s1.expire(rule)
    assert len(site.state.flows) == 0
    assert len(per_flow(site, "s2")) == 4
    assert await attest(site, "s2") == 0
    await site.use_policy(STRICTER)
    assert await attest(site, "s2") == 0
    site.now += LINGER + 1
    assert await attest(site, "s2") == 2
    assert told(site) == ["foreign-rule"] * 2


async def test_a_busy_network_has_no_findings() -> None:
    """Everything that may happen, in any order, with passes over every switch at any moment in between."""
    random = Random(7)  # noqa: S311  # the same every time
    site = await Site(TWO_SWITCHES).start()
    hosts = {"s1": (LAPTOP, DESK), "s2": (WEB1, DB1)}
    who = {LAPTOP: ALICE, DESK: BOB, WEB1: WEB, DB1: DB}
    passes: list[asyncio.Task[int]] = []
    loop = asyncio.get_running_loop()

    def act() -> None:
        switch = random.choice(("s1", "s2"))
        host = random.choice(hosts[switch])
        other = random.choice((WEB1, DB1, LAPTOP, DESK))
        kind = random.randrange(12)
        port = 40000 + random.randrange(40)
        if kind < 2:
            site.login(host, who[host], switch)
        elif kind == 2 and random.random() < 0.2 and len(site.state.sessions):
            site.admin.end_session(random.choice(list(site.state.sessions.by_number)), SessionEvent.REVOKED)
        elif kind < 7:
            service = 5432 if host in hosts["s2"] else 443
            frame = random.choice(
                (
                    host.tcp(other, port, service),
                    host.tcp(other, port, service, ACK, b"x"),
                    host.udp(other, port, service),
                    host.echo(other),
                    host.tcp(other, service, port, SYN_ACK),
                    host.tcp(PORTAL, port, 8080),
                )
            )
            site.switches[switch].send(host.port, frame)
        elif kind < 9:
            rules = per_flow(site, switch)
            if rules:
                site.switches[switch].expire(random.choice(rules))
        elif kind == 9:
            for up in (random.random() < 0.8, True):
                site.admin.port_status(site.switches[switch], PortState(host.port, "p", up=up), removed=False)
        elif kind == 10:
            number = random.choice((20, 21))
            removed = number in point(site, switch).ports
            site.admin.port_status(site.switches[switch], PortState(number, "p", up=True), removed=removed)
        else:
            site.now += random.random() * 3
            site.admin.tick(site.now)

    for step in range(3000):
        with suppress(SessionError):  # a port that is down has no login
            act()
        if step % 7 == 0:
            passes.append(loop.create_task(attest(site, random.choice(("s1", "s2", "s3")))))
        if step % 150 == 0:
            site._spawn(site.use_policy(random.choice((POLICY, STRICTER))))
        if random.random() < 0.7:
            await asyncio.sleep(0)
    await site.settle()
    assert sum(await asyncio.gather(*passes)) == 0, [a for a in site.records.of("switch") if a[0].endswith("rule")][:5]
    assert told(site) == []
    assert site.state.counters["attestations"] > 300
    assert site.state.counters["allowed"] > 50
    assert site.state.counters["flows_ended"] > 50
    for name, switch in site.switches.items():
        switch.apply([Add(FOREIGN[0])])
        assert await attest(site, name) == 1


# slices


async def test_twenty_thousand_entries_give_way_to_others_again_and_again() -> None:
    """Counted, not timed: no more than a slice of entries is looked at between two turns of the others."""
    site = await busy()
    many = 20_000
    found = [
        Installed(Table.RULE, 1, match(metadata=number), Flow(Table.RULE, 1, match(metadata=number), 7), 0.0, 0, 0)
        for number in range(many)
    ]
    real = site.s1.read_tables

    async def read_tables(*_: object, **__: object) -> list[Reported]:
        return [*await real(), *found]

    site.s1.read_tables = read_tables  # type: ignore[method-assign]  # more than is worth writing
    turns = 0
    done = False

    async def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.get_running_loop().create_task(others())
    assert await attest(site) == many
    done = True
    await beside
    assert turns >= 2 * many // attestation.SLICE


async def test_a_pass_during_which_too_much_is_sent_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    site = await busy()
    monkeypatch.setattr(written, "MAX_WRITTEN", 10)
    site.s1.apply([Add(FOREIGN[0])])
    meanwhile(site, lambda: [site.s1.send(4, LAPTOP.tcp(WEB1, port, 443)) for port in range(40100, 40120)])
    assert await attest(site) == 0
    assert site.state.counters["attestations_abandoned"] == 1
    assert await attest(site) == 1


def test_what_was_sent_about_an_entry_is_remembered_by_what_it_covers() -> None:
    seen = written.Written()
    flow = FOREIGN[2]
    assert not seen.touches(flow.key, flow.cookie)
    seen.changes([RemoveMatching(Table.FLOW, (), cookie(1, 0, 0), 0xFFFFFF << 40)])
    assert seen.touches(flow.key, flow.cookie)
    assert not seen.touches(flow.key, cookie(2, 2, 3))
    assert not seen.touches(FOREIGN[0].key, flow.cookie)
    seen.changes([Remove(*FOREIGN[0].key), Add(FOREIGN[1])])
    assert seen.touches(FOREIGN[0].key, 0)
    assert seen.touches(FOREIGN[1].key, 0)


@pytest.mark.parametrize(("idle", "findings"), [(0, 0), (FIN_IDLE, 0), (300, 1), (1, 1)])
async def test_rules_without_timeouts_are_to_have_none_until_a_fin_has_passed(idle: int, findings: int) -> None:
    site = await Site(timed_flows_per_switch=0).start()
    for host, principal in ((WEB1, WEB), (LAPTOP, ALICE)):
        site.login(host, principal)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    assert await attest(site) == 0
    rule = per_flow(site)[0]
    fields = {name: getattr(rule, name) for name in Flow.__dataclass_fields__} | {"idle_timeout": idle}
    site.s1.tables[rule.key] = Flow(**fields)
    assert await attest(site) == findings
    assert site.s1.tables[rule.key].idle_timeout == (idle if not findings else 0)


async def test_many_flows_are_looked_at_in_pieces_that_together_are_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    site = await busy()
    before = dict(site.s1.tables)
    monkeypatch.setattr(attestation, "LARGE", 1)
    assert site.admin.attestation.in_pieces(point(site))
    gone, changed = per_flow(site)[:2]
    del site.s1.tables[gone.key]
    fields = {name: getattr(changed, name) for name in Flow.__dataclass_fields__} | {"goto": Table.RULE}
    site.s1.tables[changed.key] = Flow(**fields)
    del site.s1.tables[next(key for key in before if key[0] == Table.FLOW and key[1] != Priority.FLOW_VERIFIED)]
    for number in range(200):
        foreign = Flow(Table.FLOW, 500, match(metadata=number), number << 40 | 7, goto=Table.FORWARD)
        site.s1.tables[foreign.key] = foreign
    assert await attest(site) == 0, "the per-flow rules are not read with all the others"
    found = [await site.admin.attestation.attest_piece(point(site)) for _ in range(attestation.PIECES)]
    assert sum(found) == 203
    assert site.s1.tables == before
    assert sum([await site.admin.attestation.attest_piece(point(site)) for _ in range(attestation.PIECES)]) == 0
    assert await attest(site) == 0
