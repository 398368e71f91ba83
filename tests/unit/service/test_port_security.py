"""Which cards and addresses a port may have: at login, for further addresses, before login, and after a restart."""

from __future__ import annotations

import pytest

from fakes.frames import ACK, SYN, Host
from fakes.records import MemoryStore
from fakes.site import ALICE, BOB, DB, PORTAL, WEB, Site
from zethane.audit.reason import SessionEvent
from zethane.errors import AddressInUse, PortRefusal, SessionError
from zethane.network.load import parse_network
from zethane.service.points import Fabric

NETWORK = """
switches:
  s1:
    ports:
      4: {macs: 2}
      5: {addresses: [10.0.0.64/26, "2001:db8::/64"]}
      8: {role: trunk}
portal: {switch: s1, port: 1, ip: [10.0.0.254/24, "2001:db8::fe/64"], mac: "02:00:00:00:00:fe"}
infrastructure:
  dns1: {switch: s1, port: 6, ip: 10.0.0.53/24, mac: "02:00:00:00:00:53", serves: [dns]}
uplinks:
  wan: {switch: s1, port: 7, ip: 10.0.0.1/24, mac: "02:00:00:00:00:01", networks: [198.51.100.0/24]}
"""
FIRST = Host(3, "02:00:00:00:00:31", "10.0.0.31")
SECOND = Host(3, "02:00:00:00:00:32", "10.0.0.32")


async def start(store: MemoryStore | None = None, network: str = NETWORK) -> Site:
    return await Site(network, store=store).start()


def sessions(site: Site) -> list[str]:
    return sorted(live.session.principal.name for live in site.state.sessions)


async def test_a_second_card_behind_a_port_cannot_log_in_and_the_first_is_not_disturbed() -> None:
    site = await start()
    first = site.login(FIRST, ALICE)
    entries = dict(site.s1.tables)
    with pytest.raises(PortRefusal, match="one card"):
        site.login(SECOND, BOB)
    assert site.records.reasons() == ["mac-limit"]
    assert site.state.counters["denied_mac-limit"] == 1
    (denied, _) = site.records.of("denied")[0]
    assert (denied.switch, denied.port, denied.mac.hex(":")) == ("s1", 3, SECOND.mac)
    assert site.s1.tables == entries
    assert site.login(FIRST, ALICE).number == first.number


async def test_the_place_is_free_again_when_the_session_ends_or_the_port_goes_down() -> None:
    site = await start()
    number = site.login(FIRST, ALICE).number
    site.admin.end_session(number, SessionEvent.LOGOUT)
    site.login(SECOND, BOB)
    state = site.s1.ports[2]
    assert state.number == 3
    for up in (False, True):
        site.admin.port_status(site.s1, type(state)(3, "p3", up=up), removed=False)
    site.login(FIRST, ALICE)
    assert sessions(site) == ["alice"]


async def test_a_port_may_have_as_many_cards_as_it_says() -> None:
    site = await start()
    hosts = [Host(4, f"02:00:00:00:00:4{number}", f"10.0.0.4{number}") for number in range(3)]
    for host, principal in zip(hosts[:2], (ALICE, BOB), strict=True):
        site.login(host, principal)
    with pytest.raises(PortRefusal, match="2 cards"):
        site.login(hosts[2], WEB)
    assert sessions(site) == ["alice", "bob"]


async def test_a_host_that_moves_to_a_full_port_keeps_the_session_that_it_has() -> None:
    site = await start()
    site.login(FIRST, ALICE)
    home = Host(2, "02:00:00:00:00:21", "10.0.0.21")
    number = site.login(home, BOB).number
    with pytest.raises(PortRefusal):
        site.login(Host(3, home.mac, home.ip), BOB)
    assert number in site.state.sessions.by_number


async def test_a_second_card_gets_no_new_connection_to_the_portal_and_the_first_does() -> None:
    site = await start()
    s1 = site.s1
    s1.send(3, SECOND.tcp(PORTAL, 50000, 8080))
    assert s1.take(), "before anybody has logged in, any card may try"
    site.login(FIRST, ALICE)
    s1.send(3, SECOND.tcp(PORTAL, 50001, 8080))
    assert s1.take() == []
    assert site.records.reasons() == ["mac-limit"]
    s1.send(3, FIRST.tcp(PORTAL, 50001, 8080))
    assert len(s1.take()) == 1


@pytest.mark.parametrize(("address", "allowed"), [("10.0.0.65", True), ("10.0.0.31", False), ("2001:db8::5", True)])
async def test_a_port_may_have_addresses_of_its_prefixes_only(address: str, allowed: bool) -> None:
    site = await start()
    host = Host(5, "02:00:00:00:00:51", address)
    if allowed:
        site.login(host, ALICE)
    else:
        with pytest.raises(PortRefusal):
            site.login(host, ALICE)
    assert site.records.reasons() == ([] if allowed else ["address-not-allowed"])


async def test_a_further_address_is_held_against_the_prefixes_as_well() -> None:
    site = await start()
    host = Host(5, "02:00:00:00:00:51", "10.0.0.65")
    number = site.login(host, ALICE).number
    site.admin.claim_address(site.endpoint(host, address="2001:db8::5"), number)
    with pytest.raises(PortRefusal):
        site.admin.claim_address(site.endpoint(host, address="2001:db9::5"), number)
    with pytest.raises(PortRefusal):
        site.login(Host(5, host.mac, "10.0.0.31"), ALICE)
    assert site.records.reasons() == ["address-not-allowed"] * 2
    assert len(site.state.sessions.by_number[number].session.addresses) == 2


@pytest.mark.parametrize("address", ["10.0.0.254", "2001:db8::fe", "10.0.0.53", "10.0.0.1"])
async def test_an_address_of_the_network_itself_is_never_a_sessions(address: str) -> None:
    site = await start()
    with pytest.raises(AddressInUse):
        site.login(Host(3, FIRST.mac, address), ALICE)
    number = site.login(FIRST, ALICE).number
    with pytest.raises(AddressInUse):
        site.admin.claim_address(site.endpoint(FIRST, address=address), number)


@pytest.mark.parametrize("mac", ["02:00:00:00:00:fe", "02:00:00:00:00:53", "02:00:00:00:00:01"])
async def test_a_card_of_the_network_itself_is_never_a_sessions(mac: str) -> None:
    site = await start()
    with pytest.raises(SessionError):
        site.login(Host(3, mac, "10.0.0.31"), ALICE)


@pytest.mark.parametrize("port", [1, 6, 7, 8])
async def test_only_edge_ports_have_sessions(port: int) -> None:
    site = await start()
    with pytest.raises(SessionError):
        site.login(Host(port, "02:00:00:00:00:88", "10.0.0.88"), ALICE)
    host = Host(port, "02:00:00:00:00:88", "10.0.0.88")
    for flags in (SYN, ACK):
        site.s1.send(port, host.tcp(PORTAL, 50000, 8080, flags))
    assert len(site.admin.portal_access) == 0


async def test_after_a_restart_the_limits_hold_for_what_is_taken_up() -> None:
    roomy = NETWORK.replace("4: {macs: 2}", "4: {macs: 2}\n      3: {macs: 3}")
    site = await start(network=roomy)
    site.login(FIRST, ALICE)
    site.login(SECOND, BOB)
    site.login(Host(2, "02:00:00:00:00:22", "10.0.0.22"), DB)
    again = await start(store=site.store)
    assert sessions(again) == ["alice", "db1"]
    assert [event for event, *_ in again.records.of("session")] == ["mac-limit"]
    narrow = NETWORK.replace("4: {macs: 2}", "3: {addresses: [10.0.0.32/32]}")
    third = await start(store=site.store, network=narrow)
    assert sessions(third) == ["db1"]


def test_what_belongs_to_the_network_is_known_from_its_description() -> None:
    fabric = Fabric(parse_network(NETWORK, "network.yaml"))
    assert len(fabric.own_addresses) == 4
    assert len(fabric.own_macs) == 3
