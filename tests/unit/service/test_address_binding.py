"""First come, first served: which IPv6 addresses a session gets by using them, and when it loses them."""

from __future__ import annotations

import ipaddress

import pytest

from fakes.frames import Host, mac, packed
from fakes.records import MemoryStore
from fakes.site import ALICE, BOB, DB, TWO_SWITCHES, WEB, Site
from fakes.switch import FakeSwitch
from zethane.audit.reason import SessionEvent
from zethane.errors import CapacityError
from zethane.identity.session import MAX_ADDRESSES, Session
from zethane.pipeline.tables import Table
from zethane.service.address_binding import PERIOD

NETWORK = """
switches:
  s1:
    ports:
      4: {macs: 2}
      6: {addresses: ["10.0.0.0/24", "2001:db8:5::/64"]}
      7: {addresses: dhcp}
portal: {switch: s1, port: 1, ip: [10.0.0.254/24, "2001:db8::fe/64"], mac: "02:00:00:00:00:fe"}
"""
ANY = """
version: 1
segments: {all: {groups: [staff]}, web: {labels: {tier: web}}, db: {labels: {tier: db}}}
rules: [{id: all, from: [any], to: [any], services: [any]}]
"""
LAPTOP, OTHER = Host(2, "02:00:00:00:00:21", "10.0.0.21"), Host(3, "02:00:00:00:00:22", "10.0.0.22")


async def start(network: str = NETWORK, store: MemoryStore | None = None) -> Site:
    return await Site(network, ANY, store).start()


def probe(site: Site, host: Host, address: str, switch: str = "s1") -> None:
    site.switches[switch].send(host.port, host.solicitation(address, sender="::"))


def held(site: Site, host: Host, switch: str = "s1") -> list[str]:
    live = site.state.sessions.at(site.endpoint(host, switch).attachment)
    return [] if live is None else [str(ipaddress.ip_address(address)) for address in live.session.addresses]


def bound(switch: FakeSwitch, table: Table, address: str) -> int:
    """Entries of a table about an address."""
    value = int.from_bytes(packed(address), "big")
    return sum(
        flow.table == table and any(field.value == value for field in flow.match) for flow in switch.tables.values()
    )


@pytest.mark.parametrize("address", ["fe80::21", "2001:db8::21", "2001:db8::a:b:c:d"])
async def test_a_probe_of_a_session_binds_what_nobody_holds_at_once(address: str) -> None:
    site = await start()
    number = site.login(LAPTOP, ALICE).number
    probe(site, LAPTOP, address)
    assert held(site, LAPTOP) == ["10.0.0.21", address]
    assert (bound(site.s1, Table.SOURCE, address), bound(site.s1, Table.DESTINATION, address)) == (1, 1)
    assert site.store.saved[number].addresses == (packed("10.0.0.21"), packed(address))
    assert site.records.of("session")[-1][0] == SessionEvent.ADDRESS_BOUND
    assert site.records.reasons() == []
    assert site.s1.take() == []


async def test_a_question_from_an_unbound_address_binds_it_and_is_answered() -> None:
    site = await start()
    site.login(LAPTOP, ALICE)
    site.login(OTHER, BOB)
    probe(site, OTHER, "fe80::22")
    site.s1.send(2, LAPTOP.solicitation("fe80::22", sender="fe80::21"))
    ((port, answer),) = site.s1.take()
    assert (port, answer[80:86]) == (2, mac(OTHER.mac))
    assert held(site, LAPTOP) == ["10.0.0.21", "fe80::21"]


async def test_traffic_between_link_local_addresses_follows_the_policy() -> None:
    site = await start()
    site.login(LAPTOP, ALICE)
    site.login(OTHER, BOB)
    one, two = Host(2, LAPTOP.mac, "fe80::21"), Host(3, OTHER.mac, "fe80::22")
    site.s1.send(2, one.tcp(two, 40000, 22))
    assert site.records.reasons() == ["unauthenticated"]
    for host, address in ((LAPTOP, "fe80::21"), (OTHER, "fe80::22")):
        probe(site, host, address)
    site.s1.send(2, one.tcp(two, 40000, 22))
    assert [port for port, _ in site.s1.take()] == [3]


async def test_before_a_login_nothing_is_bound() -> None:
    site = await start()
    probe(site, LAPTOP, "fe80::21")
    site.login(LAPTOP, ALICE)
    assert held(site, LAPTOP) == ["10.0.0.21"]


async def test_an_ipv4_address_is_never_bound_by_a_probe() -> None:
    site = await start()
    site.login(LAPTOP, ALICE)
    site.s1.send(2, LAPTOP.arp("10.0.0.99", sender="0.0.0.0"))  # noqa: S104  # the sender of a probe
    assert held(site, LAPTOP) == ["10.0.0.21"]


def lease(site: Site, host: Host, address: str) -> None:
    """A DHCP server has given the host this address."""
    site.admin.leasing.grant(site.endpoint(host).attachment, packed(address), 3600, host.mac.encode())


async def test_a_leased_address_is_bound_when_it_is_used_and_for_nobody_else() -> None:
    site = await start()
    dhcp = Host(7, "02:00:00:00:00:71", "10.0.0.71")
    lease(site, dhcp, "10.0.0.71")
    lease(site, dhcp, "2001:db8::71")
    site.login(dhcp, ALICE)
    site.login(OTHER, BOB)
    probe(site, OTHER, "2001:db8::71")
    assert (held(site, OTHER), site.records.reasons()) == (["10.0.0.22"], ["address-in-use"])
    probe(site, dhcp, "2001:db8::71")
    assert held(site, dhcp) == ["10.0.0.71", "2001:db8::71"]


async def test_a_server_cannot_lease_what_lies_behind_an_uplink() -> None:
    uplink = 'uplinks: {wan: {switch: s1, port: 9, ip: "2001:db8::1/64", networks: ["2001:db8:ffff::/48"]}}\n'
    site = await start(NETWORK + uplink)
    site.login(LAPTOP, ALICE)
    lease(site, LAPTOP, "2001:db8:ffff::21")
    probe(site, LAPTOP, "2001:db8:ffff::21")
    assert (held(site, LAPTOP), site.records.reasons()) == (["10.0.0.21"], ["address-not-allowed"])


REFUSED = {
    "outside of the site": ("2001:db8:9::21", "address-not-allowed"),
    "of another's network": ("2606:4700::1", "address-not-allowed"),
    "unique local that is not of the site": ("fd00::21", "address-not-allowed"),
    "the routers' anycast address": ("2001:db8::", "address-not-allowed"),
    "IPv4 in IPv6": ("::ffff:10.0.0.21", "address-not-allowed"),
    "loopback": ("::1", "address-not-allowed"),
    "the portal's": ("2001:db8::fe", "address-in-use"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_no_other_address_is_bound(name: str) -> None:
    address, reason = REFUSED[name]
    site = await start()
    site.login(LAPTOP, ALICE)
    probe(site, LAPTOP, address)
    assert held(site, LAPTOP) == ["10.0.0.21"]
    assert site.records.reasons() == [reason]


async def test_who_has_an_address_keeps_it_until_its_session_ends() -> None:
    site = await start()
    number = site.login(LAPTOP, ALICE).number
    site.login(OTHER, BOB)
    probe(site, LAPTOP, "fe80::21")
    probe(site, OTHER, "fe80::21")
    assert held(site, OTHER) == ["10.0.0.22"]
    assert site.records.reasons() == ["address-in-use"]
    site.admin.end_session(number, SessionEvent.LOGOUT)
    assert (bound(site.s1, Table.SOURCE, "fe80::21"), bound(site.s1, Table.DESTINATION, "fe80::21")) == (0, 0)
    probe(site, OTHER, "fe80::21")
    assert held(site, OTHER) == ["10.0.0.22", "fe80::21"]


@pytest.mark.parametrize(
    ("port", "address", "is_bound"),
    [
        (6, "fe80::21", True),
        (6, "2001:db8:5::21", True),
        (6, "2001:db8::21", False),
        (7, "fe80::21", True),
        (7, "2001:db8::21", False),
    ],
)
async def test_a_ports_addresses_are_a_limit(port: int, address: str, is_bound: bool) -> None:
    site = await start()
    host = Host(port, LAPTOP.mac, "10.0.0.21")
    lease(site, host, "10.0.0.21")
    site.login(host, ALICE)
    probe(site, host, address)
    assert (address in held(site, host)) is is_bound
    assert site.records.reasons() == ([] if is_bound else ["address-not-allowed"])


def fill(site: Site) -> list[str]:
    """Use every place of the session, the oldest first."""
    addresses = [f"2001:db8::{number:x}" for number in range(1, MAX_ADDRESSES)]
    for address in addresses:
        probe(site, LAPTOP, address)
    assert held(site, LAPTOP) == ["10.0.0.21", *addresses]
    return addresses


async def test_the_address_taken_longest_ago_makes_room_and_what_was_claimed_stays() -> None:
    site = await start()
    site.login(LAPTOP, ALICE)
    addresses = fill(site)
    site.now += PERIOD
    probe(site, LAPTOP, "fe80::21")
    assert held(site, LAPTOP) == ["10.0.0.21", *addresses[1:], "fe80::21"]
    assert bound(site.s1, Table.SOURCE, addresses[0]) == bound(site.s1, Table.DESTINATION, addresses[0]) == 0
    assert packed(addresses[0]) not in site.state.sessions.by_address
    assert [event for event, *_ in site.records.of("session")][-2:] == [
        SessionEvent.ADDRESS_RELEASED,
        SessionEvent.ADDRESS_BOUND,
    ]
    assert site.state.sessions.by_number[1].session == site.store.saved[1]


async def test_an_address_with_a_live_flow_does_not_make_room() -> None:
    site = await start()
    site.login(LAPTOP, ALICE)
    site.login(OTHER, BOB)
    probe(site, OTHER, "2001:db8::22")
    addresses = fill(site)
    site.s1.send(2, Host(2, LAPTOP.mac, addresses[0]).tcp(Host(3, OTHER.mac, "2001:db8::22"), 40000, 22))
    site.now += PERIOD
    probe(site, LAPTOP, "fe80::21")
    assert held(site, LAPTOP) == ["10.0.0.21", addresses[0], *addresses[2:], "fe80::21"]


async def test_a_session_whose_addresses_are_all_in_use_gets_no_more() -> None:
    site = await start()
    site.login(LAPTOP, ALICE)
    site.login(OTHER, BOB)
    probe(site, OTHER, "2001:db8::22")
    for number, address in enumerate(fill(site)):
        site.s1.send(2, Host(2, LAPTOP.mac, address).tcp(Host(3, OTHER.mac, "2001:db8::22"), 40000 + number, 22))
    site.now += PERIOD
    probe(site, LAPTOP, "fe80::21")
    assert "fe80::21" not in held(site, LAPTOP)
    assert site.records.reasons() == ["quota"]


async def test_a_session_cannot_change_its_addresses_without_end() -> None:
    """Each change is written to the store and to the switches: their number in a minute is bounded."""
    site = await start()
    site.login(LAPTOP, ALICE)
    for number in range(1, 100):
        probe(site, LAPTOP, f"2001:db8::{number:x}")
    assert site.state.counters["addresses_bound"] == MAX_ADDRESSES
    assert set(site.records.reasons()) == {"quota"}
    site.now += PERIOD
    probe(site, LAPTOP, "2001:db8::99")
    assert held(site, LAPTOP)[-1] == "2001:db8::99"


async def test_a_claim_at_the_portal_comes_before_what_was_taken() -> None:
    site = await start()
    number = site.login(LAPTOP, ALICE).number
    addresses = fill(site)
    site.admin.claim_address(site.endpoint(LAPTOP, address="10.0.0.99"), number)
    assert held(site, LAPTOP) == ["10.0.0.21", *addresses[1:], "10.0.0.99"]
    assert site.state.sessions.by_number[number].session == site.store.saved[number]
    site.admin.claim_address(site.endpoint(LAPTOP, address=addresses[1]), number)
    assert packed(addresses[1]) not in site.store.saved[number].taken


async def test_what_was_taken_is_taken_up_again_after_a_restart_and_still_makes_room() -> None:
    store = MemoryStore()
    first = await start(store=store)
    first.login(LAPTOP, ALICE)
    addresses = fill(first)
    second = await start(store=store)
    assert held(second, LAPTOP) == ["10.0.0.21", *addresses]
    probe(second, LAPTOP, "fe80::21")
    assert held(second, LAPTOP) == ["10.0.0.21", *addresses[1:], "fe80::21"]


async def test_what_cannot_be_saved_is_not_bound() -> None:
    class FullStore(MemoryStore):
        full = False

        def save(self, session: Session) -> None:
            if self.full:
                raise CapacityError("the disk is full")
            super().save(session)

    store = FullStore()
    site = await start(store=store)
    site.login(LAPTOP, ALICE)
    store.full = True
    probe(site, LAPTOP, "fe80::21")
    assert held(site, LAPTOP) == ["10.0.0.21"]
    assert (bound(site.s1, Table.SOURCE, "fe80::21"), site.records.reasons()) == (0, ["table-full"])


async def test_every_switch_that_holds_the_session_has_the_address_and_loses_it() -> None:
    site = await start(TWO_SWITCHES)
    site.login(LAPTOP, ALICE)
    site.login(OTHER, BOB, "s2")
    addresses = fill(site)
    assert [bound(site.switches[name], Table.SOURCE, addresses[0]) for name in ("s1", "s2")] == [1, 1]
    site.now += PERIOD
    probe(site, LAPTOP, "fe80::21")
    assert [bound(site.switches[name], Table.SOURCE, addresses[0]) for name in ("s1", "s2")] == [0, 0]
    assert [bound(site.switches[name], Table.DESTINATION, "fe80::21") for name in ("s1", "s2")] == [1, 1]


async def test_two_cards_of_one_port_do_not_share_addresses() -> None:
    site = await start()
    one, two = Host(4, "02:00:00:00:00:41", "10.0.0.41"), Host(4, "02:00:00:00:00:42", "10.0.0.42")
    site.login(one, WEB)
    site.login(two, DB)
    probe(site, one, "fe80::41")
    probe(site, two, "fe80::41")
    assert (held(site, one), held(site, two)) == (["10.0.0.41", "fe80::41"], ["10.0.0.42"])
