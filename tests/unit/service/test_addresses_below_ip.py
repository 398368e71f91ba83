"""Sessions that began below IP: which IPv4 addresses they get by using them, and when they lose them."""

from __future__ import annotations

import ipaddress

import pytest

from fakes.dhcp import from_host, from_server
from fakes.frames import Host, packed
from fakes.records import MemoryStore
from fakes.site import ALICE, BOB, Site, proof_of
from zethane.audit.reason import DenyReason, SessionEvent
from zethane.identity.session import Session
from zethane.policy.principal import Principal
from zethane.service.address_binding import MAX_IPV4, PERIOD

NETWORK = """
switches:
  s1:
    ports:
      6: {addresses: ["10.0.0.64/28"]}
      7: {addresses: dhcp}
portal: {switch: s1, port: 1, ip: 10.0.0.254/24, mac: "02:00:00:00:00:fe"}
infrastructure:
  dhcp1: {switch: s1, port: 8, ip: 10.0.0.53/24, mac: "02:00:00:00:00:53", serves: [dhcp]}
uplinks:
  wan: {switch: s1, port: 9, ip: 10.0.0.1/24, mac: "02:00:00:00:00:01", networks: [0.0.0.0/0]}
"""
POLICY = """
version: 1
segments: {staff: {groups: [staff]}}
rules: [{id: all, from: [staff], to: [staff], services: [any]}]
"""
SERVER = Host(8, "02:00:00:00:00:53", "10.0.0.53")
LAPTOP, OTHER = Host(2, "02:00:00:00:00:21", "10.0.0.21"), Host(3, "02:00:00:00:00:22", "10.0.0.22")
LISTED, LEASED = Host(6, "02:00:00:00:00:23", "10.0.0.66"), Host(7, "02:00:00:00:00:24", "10.0.0.24")
NOBODY = "10.0.0.99"
ANYWHERE = "0.0.0.0"  # noqa: S104  # the sender of an ARP probe


async def start(store: MemoryStore | None = None) -> Site:
    return await Site(NETWORK, POLICY, store).start()


def enter(site: Site, host: Host, principal: Principal = ALICE, method: str = "dot1x") -> Session:
    proof = proof_of(principal, site.now, method=method)
    return site.admin.start_session(site.endpoint(host).attachment, proof, None, None)


def held(site: Site, host: Host) -> list[str]:
    live = site.state.sessions.at(site.endpoint(host).attachment)
    return [] if live is None else [str(ipaddress.ip_address(address)) for address in live.session.addresses]


@pytest.mark.parametrize(
    ("target", "sender"),
    [(NOBODY, None), (LAPTOP.ip, ANYWHERE), (LAPTOP.ip, None)],
    ids=["asks", "probes", "announces"],
)
@pytest.mark.parametrize("method", ["dot1x", "mab", "attestation"])
async def test_an_address_is_had_by_using_it(target: str, sender: str | None, method: str) -> None:
    site = await start()
    assert enter(site, LAPTOP, method=method).addresses == ()
    site.s1.send(2, LAPTOP.arp(target, sender=sender))
    assert held(site, LAPTOP) == [LAPTOP.ip]
    assert site.records.reasons() == []


async def test_sessions_of_the_portal_take_none() -> None:
    site = await start()
    site.login(LAPTOP, ALICE)
    site.s1.send(2, LAPTOP.arp(NOBODY, sender="10.0.0.77"))
    assert held(site, LAPTOP) == [LAPTOP.ip]
    assert site.records.reasons() == [DenyReason.NEIGHBOUR_SPOOF]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("10.0.0.22", DenyReason.NEIGHBOUR_SPOOF),  # another session's
        ("10.0.0.254", DenyReason.NEIGHBOUR_SPOOF),  # the portal's
        ("10.0.0.1", DenyReason.NEIGHBOUR_SPOOF),  # the router's
        ("10.0.0.0", DenyReason.ADDRESS_NOT_ALLOWED),
        ("10.0.0.255", DenyReason.ADDRESS_NOT_ALLOWED),
        ("192.0.2.1", DenyReason.ADDRESS_NOT_ALLOWED),  # outside
        ("169.254.1.1", DenyReason.ADDRESS_NOT_ALLOWED),
        ("127.0.0.1", DenyReason.ADDRESS_NOT_ALLOWED),
    ],
)
async def test_what_is_no_hosts_or_somebody_elses_is_not_had(address: str, reason: DenyReason) -> None:
    site = await start()
    enter(site, OTHER, BOB)
    site.s1.send(3, OTHER.arp(NOBODY))
    enter(site, LAPTOP)
    site.s1.send(2, LAPTOP.arp(NOBODY, sender=address))
    assert held(site, LAPTOP) == []
    assert site.records.reasons() == [reason]


async def test_the_ports_own_rules_hold() -> None:
    site = await start()
    enter(site, LISTED)
    site.s1.send(6, LISTED.arp(NOBODY, sender="10.0.0.20"))
    site.s1.send(6, LISTED.arp(NOBODY))
    assert held(site, LISTED) == [LISTED.ip]
    enter(site, LEASED, BOB)
    site.s1.send(7, LEASED.arp(NOBODY))
    assert held(site, LEASED) == []
    assert site.records.reasons() == [DenyReason.ADDRESS_NOT_ALLOWED] * 2


def lease(site: Site, host: Host, seconds: int = 600) -> None:
    site.s1.send(host.port, from_host(host, "discover"))
    site.s1.send(8, from_server(SERVER, host, "offer", host.ip))
    site.s1.send(host.port, from_host(host, "request", ("requested_addr", host.ip), ("server_id", SERVER.ip)))
    site.s1.send(8, from_server(SERVER, host, "ack", host.ip, lease=seconds))


@pytest.mark.parametrize("before", [True, False])
async def test_a_leased_address_is_had_at_once(before: bool) -> None:
    site = await start()
    if before:
        lease(site, LEASED)
    enter(site, LEASED)
    if not before:
        lease(site, LEASED)
    assert held(site, LEASED) == [LEASED.ip]


async def test_the_end_of_a_lease_takes_the_address_and_not_the_session() -> None:
    site = await start()
    session = enter(site, LEASED)
    lease(site, LEASED, 600)
    site.now += 601
    site.admin.tick(site.now)
    assert held(site, LEASED) == []
    assert session.number in site.state.sessions.by_number
    assert site.records.of("session")[-1][0] == SessionEvent.ADDRESS_RELEASED


async def test_a_session_has_two_and_what_is_idle_makes_room() -> None:
    site = await start()
    enter(site, LAPTOP)
    for number in range(30, 34):
        site.s1.send(2, LAPTOP.arp(NOBODY, sender=f"10.0.0.{number}"))
    assert held(site, LAPTOP) == ["10.0.0.32", "10.0.0.33"]
    assert len(held(site, LAPTOP)) == MAX_IPV4
    assert site.state.sessions.by_address.keys() == {packed("10.0.0.32"), packed("10.0.0.33")}


async def test_a_host_does_not_walk_through_the_subnet() -> None:
    site = await start()
    enter(site, LAPTOP)
    for number in range(30, 60):
        site.s1.send(2, LAPTOP.arp(NOBODY, sender=f"10.0.0.{number}"))
    assert site.state.counters["addresses_bound"] == 8
    assert DenyReason.QUOTA in site.records.reasons()
    site.now += PERIOD
    site.s1.send(2, LAPTOP.arp(NOBODY, sender="10.0.0.90"))
    assert "10.0.0.90" in held(site, LAPTOP)


async def test_after_a_restart_it_goes_on_with_or_without_an_address() -> None:
    site = await start()
    enter(site, LAPTOP)
    enter(site, OTHER, BOB)
    site.s1.send(2, LAPTOP.arp(NOBODY))
    again = Site(NETWORK, POLICY, site.store)
    again.now = site.now
    await again.start()
    assert held(again, LAPTOP) == [LAPTOP.ip]
    assert len(again.state.sessions) == 2
    again.s1.send(3, OTHER.arp(NOBODY))
    assert held(again, OTHER) == [OTHER.ip]
