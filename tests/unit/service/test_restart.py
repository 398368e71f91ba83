"""A controller that starts again, a switch that comes back, links that fail."""

from __future__ import annotations

import pytest

from fakes.frames import ACK, SYN_ACK, Host
from fakes.site import ALICE, DB, PORTAL, TWO_SWITCHES, WEB, Site
from zethane.audit.reason import SessionEvent
from zethane.errors import SessionError
from zethane.pipeline.change import Add
from zethane.pipeline.flow import Flow, ToController, match
from zethane.pipeline.tables import Table
from zethane.service.switch import PortState

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
GHOST = Host(5, "02:00:00:00:00:66", "10.0.0.66")


async def successor(site: Site, **options: object) -> Site:
    """Another controller over the same store; its switches hold what the first one's held."""
    other = Site(store=site.store, **options)  # type: ignore[arg-type]  # passed on
    other.now = site.now
    for name, switch in other.switches.items():
        switch.tables = dict(site.switches[name].tables)
    return await other.start()


async def busy_site() -> Site:
    site = await Site().start()
    site.login(WEB1, WEB)
    site.login(DB1, DB)
    site.login(LAPTOP, ALICE)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    site.s1.send(4, LAPTOP.udp(WEB1, 5000, 443))
    site.s1.send(5, GHOST.tcp(PORTAL, 50000, 8080))
    site.s1.take()
    return site


async def test_a_restart_changes_nothing_in_the_switch_and_knows_sessions_flows_and_portal_connections() -> None:
    site = await busy_site()
    before = dict(site.s1.tables)
    again = await successor(site)
    assert again.s1.tables == before
    assert again.s1.flow_mods == 0
    assert len(again.state.sessions) == 3
    assert set(again.state.flows.by_key) == set(site.state.flows.by_key)
    assert again.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK)).ports == [2]
    assert len(again.admin.portal_access) == 1
    assert again.s1.send(1, PORTAL.tcp(GHOST, 8080, 50000, SYN_ACK)).ports == [5]


async def test_a_restart_removes_what_is_wrong_and_adds_what_is_missing() -> None:
    site = await busy_site()
    foreign = Flow(Table.RULE, 65535, match(eth_type=0x0800), 7, actions=(ToController(),))
    missing = next(flow for flow in site.s1.tables.values() if flow.table == Table.FORWARD)
    site.s1.apply([Add(foreign)])
    del site.s1.tables[missing.key]
    before = dict(site.s1.tables)
    again = await successor(site)
    assert foreign.key not in again.s1.tables
    assert again.s1.tables[missing.key] == missing
    assert len(again.s1.tables) == len(before)


async def test_flows_of_a_session_that_ended_while_no_controller_was_there_are_gone() -> None:
    site = await busy_site()
    site.now += 9 * 3600
    again = await successor(site)
    assert len(again.state.sessions) == 0
    assert not [flow for flow in again.s1.tables.values() if flow.cookie >> 40 and flow.cookie >> 40 < 1000]
    assert again.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK)).ports == []


async def test_a_number_is_not_given_out_again_after_a_restart() -> None:
    site = await busy_site()
    numbers = set(site.state.sessions.by_number)
    for number in numbers:
        site.admin.end_session(number, SessionEvent.LOGOUT)
    again = await successor(site)
    assert again.login(LAPTOP, ALICE).number not in numbers


async def test_a_switch_that_lost_everything_gets_everything_back_but_the_flows() -> None:
    site = await busy_site()
    before = {key: flow for key, flow in site.s1.tables.items() if flow.priority != 200 or flow.table != Table.FLOW}
    site.s1.close("gone")
    assert site.state.fabric.points[1].channel is None
    site.s1.tables.clear()
    assert site.s1.connect()
    await site.settle()
    assert site.s1.tables == before
    assert len(site.state.flows) == 0
    data = LAPTOP.tcp(WEB1, 40000, 443, ACK, b"still here")
    site.s1.send(4, data)
    assert site.s1.take() == [(2, data)]


async def test_nothing_new_opens_towards_a_switch_that_is_away() -> None:
    site = await Site(TWO_SWITCHES).start()
    site.login(WEB1, WEB, "s2")
    site.login(LAPTOP, ALICE, "s1")
    site.switches["s2"].close("gone")
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    assert site.records.reasons() == ["switch-away"]
    assert site.s1.take() == []


async def test_a_second_connection_with_the_same_datapath_id_and_an_unknown_one_are_refused() -> None:
    site = await busy_site()
    assert not site.s1.connect()
    site.s1.dpid = 99
    assert not site.s1.connect()


RING = """
switches: {s1: {}, s2: {}, s3: {}}
links: [["s1:7", "s2:7"], ["s2:8", "s3:8"], ["s1:9", "s3:9"]]
portal: {switch: s1, port: 1, ip: 10.0.0.254/24, mac: "02:00:00:00:00:fe"}
"""


async def test_a_failed_link_is_routed_around_and_used_again_when_it_is_back() -> None:
    site = await Site(RING).start()
    site.login(WEB1, WEB, "s2")
    site.login(LAPTOP, ALICE, "s1")
    s1, s3 = site.s1, site.switches["s3"]
    s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    data = LAPTOP.tcp(WEB1, 40000, 443, ACK, b"x")
    assert s1.send(4, data).ports == [7]
    site.admin.port_status(s1, PortState(7, "p7", up=False), removed=False)
    assert s1.send(4, data).ports == [9]
    assert s3.send(9, data, vlan=2).ports == [8]
    site.admin.port_status(s1, PortState(7, "p7", up=True), removed=False)
    assert s1.send(4, data).ports == [7]


async def test_bindings_are_only_where_somebody_may_talk_with_their_session() -> None:
    site = await Site(TWO_SWITCHES).start()
    laptop = site.login(LAPTOP, ALICE, "s1")
    points = site.state.fabric.by_number
    assert laptop.number not in points[2].remote
    web = site.login(WEB1, WEB, "s2")
    assert laptop.number in points[2].remote
    assert web.number in points[1].remote
    assert not points[3].remote
    site.admin.end_session(web.number, SessionEvent.LOGOUT)
    assert laptop.number not in points[2].remote
    names = {flow.source for flow in site.switches["s2"].tables.values()}
    assert not any(name.startswith("session") for name in names)


async def test_a_lease_never_outlasts_its_session_and_long_ones_are_renewed() -> None:
    site = await Site(session_lifetime=100_000.0, reauthenticate_after=100_000.0).start()
    session = site.login(LAPTOP, ALICE)

    def leases() -> set[int]:
        return {flow.hard_timeout for flow in site.s1.tables.values() if flow.hard_timeout}

    assert leases() == {65535}
    site.now += 60_000
    site.admin.tick(site.now)
    assert leases() == {40_000}
    site.now = session.ends
    site.admin.tick(site.now)
    assert leases() == set()


async def test_proving_itself_again_renews_a_session_and_cuts_no_flow() -> None:
    site = await busy_site()
    site.now += 3600
    first = site.state.sessions.by_address[bytes([10, 0, 0, 21])].session
    again = site.login(LAPTOP, ALICE)
    assert again.number == first.number
    assert again.ends == first.ends + 3600
    assert site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK)).ports == [2]


async def test_a_second_address_of_either_family_belongs_to_the_session_after_a_claim() -> None:
    site = await busy_site()
    session = site.state.sessions.by_address[bytes([10, 0, 0, 21])].session
    six = Host(4, LAPTOP.mac, "2001:db8::21")
    web_six = Host(2, WEB1.mac, "2001:db8::11")
    site.s1.send(4, six.tcp(web_six, 40001, 443))
    assert site.s1.take() == []
    site.admin.claim_address(site.endpoint(six), session.number)
    web = site.state.sessions.by_address[bytes([10, 0, 0, 11])].session
    site.admin.claim_address(site.endpoint(web_six), web.number)
    site.s1.send(4, six.solicitation("2001:db8::11"))
    assert len(site.s1.take()) == 1
    site.s1.send(4, six.tcp(web_six, 40001, 443))
    assert [port for port, _ in site.s1.take()] == [2]


async def test_a_portal_connection_ends_with_its_port() -> None:
    site = await busy_site()
    site.admin.port_status(site.s1, PortState(5, "p5", up=False), removed=False)
    assert len(site.admin.portal_access) == 0
    site.s1.send(1, PORTAL.tcp(GHOST, 8080, 50000, SYN_ACK))
    site.s1.send(5, GHOST.tcp(PORTAL, 50000, 8080, ACK))
    assert site.s1.take() == []


async def test_a_session_is_not_taken_up_where_none_may_be() -> None:
    """The network's description has changed meanwhile: what was an access port leads to another switch now."""
    site = await busy_site()
    other = Site(TWO_SWITCHES.replace('"s1:9"', '"s1:4"'), store=site.store)
    await other.start()
    assert bytes([10, 0, 0, 21]) not in other.state.sessions.by_address
    assert bytes([10, 0, 0, 11]) in other.state.sessions.by_address
    assert len(site.store.sessions()) == 2


@pytest.mark.parametrize("address", ["224.0.0.1", "255.255.255.255", "127.0.0.1", "0.0.0.0", "ff02::1", "::1"])  # noqa: S104  # nothing listens there
async def test_no_session_holds_an_address_that_is_no_hosts(address: str) -> None:
    site = await busy_site()
    with pytest.raises(SessionError):
        site.login(Host(6, "02:00:00:00:00:77", address), ALICE)
