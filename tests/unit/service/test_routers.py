"""Router Discovery: the declared router reaches every host, and nobody else does."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from fakes.frames import Host, mac, packed
from fakes.site import ALICE, BOB, Site
from zethane.audit.reason import SessionEvent
from zethane.net.vlan import untagged
from zethane.service.routers import ASK_INTERVAL, INTERVAL, KEPT
from zethane.service.switch import PortState

NETWORK = """
switches: {s1: {}, s2: {ports: {3: {vlans: [30], untagged: true}}}}
links: [["s1:9", "s2:9"]]
portal: {switch: s1, port: 1, ip: [10.0.0.254/24, "2001:db8::fe/64"], mac: "02:00:00:00:00:fe"}
uplinks:
  wan:
    {switch: s1, port: 7, ip: [10.0.0.1/24, "2001:db8::1/64"], mac: "02:00:00:00:00:01",
     networks: ["2001:db8:ff00::/40"], vlan: 7}
  lan: {switch: s2, port: 8, ip: 10.0.0.2/24, mac: "02:00:00:00:01:01", networks: [10.9.0.0/16], router: false}
"""
ANY = """
version: 1
segments: {all: {groups: [staff]}}
rules:
  - {id: all, from: [any], to: [any], services: [any]}
  - {id: out, from: [all], to: {networks: ["2001:db8:ff00::/40"]}, services: [any]}
"""
ROUTER = Host(7, "02:00:00:00:00:01", "fe80::1")
LAPTOP = Host(4, "02:00:00:00:00:21", "fe80::21")


def information(prefix: str, *, flags: int = 0xC0, lifetime: int = 3600) -> bytes:
    """A Prefix Information option (RFC 4861 §4.6.2)."""
    network = ipaddress.IPv6Network(prefix)
    head = struct.pack("!BBBBIII", 3, 4, network.prefixlen, flags, lifetime, lifetime, 0)
    return head + network.network_address.packed


def advertisement(*options: bytes, code: int = 0) -> bytes:
    return struct.pack("!BBHBBHII", 134, code, 0, 64, 0, 1800, 0, 0) + b"".join(options)


SLLA = b"\x01\x01" + mac(ROUTER.mac)
GOOD = advertisement(SLLA, information("2001:db8:7::/64"), b"\x05\x01\0\0\0\0\x05\xdc")
EDGES = {("s1", port, 0) for port in (2, 3, 4, 5, 6, 8)} | {("s2", port, 0) for port in range(1, 8)} | {("s2", 3, 30)}


async def start() -> Site:
    return await Site(NETWORK, ANY).start()


def advertise(site: Site, body: bytes = GOOD, vlan: int = 7) -> None:
    site.s1.send(7, ROUTER.icmpv6("fe80::1", "ff02::1", body), vlan=vlan)


def solicit(host: Host = LAPTOP, source: str | None = None, *options: bytes) -> bytes:
    body = struct.pack("!BBHI", 133, 0, 0, 0) + b"".join(options)
    return host.icmpv6(source or host.ip, "ff02::2", body)


def told(site: Site) -> list[tuple[str, int, int]]:
    """Switch, port and VLAN of everything that came out, which has to be advertisements."""
    found = []
    for name, switch in site.switches.items():
        for port, frame in switch.take():
            vlan, plain = untagged(frame)
            assert (plain[12:14], plain[54]) == (b"\x86\xdd", 134)
            found.append((name, port, vlan))
    return found


async def test_an_advertisement_of_the_router_reaches_every_edge_port_and_nothing_else() -> None:
    site = await start()
    advertise(site)
    assert set(told(site)) == EDGES
    assert site.records.reasons() == []


async def test_a_port_that_is_down_is_told_nothing() -> None:
    site = await start()
    site.admin.port_status(site.s1, PortState(4, "p4", up=False), removed=False)
    advertise(site)
    assert set(told(site)) == EDGES - {("s1", 4, 0)}


async def test_a_host_that_asks_is_answered_at_its_port_alone_with_the_last_advertisement() -> None:
    site = await start()
    advertise(site)
    site.now += 100
    advertise(site, advertisement(SLLA, information("2001:db8:8::/64")))
    told(site)
    site.s1.send(4, solicit())
    ((port, frame),) = site.s1.take()
    assert port == 4
    assert (frame[:6], frame[6:12]) == (mac(LAPTOP.mac), mac(ROUTER.mac))
    assert packed("2001:db8:8::") in frame
    site.s1.send(5, solicit(Host(5, "02:00:00:00:00:22", "::")))
    assert told(site) == [("s1", 5, 0)]


async def test_no_more_is_told_than_hosts_may_be_troubled_with() -> None:
    site = await start()
    for _ in range(20):
        advertise(site)
    assert len(told(site)) == len(EDGES)
    site.now += INTERVAL
    site.admin.tick(site.now)
    assert len(told(site)) == len(EDGES)
    site.now += INTERVAL
    site.admin.tick(site.now)
    assert told(site) == []


async def test_a_router_that_was_never_heard_or_is_silent_is_asked_at_a_bounded_rate() -> None:
    site = await start()
    for _ in range(5):
        site.s1.send(4, solicit())
    ((port, frame),) = site.s1.take()
    vlan, frame = untagged(frame)
    assert (port, vlan) == (7, 7)
    assert (frame[54], frame[22:38], frame[38:54]) == (133, bytes(16), packed("ff02::2"))
    advertise(site)
    told(site)
    site.now += max(KEPT, ASK_INTERVAL)
    site.s1.send(4, solicit())
    assert [to for to, _ in site.s1.take()] == [7]


async def test_a_session_may_make_addresses_of_an_announced_prefix_as_long_as_it_is_announced() -> None:
    site = await start()
    site.login(Host(4, LAPTOP.mac, "10.0.0.21"), ALICE)
    probe = LAPTOP.solicitation("2001:db8:7::21", sender="::")
    site.s1.send(4, probe)
    assert site.records.reasons() == ["address-not-allowed"]
    advertise(site)
    site.s1.send(4, probe)
    assert packed("2001:db8:7::21") in site.state.sessions.by_address
    site.now += KEPT
    site.s1.send(4, LAPTOP.solicitation("2001:db8:7::22", sender="::"))
    assert packed("2001:db8:7::22") not in site.state.sessions.by_address


NO_PREFIX = {
    "not to make addresses of": information("2001:db8:7::/64", flags=0x80),
    "of another length": information("2001:db8:7::/48"),
    "that is over": information("2001:db8:7::/64", lifetime=0),
    "link-local": information("fe80::/64"),
    "multicast": information("ff05::/64"),
    "unspecified": information("::/64"),
}


@pytest.mark.parametrize("name", NO_PREFIX)
async def test_no_address_is_made_of_another_prefix(name: str) -> None:
    site = await start()
    advertise(site, advertisement(SLLA, NO_PREFIX[name]))
    site.login(Host(4, LAPTOP.mac, "10.0.0.21"), ALICE)
    network = ipaddress.IPv6Network((NO_PREFIX[name][16:32], NO_PREFIX[name][2]))
    site.s1.send(4, LAPTOP.solicitation(str(network[0x21]), sender="::"))
    assert len(site.state.sessions.by_address) == (2 if name == "link-local" else 1)


async def test_hosts_that_may_find_the_router_and_its_address_cannot_be_taken() -> None:
    site = await start()
    site.login(Host(4, LAPTOP.mac, "10.0.0.21"), ALICE)
    advertise(site)
    told(site)
    site.s1.send(4, LAPTOP.solicitation("fe80::1", sender="fe80::21"))
    ((port, answer),) = site.s1.take()
    assert (port, answer[80:86]) == (4, mac(ROUTER.mac))
    site.s1.send(4, LAPTOP.solicitation("fe80::1", sender="::"))
    assert site.records.reasons() == ["address-in-use"]
    site.s1.send(5, Host(5, "02:00:00:00:00:22", "fe80::22").solicitation("fe80::1"))
    assert [port for port, _ in site.s1.take()] == [4]  # the defence above, and nothing to a stranger


async def test_a_session_that_sat_on_the_routers_address_loses_it() -> None:
    site = await start()
    number = site.login(Host(4, LAPTOP.mac, "10.0.0.21"), BOB).number
    site.s1.send(4, LAPTOP.solicitation("fe80::1", sender="::"))
    assert packed("fe80::1") in site.state.sessions.by_address
    advertise(site)
    assert packed("fe80::1") not in site.state.sessions.by_address
    assert packed("fe80::1") not in site.store.saved[number].addresses
    assert site.records.of("session")[-1][0] == SessionEvent.ADDRESS_RELEASED
    assert set(told(site)) == EDGES


FALSE = {
    "from another MAC": ("s1", 7, 7, Host(7, "02:00:00:00:00:66", "fe80::1").icmpv6("fe80::1", "ff02::1", GOOD)),
    "from an edge port": ("s1", 4, 0, ROUTER.icmpv6("fe80::1", "ff02::1", GOOD)),
    "from an uplink that is no router": (
        "s2",
        8,
        0,
        Host(8, "02:00:00:00:01:01", "fe80::1").icmpv6("fe80::1", "ff02::1", GOOD),
    ),
    "from far away": ("s1", 7, 7, ROUTER.icmpv6("fe80::1", "ff02::1", GOOD, hop_limit=64)),
    "from a global address": ("s1", 7, 7, ROUTER.icmpv6("2001:db8::1", "ff02::1", GOOD)),
    "to one host": ("s1", 7, 7, ROUTER.icmpv6("fe80::1", "2001:db8::21", GOOD)),
    "with a code": ("s1", 7, 7, ROUTER.icmpv6("fe80::1", "ff02::1", advertisement(SLLA, code=1))),
    "with another's link-layer address": (
        "s1",
        7,
        7,
        ROUTER.icmpv6("fe80::1", "ff02::1", advertisement(b"\x01\x01" + mac(LAPTOP.mac))),
    ),
    "with an option of length zero": (
        "s1",
        7,
        7,
        ROUTER.icmpv6("fe80::1", "ff02::1", advertisement(b"\x19\x00" + bytes(6))),
    ),
    "with a short prefix": ("s1", 7, 7, ROUTER.icmpv6("fe80::1", "ff02::1", advertisement(b"\x03\x01" + bytes(6)))),
    "with too many options": ("s1", 7, 7, ROUTER.icmpv6("fe80::1", "ff02::1", advertisement(*[SLLA] * 33))),
    "with a wrong checksum": ("s1", 7, 7, ROUTER.icmpv6("fe80::1", "ff02::1", GOOD)[:-1] + b"\0"),
    "redirect": ("s1", 4, 0, LAPTOP.icmpv6("fe80::21", "fe80::1", bytes((137, 0)) + bytes(38))),
    "solicitation with another's MAC": ("s1", 4, 0, solicit(LAPTOP, None, SLLA)),
    "solicitation of nobody with a MAC": ("s1", 4, 0, solicit(LAPTOP, "::", b"\x01\x01" + mac(LAPTOP.mac))),
    "solicitation from a global address": ("s1", 4, 0, solicit(LAPTOP, "2001:db8::21")),
}


@pytest.mark.parametrize("name", FALSE)
async def test_what_is_no_advertisement_of_the_router_reaches_nobody_and_is_logged(name: str) -> None:
    switch, port, vlan, frame = FALSE[name]
    site = await start()
    site.switches[switch].send(port, frame, vlan=vlan)
    assert told(site) == []
    assert site.records.reasons() == ["router-spoof"]


async def test_an_advertisement_without_the_uplinks_tag_is_none() -> None:
    site = await start()
    advertise(site, vlan=0)
    assert (told(site), site.records.reasons()) == ([], ["vlan-not-allowed"])


async def test_nobody_asks_from_anothers_address() -> None:
    site = await start()
    site.login(Host(4, LAPTOP.mac, "10.0.0.21"), ALICE)
    site.s1.send(4, LAPTOP.solicitation("fe80::21", sender="::"))
    site.s1.send(5, solicit(Host(5, "02:00:00:00:00:22", "fe80::21")))
    assert site.records.reasons() == ["neighbour-spoof"]
