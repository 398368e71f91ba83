"""What passes and what does not, from a frame at one port to a frame at another, on switches in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes.frames import ACK, FIN_ACK, SYN, SYN_ACK, Host
from fakes.site import ALICE, BOB, DB, ONE_SWITCH, PORTAL, TWO_SWITCHES, WEB, Site
from zethane.audit.reason import SessionEvent
from zethane.errors import AddressInUse, SessionError
from zethane.pipeline.fields import Reason
from zethane.pipeline.tables import Table
from zethane.service.switch import PacketIn
from zethane.service.verification import REOPENED_AFTER

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
GHOST = Host(5, "02:00:00:00:00:66", "10.0.0.66")


async def three_tier() -> Site:
    site = await Site().start()
    site.login(WEB1, WEB)
    site.login(DB1, DB)
    site.login(LAPTOP, ALICE)
    site.s1.take()
    return site


async def test_an_allowed_connection_passes_in_both_directions_and_its_first_packet_is_delivered_once() -> None:
    site = await three_tier()
    s1 = site.s1
    syn = LAPTOP.tcp(WEB1, 40000, 443)
    s1.send(4, syn)
    assert s1.take() == [(2, syn)]
    reply = WEB1.tcp(LAPTOP, 443, 40000, SYN_ACK)
    s1.send(2, reply)
    data = LAPTOP.tcp(WEB1, 40000, 443, ACK, b"hello")
    outcome = s1.send(4, data)
    assert s1.take() == [(4, reply), (2, data)]
    assert not outcome.to_controller
    assert len(site.records.of("allowed")) == 1


async def test_a_service_that_no_rule_names_is_denied_and_logged_with_the_reason() -> None:
    site = await three_tier()
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 22))
    assert site.s1.take() == []
    assert site.records.reasons() == ["no-rule"]


async def test_a_deny_rule_is_named_in_the_log() -> None:
    site = await three_tier()
    site.s1.send(2, WEB1.tcp(DB1, 40000, 22))
    (what, _), *rest = site.records.of("denied")
    assert (what.reason, what.rule) == ("deny-rule", "no-ssh")
    assert not rest


async def test_an_unauthenticated_host_reaches_nobody_and_nobody_reaches_it() -> None:
    site = await three_tier()
    site.s1.send(5, GHOST.tcp(WEB1, 40000, 443))
    site.s1.send(5, GHOST.echo(WEB1))
    site.s1.send(2, WEB1.echo(GHOST))
    assert site.s1.take() == []
    assert site.records.reasons() == ["unauthenticated", "unauthenticated", "unknown-destination"]


async def test_a_user_without_the_second_factor_is_denied_where_the_rule_asks_for_it() -> None:
    site = await three_tier()
    site.login(GHOST, BOB)
    site.s1.send(5, GHOST.tcp(WEB1, 40000, 443))
    assert site.s1.take() == []
    site.login(GHOST, replace(BOB, mfa=True))
    site.s1.send(5, GHOST.tcp(WEB1, 40000, 443))
    assert len(site.s1.take()) == 1


@pytest.mark.parametrize("flags", [ACK, FIN_ACK, SYN_ACK, 0, 0x29, 0x01])
async def test_a_tcp_packet_that_no_syn_came_before_is_dropped(flags: int) -> None:
    site = await three_tier()
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, flags))
    assert site.s1.take() == []
    assert site.records.reasons() == ["no-flow"]


async def test_the_reply_direction_opens_nothing() -> None:
    site = await three_tier()
    site.s1.send(2, WEB1.tcp(LAPTOP, 443, 40000, SYN))
    site.s1.send(2, WEB1.tcp(LAPTOP, 443, 40000, SYN_ACK))
    site.s1.send(2, WEB1.udp(LAPTOP, 443, 40000))
    site.s1.send(4, LAPTOP.echo(WEB1, reply=True))
    assert site.s1.take() == []


async def test_a_server_cannot_connect_back_from_its_port_while_a_flow_lives() -> None:
    site = await three_tier()
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    site.s1.take()
    back = WEB1.tcp(LAPTOP, 443, 40000, SYN)
    outcome = site.s1.send(2, back)
    assert site.records.reasons() == ["no-rule"]
    # Nor would the controller fall for it, had a switch asked.
    asked = PacketIn(2, Table.RULE, Reason.RETURN, outcome.fields["metadata"], back)
    site.admin.packet_in(site.s1, asked)
    assert site.s1.take() == []
    assert site.records.reasons() == ["no-rule", "no-flow"]


@pytest.mark.parametrize("flags", [0x03, 0x06, 0x07, 0x2B])
async def test_a_syn_with_fin_or_rst_opens_nothing_and_belongs_to_nothing(flags: int) -> None:
    site = await three_tier()
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, flags))
    site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 443))
    assert len(site.s1.take()) == 1
    site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 443, flags))
    assert site.s1.take() == []


async def test_udp_and_echo_pass_both_ways() -> None:
    site = await three_tier()
    s1 = site.s1
    for there, back in (
        (LAPTOP.udp(WEB1, 5000, 443), WEB1.udp(LAPTOP, 443, 5000)),
        (LAPTOP.echo(WEB1), WEB1.echo(LAPTOP, reply=True)),
    ):
        s1.send(4, there)
        s1.send(2, back)
        s1.send(4, there)
        assert s1.take() == [(2, there), (4, back), (2, there)]


async def test_a_packet_that_comes_up_twice_is_delivered_twice_and_counted_once() -> None:
    site = await three_tier()
    syn = LAPTOP.tcp(WEB1, 40000, 443)
    site.s1.send(4, syn)
    site.s1.send(4, syn)
    assert site.s1.take() == [(2, syn), (2, syn)]
    assert len(site.records.of("allowed")) == 1
    assert len(site.state.flows) == 1


async def test_a_syn_of_a_live_flow_has_its_rules_written_again_but_not_when_it_comes_up_twice() -> None:
    site = await three_tier()
    syn = LAPTOP.tcp(WEB1, 40000, 443)
    site.s1.send(4, syn)
    site.s1.send(4, syn)
    assert site.state.counters["reinstalled"] == 0
    site.now += 1.5 * REOPENED_AFTER
    site.s1.send(4, syn)
    assert site.s1.take() == [(2, syn)] * 3
    assert site.state.counters["reinstalled"] == 1
    assert len(site.records.of("allowed")) == 1


async def test_logout_takes_a_session_back_in_four_flow_mods_however_many_flows() -> None:
    site = await three_tier()
    s1 = site.s1
    for sport in range(40000, 40050):
        s1.send(4, LAPTOP.tcp(WEB1, sport, 443))
    s1.take()
    before = s1.flow_mods
    session = site.state.sessions.by_address[bytes([10, 0, 0, 21])].session
    assert site.admin.end_session(session.number, SessionEvent.LOGOUT)
    assert s1.flow_mods - before == 4
    s1.send(4, LAPTOP.tcp(WEB1, 40001, 443, ACK, b"more"))
    s1.send(2, WEB1.tcp(LAPTOP, 443, 40001, ACK, b"more"))
    assert s1.take() == []
    ended = site.records.of("flow_ended")
    assert len(ended) == 50
    assert {arguments[2] for arguments in ended} == {"session-logout"}
    assert all(arguments[0].packets and arguments[0].return_packets for arguments in ended)
    assert not any(flow.cookie >> 40 == session.number for flow in s1.tables.values())


async def test_a_session_ends_when_its_port_goes_down_and_when_its_time_is_over() -> None:
    site = await three_tier()
    down = site.s1.ports[3]
    site.admin.port_status(site.s1, type(down)(4, "p4", up=False), removed=False)
    assert bytes([10, 0, 0, 21]) not in site.state.sessions.by_address
    site.now += 8 * 3600
    site.admin.tick(site.now)
    assert len(site.state.sessions) == 0
    reasons = [event for event, *_ in site.records.of("session")]
    assert reasons == ["started"] * 3 + ["port-down", "expired", "expired"]


async def test_an_address_belongs_to_one_session() -> None:
    site = await three_tier()
    thief = Host(6, "02:00:00:00:00:77", "10.0.0.11")
    with pytest.raises(AddressInUse):
        site.login(thief, DB)
    assert site.state.sessions.by_address[bytes([10, 0, 0, 11])].session.principal == WEB


async def test_a_host_that_moves_takes_its_session_along_and_the_old_place_is_dead() -> None:
    site = await three_tier()
    moved = Host(7, LAPTOP.mac, LAPTOP.ip)
    old = site.state.sessions.by_address[bytes([10, 0, 0, 21])].session.number
    new = site.login(moved, ALICE).number
    assert new != old
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    assert site.s1.take() == []
    site.s1.send(7, moved.tcp(WEB1, 40000, 443))
    assert len(site.s1.take()) == 1


async def test_no_session_can_be_at_a_trunk_or_the_portals_port() -> None:
    site = await Site(TWO_SWITCHES).start()
    for port in (1, 9):
        with pytest.raises(SessionError):
            site.login(Host(port, "02:00:00:00:00:88", "10.0.0.88"), ALICE)


async def test_a_spoofed_source_is_dropped_whichever_field_is_wrong() -> None:
    site = await three_tier()
    for port, liar in (
        (5, LAPTOP),
        (4, Host(4, "02:00:00:00:00:99", "10.0.0.21")),
        (4, Host(4, LAPTOP.mac, "10.0.0.99")),
        (4, Host(4, LAPTOP.mac, "10.0.0.11")),
    ):
        site.s1.send(port, liar.tcp(WEB1, 40000, 443))
    assert site.s1.take() == []
    assert site.records.reasons() == ["unauthenticated"] * 4


async def test_the_quota_of_flows_bounds_a_session_and_leaves_the_others_alone() -> None:
    site = await Site(flows_per_session=3).start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, ALICE)
    site.login(DB1, DB)
    for sport in range(40000, 40005):
        site.s1.send(4, LAPTOP.tcp(WEB1, sport, 443))
    assert len(site.s1.take()) == 3
    assert site.records.reasons() == ["quota", "quota"]
    site.s1.send(2, WEB1.tcp(DB1, 40000, 5432))
    assert len(site.s1.take()) == 1


async def test_an_icmp_error_about_an_allowed_flow_passes_and_others_do_not() -> None:
    site = await three_tier()
    s1 = site.s1
    query = LAPTOP.udp(WEB1, 5000, 443)
    s1.send(4, query)
    s1.take()
    error = WEB1.unreachable(LAPTOP, query)
    s1.send(2, error)
    assert s1.take() == [(4, error)]
    s1.send(3, DB1.unreachable(LAPTOP, query))
    s1.send(2, WEB1.unreachable(LAPTOP, LAPTOP.udp(WEB1, 6000, 443)))
    assert s1.take() == []


async def test_an_idle_connection_goes_on_with_its_next_packet_and_a_finished_one_does_not() -> None:
    site = await three_tier()
    s1 = site.s1
    s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    s1.take()
    for flow in [flow for flow in s1.tables.values() if flow.notify_removed]:
        s1.expire(flow)
    assert len(site.state.flows) == 0
    data = WEB1.tcp(LAPTOP, 443, 40000, ACK, b"late")
    s1.send(2, data)
    assert s1.take() == [(4, data)]
    assert len(site.state.flows) == 1


async def test_one_direction_may_fall_silent_without_ending_the_flow() -> None:
    site = await three_tier()
    s1 = site.s1
    s1.send(4, LAPTOP.udp(WEB1, 5000, 443))
    s1.take()
    back = next(flow for flow in s1.tables.values() if flow.notify_removed and ("udp_src", 443, 0xFFFF) in flow.match)
    s1.expire(back)
    answer = WEB1.udp(LAPTOP, 443, 5000)
    s1.send(2, answer)
    assert s1.take() == [(4, answer)]
    assert not site.records.of("flow_ended")


# across the fabric


async def test_a_flow_between_switches_is_checked_at_both_ends_and_core_switches_hold_no_hosts() -> None:
    site = await Site(TWO_SWITCHES).start()
    site.login(WEB1, WEB, "s2")
    site.login(LAPTOP, ALICE, "s1")
    s1, s2, s3 = (site.switches[name] for name in ("s1", "s2", "s3"))
    core = len(s3.tables)
    syn = LAPTOP.tcp(WEB1, 40000, 443)
    s1.send(4, syn)
    assert s2.take() == [(2, syn)]
    assert s1.take() == []
    data = LAPTOP.tcp(WEB1, 40000, 443, ACK, b"x")
    assert s1.send(4, data).ports == [9]
    assert s2.send(2, WEB1.tcp(LAPTOP, 443, 40000, ACK)).ports == [9]
    assert len(s3.tables) == core


async def test_what_arrives_through_the_fabric_without_a_rule_opens_nothing() -> None:
    site = await Site(TWO_SWITCHES).start()
    site.login(WEB1, WEB, "s2")
    site.login(LAPTOP, ALICE, "s1")
    s2 = site.switches["s2"]
    for frame in (LAPTOP.tcp(WEB1, 40000, 443), LAPTOP.udp(WEB1, 5000, 443)):
        s2.send(9, frame, vlan=2)
    assert s2.take() == []


# the portal


async def test_everybody_reaches_the_portal_and_the_endpoint_is_where_the_connection_comes_from() -> None:
    site = await three_tier()
    s1 = site.s1
    syn = GHOST.tcp(PORTAL, 50000, 8080)
    s1.send(5, syn)
    assert s1.take() == [(1, syn)]
    reply = PORTAL.tcp(GHOST, 8080, 50000, SYN_ACK)
    assert s1.send(1, reply).ports == [5]
    key = next(iter(site.admin.portal_access._connections))
    assert site.admin.portal_access.locate(key) == site.endpoint(GHOST)


async def test_two_hosts_cannot_share_one_connection_to_the_portal() -> None:
    site = await three_tier()
    s1 = site.s1
    s1.send(5, GHOST.tcp(PORTAL, 50000, 8080))
    s1.take()
    liar = Host(6, "02:00:00:00:00:77", GHOST.ip)
    s1.send(6, liar.tcp(PORTAL, 50000, 8080))
    s1.send(6, liar.tcp(PORTAL, 50000, 8080, ACK))
    assert s1.take() == []
    assert site.records.reasons() == ["address-in-use", "address-in-use"]


async def test_the_portal_opens_nothing_and_serves_one_port_only() -> None:
    site = await three_tier()
    s1 = site.s1
    s1.send(1, PORTAL.tcp(WEB1, 8080, 443))
    s1.send(1, PORTAL.tcp(WEB1, 9999, 443))
    s1.send(5, GHOST.tcp(PORTAL, 50000, 22))
    s1.send(5, GHOST.udp(PORTAL, 50000, 8080))
    s1.send(5, GHOST.echo(PORTAL))
    assert s1.take() == []


async def test_everybody_reaches_the_ports_for_a_login_too_and_nobody_logs_in_over_them() -> None:
    """As the portal itself: bound to the place, answered there alone, and no other port with them."""
    site = await Site(ONE_SWITCH.replace("mac:", "login_ports: [9443], mac:")).start()
    s1 = site.s1
    syn = GHOST.tcp(PORTAL, 50000, 9443)
    s1.send(5, syn)
    assert s1.take() == [(1, syn)]
    assert s1.send(1, PORTAL.tcp(GHOST, 9443, 50000, SYN_ACK)).ports == [5]
    assert s1.send(5, GHOST.tcp(PORTAL, 50000, 9443, ACK)).ports == [1]
    (key,) = site.admin.portal_access._connections
    assert site.admin.portal_access.locate(key) is None
    s1.take()
    liar = Host(6, "02:00:00:00:00:77", GHOST.ip)
    for frame in (liar.tcp(PORTAL, 50000, 9443), liar.tcp(PORTAL, 50001, 9443, ACK)):
        s1.send(6, frame)
    s1.send(5, GHOST.tcp(PORTAL, 50000, 9444))
    s1.send(1, PORTAL.tcp(WEB1, 9443, 443))
    assert s1.take() == []
    assert site.records.reasons()[:2] == ["address-in-use", "no-flow"]


async def test_a_login_may_come_over_https_but_not_from_a_port_that_is_not_the_portals_own() -> None:
    network = ONE_SWITCH.replace("mac:", "tls_port: 8443, login_ports: [9443], mac:")
    site = await Site(network).start()
    for source, target in ((50000, 8080), (50001, 8443), (50002, 9443)):
        syn = GHOST.tcp(PORTAL, source, target)
        site.s1.send(5, syn)
        assert site.s1.take() == [(1, syn)]
    access = site.admin.portal_access
    places = {key.dport: access.locate(key) for key in access._connections}
    assert places == {8080: site.endpoint(GHOST), 8443: site.endpoint(GHOST), 9443: None}


async def test_connections_to_the_ports_for_a_login_count_as_those_to_the_portal() -> None:
    network = ONE_SWITCH.replace("mac:", "login_ports: [9443], mac:")
    site = await Site(network, portal_flows_per_port=3).start()
    for source, target in ((50000, 8080), (50001, 9443), (50002, 9443), (50003, 9443), (50004, 8080)):
        site.s1.send(5, GHOST.tcp(PORTAL, source, target))
    assert len(site.admin.portal_access) == 3
    assert site.records.reasons() == ["quota", "quota"]


async def test_a_login_does_not_disturb_the_connection_that_it_came_over() -> None:
    site = await three_tier()
    s1 = site.s1
    s1.send(5, GHOST.tcp(PORTAL, 50000, 8080))
    site.login(GHOST, BOB)
    s1.take()
    answer = PORTAL.tcp(GHOST, 8080, 50000, ACK, b"welcome")
    assert s1.send(1, answer).ports == [5]
    assert s1.send(5, GHOST.tcp(PORTAL, 50000, 8080, ACK)).ports == [1]


# neighbours


async def test_arp_is_answered_for_the_portal_and_what_a_rule_lets_the_asker_reach_and_nothing_else() -> None:
    site = await three_tier()
    s1 = site.s1
    table = [
        (5, GHOST.arp("10.0.0.254"), True),
        (5, GHOST.arp("10.0.0.11"), False),
        (4, LAPTOP.arp("10.0.0.11"), True),
        (4, LAPTOP.arp("10.0.0.14"), False),
        (2, WEB1.arp("10.0.0.14"), True),
        (2, WEB1.arp("10.0.0.21"), False),
        (4, LAPTOP.arp("10.0.0.66"), False),
        (4, LAPTOP.arp("10.0.0.11", sender="10.0.0.99"), False),
        (4, LAPTOP.arp("10.0.0.11", sha="02:00:00:00:00:99"), False),
        (4, LAPTOP.arp("10.0.0.11", operation=2), False),
        (4, LAPTOP.arp("10.0.0.21"), False),
    ]
    for port, frame, answered in table:
        s1.send(port, frame)
        out = s1.take()
        assert bool(out) is answered, frame.hex()
        assert all(to == port for to, _ in out)


async def test_a_server_learns_its_clients_mac_while_their_flow_lives() -> None:
    site = await three_tier()
    s1 = site.s1
    s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    s1.take()
    s1.send(2, WEB1.arp("10.0.0.21"))
    ((port, answer),) = s1.take()
    assert port == 2
    assert answer[22:28].hex(":") == LAPTOP.mac


async def test_broadcast_and_multicast_reach_nobody() -> None:
    site = await three_tier()
    frame = LAPTOP.udp(WEB1, 137, 137)
    site.s1.send(4, b"\xff" * 6 + frame[6:])
    site.s1.send(4, bytes.fromhex("01005e0000fb") + frame[6:])
    assert site.s1.take() == []
