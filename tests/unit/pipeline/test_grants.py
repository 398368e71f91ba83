"""Grants evaluated in Python: several switches, networks outside, hours, and a full table of connections."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.frames import ACK, SYN, SYN_ACK, Host, mac, packed
from fakes.site import ALICE, BOB, TWO_SWITCHES, WEB, Site
from zethane.audit.reason import SessionEvent
from zethane.net.flowkey import ETH_IPV4, TCP, UDP
from zethane.pipeline.connections import Connections
from zethane.pipeline.fields import (
    ANSWERS,
    CT_INVALID,
    CT_TRACKED,
    FABRIC,
    LET_IN,
    OPENED,
    Reason,
    opening_meter,
    verify_meter,
)
from zethane.pipeline.grants import Opening, Tracking
from zethane.pipeline.simulate import Outcome, Simulator
from zethane.pipeline.tables import VLAN_PRESENT, Priority, Table
from zethane.policy.load import parse_policy
from zethane.service.intent import intended
from zethane.service.policy_in_force import PolicyInForce
from zethane.service.policy_numbers import Numbering

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
SEGMENTS = """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  staff: {groups: [staff]}
rules:
"""
GRANTS = f"{SEGMENTS}  - {{id: web, from: [staff], to: [web], services: [tcp/443, udp/443], enforce: switch}}\n"


def packet(source: Host, to: Host, proto: int, ports: tuple[int, int], flags: int = 0) -> dict[str, int]:
    name = {TCP: "tcp", UDP: "udp"}[proto]
    found = {
        "in_port": source.port,
        "eth_src": int.from_bytes(mac(source.mac), "big"),
        "eth_dst": int.from_bytes(mac(to.mac), "big"),
        "eth_type": ETH_IPV4,
        "ipv4_src": int.from_bytes(packed(source.ip), "big"),
        "ipv4_dst": int.from_bytes(packed(to.ip), "big"),
        "ip_proto": proto,
        f"{name}_src": ports[0],
        f"{name}_dst": ports[1],
    }
    return found | ({"tcp_flags": flags} if proto == TCP else {})


class Switches:
    """The switches of a site with the connections that they have let in."""

    def __init__(self, site: Site, room: int | None = None) -> None:
        self.site = site
        self.connections = Connections(room)

    def through(self, name: str, fields: dict[str, int]) -> Outcome:
        point = self.site.state.fabric.points[self.site.switches[name].dpid]
        return Simulator(intended(self.site.state, point).values(), self.connections).run(fields)

    def arrives(self, source: str, target: str, fields: dict[str, int]) -> Outcome:
        """What the far switch does with a packet that the near one has let on."""
        sent = self.through(source, fields)
        assert len(sent.ports) == 1, sent.path
        point = self.site.state.fabric.points[self.site.switches[target].dpid]
        assert sent.vlans == [point.number]
        return self.through(target, fields | {"in_port": 9, "vlan_vid": VLAN_PRESENT | point.number})


async def two_switches() -> Switches:
    site = await Site(TWO_SWITCHES, GRANTS).start()
    site.state.fabric.tracking = Tracking(100, 7)
    site.login(WEB1, WEB, "s2")
    site.login(LAPTOP, ALICE, "s1")
    return Switches(site)


async def test_both_switches_let_a_connection_in_each_in_its_own_zone() -> None:
    switches = await two_switches()
    there, back = (LAPTOP, WEB1, TCP, (40000, 443)), (WEB1, LAPTOP, TCP, (443, 40000))
    near = switches.through("s1", packet(*there, SYN))
    assert (near.to_controller, near.last.table if near.last else None) == (True, Table.COMMITTED)
    far = switches.arrives("s1", "s2", packet(*there, SYN))
    assert (far.ports, far.to_controller) == ([WEB1.port], False)  # the log is told where it began
    assert len(switches.connections) == 2
    answer = switches.arrives("s2", "s1", packet(*back, SYN_ACK))
    assert answer.ports == [LAPTOP.port]
    assert answer.fields["metadata"] & (ANSWERS | OPENED | FABRIC) == ANSWERS | FABRIC
    on = switches.arrives("s1", "s2", packet(*there, ACK))
    assert (on.ports, on.fields["metadata"] & (ANSWERS | OPENED)) == ([WEB1.port], OPENED)


async def test_each_end_holds_a_packet_against_its_own_sessions() -> None:
    switches = await two_switches()
    there = packet(LAPTOP, WEB1, TCP, (40000, 443), ACK)
    switches.arrives("s1", "s2", packet(LAPTOP, WEB1, TCP, (40000, 443), SYN))
    assert switches.arrives("s1", "s2", there).ports
    (number,) = [one.session.number for one in switches.site.state.sessions if one.session.segment == "staff"]
    switches.site.admin.end_session(number, SessionEvent.REVOKED)
    assert not switches.through("s1", there).ports
    assert not switches.through("s2", there | {"in_port": 9, "vlan_vid": VLAN_PRESENT | 2}).ports
    switches.site.login(LAPTOP, BOB, "s1")
    stale = switches.through("s1", there)
    assert (stale.ports, stale.last.cookie if stale.last else 0) == ([], Reason.UNTRACKED)


async def one_switch(how: Opening, room: int | None = None) -> Switches:
    site = await Site(policy=GRANTS).start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, ALICE)
    site.state.fabric.points[site.s1.dpid].opening = how
    return Switches(site, room)


@pytest.mark.parametrize("proto", [TCP, UDP])
async def test_an_opening_goes_on_as_its_connection_is_taken_up_or_once_it_is_known_to_be(proto: int) -> None:
    opening = packet(LAPTOP, WEB1, proto, (40000, 443), SYN)
    answer = packet(WEB1, LAPTOP, proto, (443, 40000), SYN_ACK)
    for how in Opening:
        switches = await one_switch(how)
        opened = switches.through("s1", opening)
        assert (opened.ports, opened.to_controller) == ([WEB1.port], how is not Opening.UNTOLD)
        assert opened.last is not None
        assert (opened.last.table == Table.FORWARD) is (how is Opening.UNTOLD)
        rule = switches.site.state.policy.rule_numbers["web"]
        assert [flow.cookie for flow in opened.path if flow.table == Table.COMMITTED] == [rule]
        assert opening_meter(LAPTOP.port) in [flow.meter for flow in opened.passed]
        assert switches.through("s1", answer).ports == [LAPTOP.port]


@pytest.mark.parametrize("how", [Opening.AT_ONCE, Opening.UNTOLD])
async def test_what_is_let_in_at_once_without_room_gets_no_answer_and_the_controller_is_told(how: Opening) -> None:
    switches = await one_switch(how, room=0)
    for proto in (TCP, UDP):
        assert switches.through("s1", packet(LAPTOP, WEB1, proto, (40000, 443), SYN)).ports == [WEB1.port]
        answer = switches.through("s1", packet(WEB1, LAPTOP, proto, (443, 40000), SYN_ACK))
        assert (answer.ports, answer.to_controller) == ([], True)
        assert answer.last is not None
        assert (answer.last.table, answer.last.cookie) == (Table.RULE, Reason.NO_CONNECTION)


async def test_what_tracking_has_no_room_for_is_verified_where_it_is_looked() -> None:
    switches = await one_switch(Opening.CHECKED, room=1)
    assert switches.through("s1", packet(LAPTOP, WEB1, TCP, (40000, 443), SYN)).ports == [WEB1.port]
    full = switches.through("s1", packet(LAPTOP, WEB1, UDP, (40000, 443)))
    assert (full.ports, full.last.cookie if full.last else 0) == ([], Reason.NOT_COMMITTED)
    assert (full.to_controller, full.sampled_by and full.sampled_by.meter) == (True, verify_meter(LAPTOP.port))
    again = switches.through("s1", packet(LAPTOP, WEB1, TCP, (40000, 443), SYN))
    assert again.ports == [WEB1.port]  # it is there already


async def test_what_tracking_takes_for_no_beginning_is_verified_whatever_its_label() -> None:
    switches = await one_switch(Opening.CHECKED)
    opened = switches.through("s1", packet(LAPTOP, WEB1, TCP, (40000, 443), SYN))
    point = switches.site.state.fabric.points[switches.site.switches["s1"].dpid]
    simulator = Simulator(intended(switches.site.state, point).values())
    for label in (opened.fields["ct_label"], 0):
        wrong = opened.fields | {"ct_state": CT_TRACKED | CT_INVALID, "ct_label": label}
        found = simulator.run_from(Table.COMMITTED, wrong)
        assert (found.ports, found.last.cookie if found.last else 0) == ([], Reason.INVALID)
        assert (found.to_controller, found.sampled_by and found.sampled_by.meter) == (True, verify_meter(LAPTOP.port))


@pytest.mark.parametrize("how", Opening)
async def test_a_datagram_that_tracking_finds_invalid_is_never_let_in_at_once(how: Opening) -> None:
    switches = await one_switch(how)
    opened = switches.through("s1", packet(LAPTOP, WEB1, UDP, (40000, 443)))
    point = switches.site.state.fabric.points[switches.site.switches["s1"].dpid]
    simulator = Simulator(intended(switches.site.state, point).values())
    wrong = opened.fields | {"ct_state": CT_TRACKED | CT_INVALID, "ct_label": 0, LET_IN: 0}
    found = simulator.run_from(Table.GRANT, wrong)
    assert not any(flow.priority == Priority.GRANT_NEW_AT_ONCE for flow in found.path)


async def test_grants_cost_entries_by_session_and_none_by_pair() -> None:
    def count(site: Site, *tables: Table) -> int:
        point = site.state.fabric.points[site.s1.dpid]
        return sum(flow.table in tables for flow in intended(site.state, point).values())

    sizes = []
    for hosts in (2, 4, 6):
        site = await Site(policy=GRANTS).start()
        site.login(WEB1, WEB)
        for number in range(hosts):
            site.login(Host(3 + number, f"02:00:00:00:01:{number:02x}", f"10.0.1.{number + 1}"), ALICE)
        sizes.append((count(site, Table.CONNECTION, Table.OWNER), count(site, Table.RULE, Table.FLOW, Table.GRANT)))
    ends = [size for size, _ in sizes]
    assert [size - ends[0] for size in ends] == [0, 2 * 4, 4 * 4]
    assert len({rest for _, rest in sizes}) == 1


async def test_a_site_without_grants_has_no_entries_for_them() -> None:
    site = await Site().start()
    site.login(LAPTOP, ALICE)
    point = site.state.fabric.points[site.s1.dpid]
    tables = [flow.table for flow in intended(site.state, point).values() if flow.source]
    assert not {Table.CONNECTION, Table.OWNER, Table.COMMITTED} & set(tables)


async def test_the_first_grants_of_a_running_site_reach_sessions_that_are_there() -> None:
    site = await Site(policy=GRANTS.replace(", enforce: switch", "")).start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, ALICE)
    await site.use_policy(GRANTS)
    point = site.state.fabric.points[site.s1.dpid]
    assert site.s1.tables.items() >= intended(site.state, point).items()
    assert await site.admin.attestation.attest(point) == 0
    site.admin.end_session(2, SessionEvent.REVOKED)
    assert await site.admin.attestation.attest(point) == 0


@pytest.mark.parametrize(("when", "is_open"), [("00:00-24:00", True), ("00:00-00:01", False)])
async def test_hours_take_a_grant_away_and_give_it_back(when: str, is_open: bool) -> None:
    text = GRANTS.replace("enforce", f'when: {{hours: "Mon-Sun {when} UTC"}}, enforce')
    site = await Site(policy=text).start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, ALICE)
    outcome = Switches(site).through("s1", packet(LAPTOP, WEB1, TCP, (40000, 443), SYN))
    assert bool(outcome.ports) == is_open


def test_entries_follow_from_those_before_as_if_made_anew() -> None:
    """Grants that come, change, become verified and go, with denies beside them."""
    deny = "  - {id: no, from: [any], to: [web], services: [tcp/443], action: deny}\n"
    other = "  - {id: all, from: [any], to: [any], services: [any]}\n"
    texts = [GRANTS, GRANTS + deny, GRANTS + deny + other, GRANTS.replace(", enforce: switch", "") + deny, SEGMENTS]
    texts = [text if text != SEGMENTS else SEGMENTS.replace("rules:", "rules: []") for text in texts]
    site: Any = Site(policy=SEGMENTS.replace("rules:", "rules: []"))
    held = {flow.key: flow.body for flow in site.state.policy.flows}
    for text in [*texts, *reversed(texts)]:
        before: PolicyInForce = site.state.policy
        numbering = Numbering(site.store)
        new = before.succeeded_by(parse_policy(text, "policy.yaml"), numbering, site.now)
        numbering.keep()
        removed, added = before.difference(new)
        for key in removed:
            del held[key]
        held |= {flow.key: flow.body for flow in added}
        assert held == {flow.key: flow.body for flow in new.flows}
        site.state.policy = new
