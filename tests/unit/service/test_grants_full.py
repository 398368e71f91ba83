"""Connections of grants that a switch has no room for: they are verified as flows, whichever end has none."""

from __future__ import annotations

from fakes.frames import ACK, RST, SYN_ACK, Host
from fakes.site import ALICE, TWO_SWITCHES, WEB, Site
from zethane.pipeline.fields import FABRIC, Reason, parties
from zethane.pipeline.flow import SetField
from zethane.pipeline.grants import Opening
from zethane.pipeline.tables import Priority, Table
from zethane.service.grants import CHECKED_FOR, TOLD_EVERY, UNTOLD_FOR
from zethane.service.switch import PacketIn

GRANTS = """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  staff: {groups: [staff]}
rules:
  - {id: staff-web, from: [staff], to: [web], services: [tcp/443], enforce: switch}
"""
WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
SYN = LAPTOP.tcp(WEB1, 40000, 443)


class Full:
    """Two switches without room for connections, the server at the first and its client at the second."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.web, self.laptop = site.login(WEB1, WEB).number, site.login(LAPTOP, ALICE, "s2").number

    def asks(self, switch: str, frame: bytes = SYN, table: int = Table.COMMITTED, why: Reason | None = None) -> None:
        """A switch has a packet for whose connection it has no room."""
        fabric = FABRIC if switch == "s1" else 0
        why = why or (Reason.NOT_COMMITTED if table == Table.COMMITTED else Reason.UNTRACKED)
        event = PacketIn(9 if fabric else LAPTOP.port, table, why, parties(self.laptop, self.web) | fabric, frame)
        self.site.admin.packet_in(self.site.switches[switch], event)

    def rules(self) -> list[int]:
        """How many per-flow rules each switch has."""
        held = (self.site.switches[name].tables.values() for name in ("s1", "s2"))
        return [sum(flow.table == Table.FLOW and flow.cookie >> 40 != 0 for flow in flows) for flows in held]


async def full() -> Full:
    return Full(await Site(TWO_SWITCHES, GRANTS).start())


async def test_either_end_may_have_no_room_and_the_flow_is_at_both() -> None:
    for switch in ("s2", "s1"):
        there = await full()
        there.asks(switch)
        assert there.rules() == [2, 2]
        assert there.site.switches["s1"].take() == [(WEB1.port, SYN)]
        ((flow, *_),) = there.site.records.of("allowed")
        assert (flow.subject, flow.object) == (there.laptop, there.web)
        assert there.site.records.of("denied") == []


async def test_what_is_invalid_to_either_end_is_verified_and_no_sign_of_a_full_one() -> None:
    for switch in ("s2", "s1"):
        there = await full()
        there.asks(switch, why=Reason.INVALID)
        assert there.rules() == [2, 2]
        assert len(there.site.records.of("allowed")) == 1
        assert "tracking-full" not in [told[0] for told in there.site.records.of("switch")]


async def test_a_packet_that_both_ends_ask_about_is_one_flow() -> None:
    there = await full()
    there.asks("s2")
    there.asks("s1")
    assert len(there.site.records.of("allowed")) == len(there.site.state.flows) == 1


async def test_what_no_grant_has_let_on_the_other_end_opens_nothing() -> None:
    there = await full()
    there.asks("s1", table=Table.GRANT)
    there.asks("s1", LAPTOP.tcp(WEB1, 40000, 443, ACK))
    there.asks("s1", LAPTOP.tcp(WEB1, 40000, 22))
    assert there.rules() == [0, 0]
    assert there.site.records.reasons() == ["no-flow", "no-flow", "no-rule"]


async def test_quotas_hold_for_them() -> None:
    site = await Site(TWO_SWITCHES, GRANTS, flows_per_session=3).start()
    there = Full(site)
    for port in range(40000, 40005):
        there.asks("s1", LAPTOP.tcp(WEB1, port, 443))
    assert there.rules() == [6, 6]
    assert site.records.reasons() == ["quota", "quota"]


async def test_who_runs_the_network_is_told_once_in_a_while() -> None:
    there = await full()
    for port in range(40000, 40005):
        there.asks("s1", LAPTOP.tcp(WEB1, port, 443))
    there.site.now += TOLD_EVERY
    there.asks("s1", LAPTOP.tcp(WEB1, 40009, 443))
    told = [record[:2] for record in there.site.records.of("switch") if record[0] == "tracking-full"]
    assert told == [("tracking-full", "s1")] * 2
    assert there.site.state.counters["grants_verified"] == 6


def at_once(there: Full, switch: str) -> set[int]:
    """What the entries that let openings in at once write of how: empty where they are not there."""
    flows = there.site.switches[switch].tables.values()
    found = [flow for flow in flows if (flow.table, flow.priority) == (Table.GRANT, Priority.GRANT_NEW_AT_ONCE)]
    assert len(found) in (0, 6)
    return {action.value for flow in found for action in flow.actions if isinstance(action, SetField)}


TOLD, UNTOLD = {Opening.AT_ONCE.value}, {Opening.UNTOLD.value}


def answers(there: Full, switch: str, frame: bytes) -> None:
    """A switch asks about the answer of a grant's service that belongs to no connection."""
    fabric, port = (0, WEB1.port) if switch == "s1" else (FABRIC, 9)
    metadata = parties(there.web, there.laptop) | fabric
    event = PacketIn(port, Table.RULE, Reason.NO_CONNECTION, metadata, frame)
    there.site.admin.packet_in(there.site.switches[switch], event)


async def test_an_answer_without_a_connection_has_its_switch_look_whether_there_is_room() -> None:
    there = await full()
    assert (at_once(there, "s1"), at_once(there, "s2")) == (TOLD, TOLD)
    answers(there, "s2", WEB1.tcp(LAPTOP, 443, 40000, SYN_ACK))
    assert (at_once(there, "s1"), at_once(there, "s2")) == (TOLD, set())
    assert there.site.records.reasons() == ["no-flow"]
    counters = there.site.state.counters
    assert (counters["grants_unanswered"], counters["grants_verified"]) == (1, 0)
    there.site.now += CHECKED_FOR - 1
    there.site.admin.tick(there.site.now)
    there.asks("s2")  # it has no room still
    assert (counters["grants_unanswered"], counters["grants_verified"]) == (1, 1)
    there.site.now += CHECKED_FOR - 1
    there.site.admin.tick(there.site.now)
    assert at_once(there, "s2") == set()
    there.site.now += 1
    there.site.admin.tick(there.site.now)
    assert at_once(there, "s2") == TOLD


async def test_what_is_no_answer_to_an_opening_is_no_sign() -> None:
    there = await full()
    there.asks("s2")
    there.site.state.fabric.points[there.site.switches["s2"].dpid].opening = Opening.AT_ONCE
    answers(there, "s2", WEB1.tcp(LAPTOP, 443, 40000, SYN_ACK))  # of a flow that is known
    answers(there, "s2", WEB1.tcp(LAPTOP, 443, 40001, ACK))  # of a connection that has ended for tracking
    answers(there, "s2", WEB1.tcp(LAPTOP, 443, 40001, RST))
    point = there.site.state.fabric.points[there.site.switches["s2"].dpid]
    assert point.opening is Opening.AT_ONCE
    answers(there, "s2", WEB1.udp(LAPTOP, 443, 40001))
    assert point.opening is not Opening.AT_ONCE


async def test_a_switch_that_comes_back_meanwhile_looks_as_well() -> None:
    there = await full()
    answers(there, "s2", WEB1.tcp(LAPTOP, 443, 40000, SYN_ACK))
    switch = there.site.switches["s2"]
    there.site.admin.disconnected(switch, "gone")
    switch.tables.clear()
    assert switch.connect()
    await there.site.settle()
    assert at_once(there, "s2") == set()
    there.site.now += CHECKED_FOR
    there.site.admin.tick(there.site.now)
    assert at_once(there, "s2") == TOLD


async def test_copies_are_left_out_for_a_second_where_there_are_too_many() -> None:
    there = await full()
    there.site.admin.tick(there.site.now)
    point = there.site.state.fabric.points[there.site.switches["s2"].dpid]
    rule, metadata = there.site.state.policy.rule_numbers["staff-web"], parties(there.laptop, there.web)
    most = there.site.state.limits.meters.record
    for _ in range(30):
        point.told += most // 12
        there.site.now += 0.1
        there.site.admin.tick(there.site.now)
        assert at_once(there, "s2") == TOLD
    for _ in range(most):
        copy = PacketIn(LAPTOP.port, Table.COMMITTED, rule, metadata, SYN)
        there.site.admin.packet_in(there.site.switches["s2"], copy)
    there.site.admin.tick(there.site.now)
    assert (at_once(there, "s1"), at_once(there, "s2")) == (TOLD, UNTOLD)
    there.site.now += UNTOLD_FOR / 2
    there.site.admin.tick(there.site.now)
    assert at_once(there, "s2") == UNTOLD
    there.site.now += UNTOLD_FOR / 2
    there.site.admin.tick(there.site.now)
    assert at_once(there, "s2") == TOLD
    point.told += most
    there.site.admin.tick(there.site.now)
    answers(there, "s2", WEB1.tcp(LAPTOP, 443, 40000, SYN_ACK))
    assert at_once(there, "s2") == set()
    there.site.now += CHECKED_FOR
    there.site.admin.tick(there.site.now)
    assert at_once(there, "s2") == TOLD


async def test_a_clock_that_is_set_back_keeps_no_switch_from_letting_in_at_once() -> None:
    there = await full()
    answers(there, "s2", WEB1.tcp(LAPTOP, 443, 40000, SYN_ACK))
    there.site.now -= 10
    there.site.admin.tick(there.site.now)
    assert at_once(there, "s2") == TOLD
