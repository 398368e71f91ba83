"""DNS servers of the infrastructure on switches in memory: live sessions ask, nobody else; and servers only answer."""

from __future__ import annotations

import pytest

from fakes.frames import ACK, SYN, SYN_ACK, Host, packed
from fakes.records import MemoryStore
from fakes.site import ALICE, BOB, DB, PORTAL, WEB, Site
from zethane.audit.reason import DenyReason, SessionEvent
from zethane.pipeline.fields import FIRST_STATIC
from zethane.service.policy_in_force import DNS_RULE

NETWORK = """
switches: {s1: {}, s2: {}}
links: [["s1:9", "s2:9"]]
portal: {switch: s1, port: 1, ip: [10.0.0.254/24, "2001:db8::fe/64"], mac: "02:00:00:00:00:fe"}
infrastructure:
  dhcp: {switch: s1, port: 4, ip: 10.0.0.4/24, mac: "02:00:00:00:00:04", serves: [dhcp]}
  names:
    {switch: s1, port: 3, ip: [10.0.0.3/24, "2001:db8::3/64"], mac: "02:00:00:00:00:03", serves: [dns]}
"""
ANYTHING = """
version: 1
segments: {web: {labels: {tier: web}}, db: {labels: {tier: db}}, staff: {groups: [staff]}}
rules:
  - {id: all, from: [any], to: [any], services: [any]}
"""
NOTHING = """
version: 1
segments: {web: {labels: {tier: web}}, db: {labels: {tier: db}}, staff: {groups: [staff]}}
rules:
  - {id: none, from: [any], to: [any], services: [any], action: deny}
"""

NAMES = Host(3, "02:00:00:00:00:03", "10.0.0.3")
NAMES6 = Host(3, "02:00:00:00:00:03", "2001:db8::3")
DHCP_ONLY = Host(4, "02:00:00:00:00:04", "10.0.0.4")
LAPTOP = Host(2, "02:00:00:00:00:21", "10.0.0.21")
LAPTOP6 = Host(2, "02:00:00:00:00:21", "2001:db8::21")
WEB1 = Host(5, "02:00:00:00:00:11", "10.0.0.11")
FAR = Host(2, "02:00:00:00:00:31", "10.0.0.31")


async def start(policy: str = NOTHING, store: MemoryStore | None = None) -> Site:
    return await Site(NETWORK, policy, store).start()


def ports(site: Site, switch: str = "s1") -> list[int]:
    return [port for port, _ in site.switches[switch].take()]


@pytest.mark.parametrize("policy", [NOTHING, ANYTHING])
async def test_a_session_asks_and_is_answered_whatever_the_policy_says(policy: str) -> None:
    site = await start(policy)
    site.login(LAPTOP, ALICE)
    site.s1.send(LAPTOP.port, LAPTOP.udp(NAMES, 5000, 53))
    assert ports(site) == [NAMES.port]
    (flow,) = site.state.flows.by_key.values()
    assert (flow.object, site.records.of("allowed")[0][2]) == (FIRST_STATIC + 1, DNS_RULE)
    site.s1.send(NAMES.port, NAMES.udp(LAPTOP, 53, 5000))
    site.s1.send(LAPTOP.port, LAPTOP.udp(NAMES, 5000, 53))
    assert ports(site) == [LAPTOP.port, NAMES.port]
    assert site.state.counters["packet_ins"] == 1
    site.s1.send(LAPTOP.port, LAPTOP.tcp(NAMES, 5001, 53))
    site.s1.send(NAMES.port, NAMES.tcp(LAPTOP, 53, 5001, SYN_ACK))
    assert ports(site) == [NAMES.port, LAPTOP.port]
    assert site.records.reasons() == []


async def test_in_ipv6_and_from_another_switch_as_well() -> None:
    site = await start()
    session = site.login(LAPTOP, ALICE)
    site.admin.claim_address(site.endpoint(LAPTOP6), session.number)
    site.s1.send(LAPTOP.port, LAPTOP6.udp(NAMES6, 5000, 53))
    assert ports(site) == [NAMES.port]
    site.login(FAR, BOB, "s2")
    site.switches["s2"].send(FAR.port, FAR.udp(NAMES, 5000, 53))
    assert ports(site) == [NAMES.port]
    # The answer is tagged for the other switch by the server's own, which knows the session without having it.
    outcome = site.s1.send(NAMES.port, NAMES.udp(FAR, 53, 5000))
    assert outcome.ports == [9]
    assert not outcome.to_controller


async def test_nobody_asks_before_the_login_or_after_the_end() -> None:
    site = await start(ANYTHING)
    site.s1.send(LAPTOP.port, LAPTOP.udp(NAMES, 5000, 53))
    assert ports(site) == []
    session = site.login(LAPTOP, ALICE)
    site.s1.send(LAPTOP.port, LAPTOP.udp(NAMES, 5000, 53))
    assert ports(site) == [NAMES.port]
    site.admin.end_session(session.number, SessionEvent.LOGOUT)
    site.s1.send(LAPTOP.port, LAPTOP.udp(NAMES, 5000, 53))
    site.s1.send(NAMES.port, NAMES.udp(LAPTOP, 53, 5000))
    assert ports(site) == []
    assert len(site.state.flows) == 0


@pytest.mark.parametrize("policy", [NOTHING, ANYTHING])
async def test_there_is_nothing_but_dns_at_a_server(policy: str) -> None:
    site = await start(policy)
    site.login(LAPTOP, ALICE)
    for frame in (
        LAPTOP.tcp(NAMES, 5000, 22),
        LAPTOP.udp(NAMES, 5000, 67),
        LAPTOP.echo(NAMES),
        LAPTOP.udp(DHCP_ONLY, 5000, 53),
    ):
        site.s1.send(LAPTOP.port, frame)
    assert ports(site) == []
    assert site.records.reasons() == [DenyReason.NO_RULE] * 3 + [DenyReason.UNKNOWN_DESTINATION]
    assert not site.records.of("allowed")


@pytest.mark.parametrize("policy", [NOTHING, ANYTHING])
async def test_a_server_opens_nothing(policy: str) -> None:
    site = await start(policy)
    site.login(LAPTOP, ALICE)
    site.login(WEB1, WEB)
    for frame in (
        NAMES.udp(LAPTOP, 53, 5000),
        NAMES.udp(LAPTOP, 5000, 53),
        NAMES.tcp(LAPTOP, 53, 443, SYN),
        NAMES.tcp(LAPTOP, 53, 443, ACK),
        NAMES.tcp(LAPTOP, 4000, 443),
        NAMES.echo(LAPTOP),
        NAMES.tcp(PORTAL, 53, 8080, SYN),
        DHCP_ONLY.udp(LAPTOP, 53, 5000),
        Host(3, NAMES.mac, WEB1.ip).udp(LAPTOP, 53, 5000),
    ):
        site.s1.send(NAMES.port, frame)
        assert ports(site) == []
    assert not site.records.of("allowed")


async def test_nobody_answers_in_a_servers_name() -> None:
    site = await start(ANYTHING)
    site.login(LAPTOP, ALICE)
    site.login(WEB1, WEB)
    site.s1.send(LAPTOP.port, LAPTOP.udp(NAMES, 5000, 53))
    ports(site)
    site.s1.send(WEB1.port, Host(5, NAMES.mac, NAMES.ip).udp(LAPTOP, 53, 5000))
    site.s1.send(WEB1.port, Host(5, WEB1.mac, NAMES.ip).udp(LAPTOP, 53, 5000))
    assert ports(site) == []


async def test_sessions_learn_the_servers_mac_and_it_theirs() -> None:
    site = await start()
    site.s1.send(LAPTOP.port, LAPTOP.arp(NAMES.ip))
    site.s1.send(NAMES.port, NAMES.arp(LAPTOP.ip))
    assert ports(site) == []
    site.login(LAPTOP, ALICE)
    site.s1.send(LAPTOP.port, LAPTOP.arp(NAMES.ip))
    site.s1.send(NAMES.port, NAMES.arp(LAPTOP.ip))
    assert ports(site) == [LAPTOP.port, NAMES.port]
    site.s1.send(LAPTOP.port, LAPTOP.arp(DHCP_ONLY.ip))
    assert ports(site) == []


async def test_questions_count_towards_the_sessions_quota() -> None:
    site = await Site(NETWORK, NOTHING, flows_per_session=2).start()
    site.login(LAPTOP, ALICE)
    for port in (5000, 5001, 5002):
        site.s1.send(LAPTOP.port, LAPTOP.udp(NAMES, port, 53))
    assert ports(site) == [NAMES.port] * 2
    assert site.records.reasons() == [DenyReason.QUOTA]


async def test_a_change_of_policy_and_a_restart_cut_no_question() -> None:
    store = MemoryStore()
    site = await start(store=store)
    site.login(LAPTOP, ALICE)
    site.login(FAR, DB, "s2")
    site.s1.send(LAPTOP.port, LAPTOP.udp(NAMES, 5000, 53))
    site.switches["s2"].send(FAR.port, FAR.udp(NAMES, 5000, 53))
    await site.use_policy(ANYTHING)
    assert len(site.state.flows) == 2
    again = Site(NETWORK, ANYTHING, store)
    again.now = site.now
    for name, switch in again.switches.items():
        switch.tables = site.switches[name].tables
    await again.start()
    assert len(again.state.flows) == 2
    ports(again)
    again.s1.send(NAMES.port, NAMES.udp(LAPTOP, 53, 5000))
    assert ports(again) == [LAPTOP.port]
    assert again.state.counters["packet_ins"] == 0
    assert packed(NAMES.ip) not in again.state.sessions.by_address
