"""A switch that was taken over: it can lie about its own hosts, and do nothing in the name of others'."""

from __future__ import annotations

import pytest

from fakes.frames import ACK, SYN, SYN_ACK, Host
from fakes.site import ALICE, DB, PORTAL, TWO_SWITCHES, WEB, Site
from fakes.switch import FakeSwitch
from zethane.net.flowkey import parse_frame
from zethane.pipeline.fields import PORTAL_NUMBER, Reason, cookie, parties, verify_meter
from zethane.pipeline.tables import Table
from zethane.service.connected_switches import MAX_PORTS
from zethane.service.switch import FlowRemoved, PacketIn, PortState

LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP_NUMBER, WEB1_NUMBER, DB1_NUMBER = 1, 2, 3


async def site_with_a_traitor() -> Site:
    """The laptop at s1, web1 at s2, db1 at s3: s3 is the switch that was taken over."""
    site = await Site(TWO_SWITCHES).start()
    site.login(LAPTOP, ALICE, "s1")
    site.login(WEB1, WEB, "s2")
    site.login(DB1, DB, "s3")
    return site


def deliveries(site: Site) -> list[bytes]:
    return [frame for switch in site.switches.values() for _, frame in switch.take()]


def claim(site: Site, frame: bytes, subject: int, obj: int, *, switch: str = "s3", port: int = 1) -> None:
    """A packet-in that the pipeline of this switch would never have sent."""
    rule = site.store.numbers("rule")["staff-web"]
    event = PacketIn(port, Table.RULE, cookie(0, 0, rule), parties(subject, obj), frame)
    site.admin.packet_in(site.switches[switch], event)


def per_flow_rules(switch: FakeSwitch) -> int:
    return sum(flow.table == Table.FLOW and flow.idle_timeout > 0 for flow in switch.tables.values())


def open_flow(site: Site) -> None:
    claim(site, LAPTOP.tcp(WEB1, 40000, 443), LAPTOP_NUMBER, WEB1_NUMBER, switch="s1", port=4)
    assert len(site.admin.state.flows) == 1
    assert len(deliveries(site)) == 1


@pytest.mark.parametrize("switch", ["s2", "s3"])
async def test_no_switch_opens_a_flow_for_a_session_at_another(switch: str) -> None:
    site = await site_with_a_traitor()
    claim(site, LAPTOP.tcp(WEB1, 40000, 443), LAPTOP_NUMBER, WEB1_NUMBER, switch=switch)
    assert not deliveries(site)
    assert not len(site.admin.state.flows)
    assert not any(per_flow_rules(one) for one in site.switches.values())


async def test_a_third_switch_sends_nothing_into_a_flow_between_others() -> None:
    site = await site_with_a_traitor()
    open_flow(site)
    claim(site, LAPTOP.tcp(WEB1, 40000, 443, ACK, b"injected"), LAPTOP_NUMBER, WEB1_NUMBER)
    claim(site, WEB1.tcp(LAPTOP, 443, 40000, SYN_ACK), WEB1_NUMBER, LAPTOP_NUMBER)
    assert not deliveries(site)
    assert site.records.reasons() == ["wrong-switch", "wrong-switch"]


async def test_a_third_switch_sends_no_error_about_a_flow_between_others() -> None:
    site = await site_with_a_traitor()
    open_flow(site)
    error = WEB1.unreachable(LAPTOP, LAPTOP.tcp(WEB1, 40000, 443))
    claim(site, error, WEB1_NUMBER, LAPTOP_NUMBER)
    assert not deliveries(site)
    assert site.records.reasons() == ["wrong-switch"]


async def test_the_switch_at_the_other_end_may_ask_about_a_flow() -> None:
    """Its rule may be gone while the other switch's still is there."""
    site = await site_with_a_traitor()
    open_flow(site)
    data = LAPTOP.tcp(WEB1, 40000, 443, ACK, b"hello")
    claim(site, data, LAPTOP_NUMBER, WEB1_NUMBER, switch="s2", port=9)
    assert deliveries(site) == [data]


async def test_a_third_switch_does_not_end_a_flow_between_others() -> None:
    """The flow would go on in the switches, and a new policy would not know of it."""
    site = await site_with_a_traitor()
    open_flow(site)
    (flow,) = site.admin.state.flows.by_key.values()
    for key in (flow.key, flow.key.reverse()):
        event = FlowRemoved(cookie(flow.subject, flow.object, flow.rule), 0, key, 1, 1, 300, 0, 0)
        site.admin.flow_removed(site.switches["s3"], event)
        site.admin.flow_removed(site.switches["s2"], event)
    assert len(site.admin.state.flows) == 1
    assert site.admin.state.sessions.by_number[LAPTOP_NUMBER].opened == 1
    await site.use_policy("version: 1\nsegments: {web: {labels: {tier: web}}, db: {labels: {tier: db}}, "
                          "staff: {groups: [staff]}}\n")  # fmt: skip
    assert not any(per_flow_rules(one) for one in site.switches.values())


async def test_a_third_switch_does_not_settle_the_account_of_a_flow_that_was_taken_back() -> None:
    site = await site_with_a_traitor()
    open_flow(site)
    (flow,) = site.admin.state.flows.by_key.values()
    site.admin.state.flows.close(flow, "policy-changed", site.now)
    for key in (flow.key, flow.key.reverse()):
        why = cookie(flow.subject, flow.object, flow.rule)
        site.admin.flow_removed(site.switches["s3"], FlowRemoved(why, 2, key, 10**9, 10**12, 300, 0, 0))
    assert not site.records.of("flow_ended")


# the portal


def portal_packet(site: Site, frame: bytes, metadata: int, switch: str, port: int) -> None:
    event = PacketIn(port, Table.RULE, cookie(0, 0, Reason.PORTAL), metadata, frame)
    site.admin.packet_in(site.switches[switch], event)


TO_PORTAL, FROM_PORTAL = parties(0, PORTAL_NUMBER), parties(PORTAL_NUMBER, 0)


async def site_with_a_login() -> Site:
    """A host at s2 has a connection to the portal at s1."""
    site = await site_with_a_traitor()
    portal_packet(site, WEB1.tcp(PORTAL, 40000, 8080), TO_PORTAL, "s2", 2)
    assert [port for port, _ in site.s1.take()] == [1]
    return site


async def test_a_third_switch_sends_nothing_to_the_portal_in_anothers_connection() -> None:
    site = await site_with_a_login()
    for port in (1, 2, 5):
        portal_packet(site, WEB1.tcp(PORTAL, 40000, 8080, ACK, b"evil"), TO_PORTAL, "s3", port)
    assert not deliveries(site)
    assert set(site.records.reasons()) == {"address-in-use"}


async def test_a_third_switch_sends_nothing_to_a_client_in_the_name_of_the_portal() -> None:
    site = await site_with_a_login()
    portal_packet(site, PORTAL.tcp(WEB1, 8080, 40000, ACK, b"evil"), FROM_PORTAL, "s3", 1)
    assert not deliveries(site)
    assert site.records.reasons() == ["wrong-switch"]


async def test_packets_of_a_connection_pass_at_both_of_its_ends() -> None:
    site = await site_with_a_login()
    portal_packet(site, WEB1.tcp(PORTAL, 40000, 8080, ACK, b"GET"), TO_PORTAL, "s1", 9)
    portal_packet(site, PORTAL.tcp(WEB1, 8080, 40000, SYN_ACK), FROM_PORTAL, "s1", 1)
    portal_packet(site, PORTAL.tcp(WEB1, 8080, 40000, ACK, b"200"), FROM_PORTAL, "s2", 9)
    assert len(deliveries(site)) == 3


async def test_a_third_switch_does_not_make_the_portal_forget_a_connection() -> None:
    site = await site_with_a_login()
    packet = parse_frame(WEB1.tcp(PORTAL, 40000, 8080, SYN))
    assert packet is not None
    event = FlowRemoved(cookie(0, PORTAL_NUMBER, Reason.PORTAL), 0, packet.key, 1, 1, 60, TO_PORTAL, 2)
    site.admin.flow_removed(site.switches["s3"], event)
    site.admin.flow_removed(site.s1, event)
    assert site.admin.portal_access.locate(packet.key) == site.endpoint(WEB1, "s2")
    site.admin.flow_removed(site.switches["s2"], event)
    assert site.admin.portal_access.locate(packet.key) is None


# ports


async def test_a_flood_of_ports_is_cut_off_and_those_that_are_described_are_kept() -> None:
    site = await Site(TWO_SWITCHES).start()
    s3 = site.switches["s3"]
    s3.close("again")
    s3.ports = [PortState(number, "p", up=True) for number in range(60_000, 2, -1)]
    s3.ports += [PortState(1, "p1", up=True), PortState(2, "p2", up=True)]
    assert s3.connect()
    await site.settle()
    point = site.admin.state.fabric.points[s3.dpid]
    assert len(point.ports) == MAX_PORTS
    assert {1, 2} <= point.ports.keys()
    assert site.admin.state.counters["ports_ignored"] == 60_000 - MAX_PORTS
    assert [detail for event, _, detail, _ in site.records.of("switch") if event == "error"] == [
        f"too many ports: {MAX_PORTS} are used"
    ]


async def test_ports_that_appear_one_after_another_are_bounded_and_looked_at_together() -> None:
    site = await Site(TWO_SWITCHES).start()
    s3 = site.switches["s3"]
    before = len(site.records.of("switch"))
    for number in range(10, 10 + 2 * MAX_PORTS):
        site.admin.port_status(s3, PortState(number, "p", up=True), removed=False)
    assert len(site.admin.state.fabric.points[s3.dpid].ports) == MAX_PORTS
    assert len(site._tasks) == 1
    await site.settle()
    events = [event for event, *_ in site.records.of("switch")[before:]]
    assert events == ["error", "reconciled"]
    assert any(("in_port", 10) in [field[:2] for field in key[2]] for key in s3.tables)


async def test_a_port_that_appears_during_a_reconciliation_gets_its_entries_after_it() -> None:
    site = await Site(TWO_SWITCHES).start()
    s3 = site.switches["s3"]
    site.admin.port_status(s3, PortState(10, "p", up=True), removed=False)
    work = site._tasks.pop()
    while verify_meter(10) not in s3.meters:
        await _a_moment()
    site.admin.port_status(s3, PortState(11, "p", up=True), removed=False)
    assert not site._tasks
    await work
    assert any(("in_port", 11) in [field[:2] for field in key[2]] for key in s3.tables)


async def _a_moment() -> None:
    import asyncio

    await asyncio.sleep(0)


async def test_a_port_that_has_not_changed_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    site = await Site(TWO_SWITCHES).start()
    routed = []
    monkeypatch.setattr(site.admin.enforcement, "links_changed", lambda: routed.append(1))
    for _ in range(100):
        site.admin.port_status(site.s1, PortState(9, "p9", up=True), removed=False)
        site.admin.port_status(site.s1, PortState(4000, "p", up=True), removed=True)
    assert not routed


async def test_a_switch_that_claims_to_be_another_is_refused_and_the_first_goes_on() -> None:
    site = await site_with_a_traitor()
    second = FakeSwitch(site.s1.dpid, site.admin, range(1, 10))
    assert not second.connect()
    point = site.admin.state.fabric.points[site.s1.dpid]
    assert point.channel is site.s1
    site.admin.disconnected(second, "refused")
    assert point.channel is site.s1
    open_flow(site)


async def test_what_hosts_send_is_not_kept_for_a_switch_that_reads_nothing() -> None:
    """Hosts at s1 send to one at s2: what s2 does not take would pile up in the controller."""
    site = await site_with_a_traitor()
    open_flow(site)
    s2 = site.switches["s2"]
    s2.is_full = True
    before = len(s2.tables)
    claim(site, LAPTOP.tcp(WEB1, 40000, 443, ACK, bytes(1000)), LAPTOP_NUMBER, WEB1_NUMBER, switch="s1", port=4)
    claim(site, LAPTOP.tcp(WEB1, 40001, 443), LAPTOP_NUMBER, WEB1_NUMBER, switch="s1", port=4)
    assert not deliveries(site)
    assert len(s2.tables) == before
    assert site.records.reasons() == ["switch-away", "switch-away"]
    assert len(site.admin.state.flows) == 1
    s2.is_full = False
    claim(site, LAPTOP.tcp(WEB1, 40001, 443), LAPTOP_NUMBER, WEB1_NUMBER, switch="s1", port=4)
    claim(site, WEB1.tcp(LAPTOP, 443, 40000, SYN_ACK), WEB1_NUMBER, LAPTOP_NUMBER, switch="s2", port=2)
    assert len(deliveries(site)) == 2


async def test_nor_is_what_goes_to_the_portal() -> None:
    site = await Site(TWO_SWITCHES).start()
    there, other = site.s1, site.switches["s2"]
    there.is_full = True
    there.take()
    before = len(there.tables)
    other.send(LAPTOP.port, LAPTOP.tcp(PORTAL, 40000, 8080))
    assert there.take() == []
    assert len(there.tables) == before
    assert site.records.reasons() == ["switch-away"]
    there.is_full = False
    other.send(LAPTOP.port, LAPTOP.tcp(PORTAL, 40000, 8080))
    assert len(there.take()) == 1
