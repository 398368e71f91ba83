"""Connections of grants that a switch has no room for: they are verified as flows, whichever end has none."""

from __future__ import annotations

from fakes.frames import ACK, Host
from fakes.site import ALICE, TWO_SWITCHES, WEB, Site
from zethane.pipeline.fields import FABRIC, Reason, parties
from zethane.pipeline.tables import Table
from zethane.service.grants import TOLD_EVERY
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
