"""Networks outside: flows in both directions, what cannot be claimed from there, and how it is taken back."""

from __future__ import annotations

import pytest

from fakes.frames import ACK, RST, SYN_ACK, Host, mac, packed
from fakes.site import ALICE, BOB, WEB, Site
from zethane.audit.reason import SessionEvent
from zethane.errors import AddressInUse, PortRefusal, SessionError
from zethane.net.vlan import untagged
from zethane.pipeline.fields import FIRST_STATIC, NETWORK_CLASS
from zethane.pipeline.tables import Table
from zethane.service import outside

NETWORK = """
switches: {s1: {}, s2: {}}
links: [["s1:9", "s2:9"]]
portal: {switch: s1, port: 1, ip: [10.0.0.254/24, "2001:db8::fe/64"], mac: "02:00:00:00:00:fe"}
uplinks:
  wan:
    switch: s1
    port: 8
    mac: "02:00:00:00:00:01"
    ip: [10.0.0.1/24, "2001:db8::1/64"]
    networks: [0.0.0.0/0, "2001:db8:ffff::/48"]
"""
POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  staff: {groups: [staff]}
rules:
  - {id: out, from: [staff], to: {networks: [198.51.100.0/24, "2001:db8:ffff:1::/64"]}, services: [tcp/443, udp/53]}
  - {id: ping-out, from: [staff], to: {networks: [198.51.0.0/16]}, services: [icmp]}
  - {id: in, from: {networks: [203.0.113.0/24, "2001:db8:ffff:2::/64"]}, to: [web], services: [tcp/443]}
  - {id: not-from-here, from: {networks: [203.0.113.66/32]}, to: [web], services: [tcp/443], action: deny}
  - {id: inside, from: [any], to: [any], services: [tcp/8080]}
"""
ROUTER = "02:00:00:00:00:01"
LAPTOP = Host(2, "02:00:00:00:00:21", "10.0.0.21", "2001:db8::21")
WEB1 = Host(3, "02:00:00:00:00:11", "10.0.0.11", "2001:db8::11")
DESK = Host(4, "02:00:00:00:00:22", "10.0.0.22")
GHOST = Host(5, "02:00:00:00:00:66", "10.0.0.66")
GATEWAY = Host(8, ROUTER, "10.0.0.1")
WWW = Host(8, ROUTER, "198.51.100.80")
PARTNER = Host(8, ROUTER, "203.0.113.10")
WAN = FIRST_STATIC


def v6(host: Host, address: str) -> Host:
    return Host(host.port, host.mac, address)


async def start(policy: str = POLICY, **limits: int) -> Site:
    """Alice on the second switch; the web server, bob and the uplink on the first."""
    site = await Site(NETWORK, policy, **limits).start()
    site.login(LAPTOP, ALICE, "s2")
    site.admin.claim_address(site.endpoint(LAPTOP, "s2", LAPTOP.addresses[1]), site.store.last)
    site.login(WEB1, WEB)
    site.admin.claim_address(site.endpoint(WEB1, address=WEB1.addresses[1]), site.store.last)
    site.login(DESK, BOB)
    return site


def across(site: Site, port: int, frame: bytes, origin: str = "s2") -> list[tuple[str, int]]:
    """Where a frame comes out that comes in at a port of one switch, when the other has done its part."""
    other = {"s1": "s2", "s2": "s1"}[origin]
    for switch in site.switches.values():
        switch.take()
    outcome = site.switches[origin].send(port, frame)
    if outcome.ports == [9]:
        site.switches[origin].take()
        site.switches[other].send(9, frame, vlan={"s1": 1, "s2": 2}[other])
    return [(name, out) for name, switch in site.switches.items() for out, _ in switch.take()]


@pytest.mark.parametrize(
    ("inside", "outside"), [(LAPTOP, WWW), (v6(LAPTOP, "2001:db8::21"), v6(WWW, "2001:db8:ffff:1::80"))]
)
async def test_a_session_reaches_what_a_rule_names_outside_and_is_answered(inside: Host, outside: Host) -> None:
    site = await start()
    assert across(site, 2, inside.tcp(outside, 40000, 443)) == [("s1", 8)]
    assert across(site, 8, outside.tcp(inside, 443, 40000, SYN_ACK), "s1") == [("s2", 2)]
    assert across(site, 2, inside.tcp(outside, 40000, 443, ACK)) == [("s1", 8)]
    (flow,) = site.state.flows.by_key.values()
    assert (flow.object, flow.rule, flow.object_class & NETWORK_CLASS) == (WAN, 1, NETWORK_CLASS)
    principal = flow.opened_to.principal
    assert (principal.kind, principal.name) == (
        "network",
        "198.51.100.0/24" if len(flow.key.src) == 4 else "2001:db8:ffff:1::/64",
    )


async def test_only_what_a_rule_names_opens() -> None:
    """Another service, another network, an address that no rule names, somebody without a session."""
    site = await start()
    for host, port, frame, switch in (
        (LAPTOP, 2, LAPTOP.tcp(WWW, 40000, 22), "s2"),
        (LAPTOP, 2, LAPTOP.tcp(PARTNER, 40000, 443), "s2"),
        (LAPTOP, 2, LAPTOP.tcp(v6(WWW, "192.0.2.1"), 40000, 443), "s2"),
        (WEB1, 3, WEB1.tcp(WWW, 40000, 443), "s1"),
        (GHOST, 5, GHOST.tcp(WWW, 40000, 443), "s1"),
    ):
        assert host.port == port
        assert across(site, port, frame, switch) == []
    assert site.records.reasons() == ["no-rule", "no-rule", "unknown-destination", "no-rule", "unauthenticated"]


async def test_rules_for_all_networks_that_contain_an_address_add_up() -> None:
    """The shorter prefix's rule holds inside the longer one, too, and not the other way round."""
    site = await start()
    assert across(site, 2, LAPTOP.echo(WWW)) == [("s1", 8)]
    assert across(site, 2, LAPTOP.echo(v6(WWW, "198.51.7.7"))) == [("s1", 8)]
    assert across(site, 2, LAPTOP.tcp(v6(WWW, "198.51.7.7"), 40000, 443)) == []


@pytest.mark.parametrize(
    ("outside", "inside"), [(PARTNER, WEB1), (v6(WWW, "2001:db8:ffff:2::10"), v6(WEB1, "2001:db8::11"))]
)
async def test_a_network_reaches_what_a_rule_names_inside(outside: Host, inside: Host) -> None:
    site = await start()
    assert across(site, 8, outside.tcp(inside, 40000, 443), "s1") == [("s1", 3)]
    assert across(site, 3, inside.tcp(outside, 443, 40000, SYN_ACK), "s1") == [("s1", 8)]
    ((flow, switch, rule, _, _),) = site.records.of("allowed")
    assert (flow.subject, switch, rule) == (WAN, "s1", "in")


async def test_from_outside_only_what_a_rule_names_opens() -> None:
    """`any` is no network, a deny for one address wins, and there is no way to the portal or back to a client."""
    site = await start()
    s1 = site.s1
    across(site, 2, LAPTOP.tcp(WWW, 40000, 443))
    portal = Host(1, "02:00:00:00:00:fe", "10.0.0.254")
    for source, target, dport, reason in (
        (WWW, WEB1, 443, "no-rule"),
        (WWW, WEB1, 8080, "no-rule"),
        (PARTNER, LAPTOP, 443, "no-rule"),
        (PARTNER, GHOST, 443, "unknown-destination"),
        (v6(PARTNER, "203.0.113.66"), WEB1, 443, "deny-rule"),
        (v6(PARTNER, "192.0.2.1"), WEB1, 443, "no-rule"),
        (PARTNER, portal, 8080, "unknown-destination"),
        (WWW, LAPTOP, 40000, "no-rule"),
    ):
        site.records.calls.clear()
        s1.take()
        s1.send(8, source.tcp(target, 443, dport))
        assert (s1.take(), site.records.reasons()) == ([], [reason]), (source.ip, target.ip, dport)


@pytest.mark.parametrize(
    "claimed",
    ["10.0.0.21", "10.0.0.99", "10.0.0.254", "10.0.0.1", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255"],
)
async def test_nobody_outside_has_an_address_of_this_network(claimed: str) -> None:
    """Sessions, the subnet they are in, the portal, the router itself, and special addresses."""
    policy = POLICY + "  - {id: all, from: {networks: [0.0.0.0/0]}, to: [any], services: [any]}\n"
    site = await start(policy)
    assert across(site, 8, v6(GATEWAY, "8.8.8.8").tcp(WEB1, 1, 22), "s1") == [("s1", 3)]
    assert across(site, 8, v6(GATEWAY, claimed).tcp(WEB1, 1, 22), "s1") == []
    assert site.records.reasons() == ["external-spoof"]
    # Should a first switch let such a packet through, the second does not.
    site.switches["s2"].send(9, v6(GATEWAY, claimed).tcp(LAPTOP, 1, 22), vlan=2)
    assert site.switches["s2"].take() == []


async def test_only_the_routers_card_speaks_for_the_networks() -> None:
    site = await start()
    other = Host(8, "02:00:00:00:00:77", "203.0.113.10")
    assert across(site, 8, other.tcp(WEB1, 40000, 443), "s1") == []
    assert site.records.reasons() == ["external-spoof"]
    for port in (2, 4):  # nor does a host with the router's MAC, logged in or not
        assert across(site, port, PARTNER.tcp(WEB1, 40000, 443), "s1") == []
    assert site.records.reasons() == ["external-spoof", "unauthenticated", "unauthenticated"]


async def test_no_session_holds_an_address_outside_or_of_the_router() -> None:
    """The default route leaves the site's own subnets alone."""
    site = await start()
    with pytest.raises(PortRefusal):
        site.login(Host(6, "02:00:00:00:00:31", "198.51.100.80"), BOB)
    with pytest.raises(AddressInUse):
        site.login(Host(6, "02:00:00:00:00:31", "10.0.0.1"), BOB)
    with pytest.raises(SessionError):
        site.login(Host(6, ROUTER, "10.0.0.31"), BOB)
    number = site.login(Host(6, "02:00:00:00:00:31", "10.0.0.31"), BOB).number
    with pytest.raises(PortRefusal):
        site.admin.claim_address(site.endpoint(Host(6, "02:00:00:00:00:31", "10.0.0.31"), address="8.8.8.8"), number)


async def test_what_a_session_holds_is_never_reached_through_the_router() -> None:
    policy = POLICY + "  - {id: all, from: [any], to: {networks: [0.0.0.0/0]}, services: [any]}\n"
    site = await start(policy)
    assert across(site, 4, DESK.tcp(v6(WWW, "8.8.8.8"), 1, 22), "s1") == [("s1", 8)]
    for address in ("10.0.0.11", "10.0.0.21", "10.0.0.254", "10.0.0.1", "224.0.0.1"):
        assert across(site, 4, DESK.tcp(v6(WWW, address), 1, 22), "s1") == []


async def test_the_end_of_a_session_ends_its_flows_with_the_outside() -> None:
    site = await start()
    across(site, 2, LAPTOP.tcp(WWW, 40000, 443))
    across(site, 8, PARTNER.tcp(WEB1, 40000, 443), "s1")
    assert site.state.outside[WAN].opened == 1
    for number in (1, 2):
        site.admin.end_session(number, SessionEvent.REVOKED)
    assert across(site, 8, WWW.tcp(LAPTOP, 443, 40000, ACK), "s1") == []
    assert across(site, 8, PARTNER.tcp(WEB1, 40000, 443, ACK), "s1") == []
    assert not [
        f for s in site.switches.values() for f in s.tables.values() if f.table == Table.FLOW and f.notify_removed
    ]
    assert len(site.state.flows) == 0
    assert site.state.outside[WAN].opened == 0


async def test_another_policy_cuts_what_it_denies_and_leaves_the_rest() -> None:
    site = await start()
    across(site, 2, LAPTOP.tcp(WWW, 40000, 443))
    across(site, 2, LAPTOP.udp(WWW, 5000, 53))
    across(site, 8, PARTNER.tcp(WEB1, 40000, 443), "s1")
    await site.use_policy(POLICY.replace("tcp/443, udp/53", "udp/53").replace("  - {id: in, ", "  - {id: within, "))
    assert across(site, 2, LAPTOP.tcp(WWW, 40000, 443, ACK)) == []
    assert across(site, 2, LAPTOP.udp(WWW, 5000, 53)) == [("s1", 8)]
    assert across(site, 8, WWW.udp(LAPTOP, 53, 5000), "s1") == [("s2", 2)]
    assert across(site, 8, PARTNER.tcp(WEB1, 40000, 443, ACK), "s1") == [("s1", 3)]  # by another rule now


async def test_a_connection_goes_on_when_its_address_comes_to_another_network() -> None:
    """A longer prefix is named, then none but a shorter one: the decision stands, and so does the flow."""
    site = await start()
    across(site, 2, LAPTOP.tcp(WWW, 40000, 443))
    longer = POLICY + "  - {id: ssh, from: [staff], to: {networks: [198.51.100.80/32]}, services: [tcp/22]}\n"
    shorter = POLICY.replace("198.51.100.0/24", "198.51.0.0/16")
    for policy, port in ((longer, 22), (shorter, 443), (POLICY, 443)):
        await site.use_policy(policy)
        for _ in range(2):
            assert across(site, 2, LAPTOP.tcp(WWW, 40000, 443, ACK)) == [("s1", 8)]
            assert across(site, 8, WWW.tcp(LAPTOP, 443, 40000, ACK), "s1") == [("s2", 2)]
        assert across(site, 2, LAPTOP.tcp(WWW, 40001, port)) == [("s1", 8)]
        site.now += 2


async def test_without_networks_in_the_policy_an_uplink_leads_nowhere() -> None:
    site = await start()
    across(site, 2, LAPTOP.tcp(WWW, 40000, 443))
    await site.use_policy(POLICY[: POLICY.index("rules:")] + "rules: []\n")
    assert across(site, 2, LAPTOP.tcp(WWW, 40000, 443, ACK)) == []
    assert not [flow for flow in site.s1.tables.values() if WAN in (flow.cookie >> 40, flow.cookie >> 16 & 0xFFFFFF)]


async def test_the_flows_that_are_opened_from_outside_are_bounded() -> None:
    site = await start(flows_per_uplink=3, flows_per_external_address=2)
    third = v6(PARTNER, "203.0.113.11")
    for port in range(3):
        across(site, 8, PARTNER.tcp(WEB1, 1000 + port, 443), "s1")
    for port in range(2):
        across(site, 8, third.tcp(WEB1, 1000 + port, 443), "s1")
    assert len(site.state.flows) == 3
    assert site.records.reasons() == ["quota", "quota"]
    for flow in [flow for flow in site.s1.tables.values() if flow.notify_removed and flow.table == Table.FLOW]:
        site.s1.expire(flow)
    assert across(site, 8, PARTNER.tcp(WEB1, 2000, 443), "s1") == [("s1", 3)]


async def test_hosts_learn_the_routers_mac_and_the_router_that_of_hosts_if_they_have_to_do_with_each_other() -> None:
    site = await start()
    s1 = site.s1

    def answered(host: Host, frame: bytes, switch: str = "s1") -> bytes | None:
        site.switches[switch].take()
        site.switches[switch].send(host.port, frame)
        taken = site.switches[switch].take()
        assert all(port == host.port for port, _ in taken)
        return taken[0][1][6:12] if taken else None

    assert answered(DESK, DESK.arp("10.0.0.1")) == mac(ROUTER)
    laptop6 = v6(LAPTOP, "2001:db8::21")
    assert answered(laptop6, laptop6.solicitation("2001:db8::1"), "s2") == mac(ROUTER)
    assert answered(WEB1, WEB1.arp("10.0.0.1")) == mac(ROUTER)  # which is reached from outside
    assert answered(GHOST, GHOST.arp("10.0.0.1")) is None
    assert answered(GATEWAY, GATEWAY.arp("10.0.0.11")) == mac(WEB1.mac)
    assert answered(GATEWAY, v6(GATEWAY, "2001:db8::1").solicitation("2001:db8::21")) == mac(LAPTOP.mac)
    assert answered(GATEWAY, GATEWAY.arp("10.0.0.66")) is None
    assert answered(GATEWAY, GATEWAY.arp("10.0.0.254")) is None
    await site.use_policy(POLICY[: POLICY.index("rules:")] + "rules: []\n")
    assert answered(DESK, DESK.arp("10.0.0.1")) is None
    assert answered(GATEWAY, GATEWAY.arp("10.0.0.22")) is None
    site.records.calls.clear()
    assert answered(GATEWAY, Host(8, "02:00:00:00:00:77", "10.0.0.1").arp("10.0.0.11")) is None
    assert answered(GATEWAY, GATEWAY.arp("10.0.0.11", sender="10.0.0.21")) is None
    assert site.records.reasons() == ["neighbour-spoof", "neighbour-spoof"]
    assert s1.take() == []


async def test_icmp_errors_about_a_flow_pass_from_its_own_end_only() -> None:
    site = await start()
    query = DESK.udp(WWW, 5000, 53)
    across(site, 4, query, "s1")
    assert across(site, 8, WWW.unreachable(DESK, query), "s1") == [("s1", 4)]
    assert across(site, 8, v6(WWW, "198.51.100.7").unreachable(DESK, query), "s1") == []
    assert across(site, 8, PARTNER.unreachable(DESK, query), "s1") == []
    assert site.records.reasons() == ["unrelated-error", "unrelated-error"]


async def test_a_controller_that_starts_again_adopts_flows_with_the_outside() -> None:
    site = await start()
    across(site, 2, LAPTOP.tcp(WWW, 40000, 443))
    across(site, 8, PARTNER.tcp(WEB1, 40000, 443), "s1")
    again = Site(NETWORK, POLICY, site.store)
    again.now = site.now
    for name, switch in again.switches.items():
        switch.tables = dict(site.switches[name].tables)
    await again.start()
    assert [switch.flow_mods for switch in again.switches.values()] == [0, 0]
    assert set(again.state.flows.by_key) == set(site.state.flows.by_key)
    assert again.state.outside[WAN].opened == 1
    assert across(again, 8, WWW.tcp(LAPTOP, 443, 40000, ACK), "s1") == [("s2", 2)]
    assert across(again, 8, PARTNER.tcp(WEB1, 40000, 443, RST), "s1") == [("s1", 3)]


async def test_standing_entries_grow_with_named_networks_and_not_with_sessions() -> None:
    def about_networks(site: Site) -> dict[str, int]:
        return {
            name: sum(WAN in (flow.cookie >> 40, flow.cookie >> 16 & 0xFFFFFF) for flow in switch.tables.values())
            for name, switch in site.switches.items()
        }

    site = await Site(NETWORK, POLICY).start()
    before = about_networks(site)
    assert before["s1"] == before["s2"] == 2 * len(site.state.policy.networks)
    site.login(WEB1, WEB)
    site.login(DESK, BOB)
    assert about_networks(site) == before


async def test_a_router_may_want_a_tag() -> None:
    network = NETWORK.replace("port: 8\n", "port: 8\n    vlan: 30\n")
    site = await Site(network, POLICY).start()
    site.login(DESK, BOB)
    site.s1.take()
    site.s1.send(4, DESK.tcp(WWW, 40000, 443))
    ((port, frame),) = site.s1.take()
    assert (port, untagged(frame)) == (8, (30, DESK.tcp(WWW, 40000, 443)))
    assert site.s1.send(8, WWW.tcp(DESK, 443, 40000, SYN_ACK)).ports == []
    assert site.s1.send(8, WWW.tcp(DESK, 443, 40000, SYN_ACK), vlan=30).ports == [4]
    outcome = site.s1.send(4, DESK.tcp(WWW, 40000, 443, ACK))
    assert (outcome.ports, outcome.vlans) == ([8], [30])


async def test_what_is_remembered_of_addresses_outside_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "MAX_KNOWN", 4)
    site = await start()
    wan = site.state.outside[WAN]
    for last in range(10):
        assert wan.holds(packed(f"198.51.100.{last}"))
        assert not wan.holds(packed(f"192.0.2.{last}"))
        assert not wan.holds(packed(f"10.0.0.{last}"))
    assert len(wan._known) <= 4
