"""DHCP on switches in memory: who hears whom, what is a lie, and what becomes of leases and of sessions with them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fakes.dhcp import BROADCAST, from_host, from_host6, from_server, from_server6, link_local
from fakes.frames import Host, mac, packed
from fakes.records import MemoryStore
from fakes.site import ALICE, PORTAL, WEB, Site
from zethane.audit.reason import DenyReason, SessionEvent
from zethane.errors import AddressInUse, SessionError
from zethane.net.endpoint import Attachment
from zethane.pipeline.tables import Table
from zethane.service.dhcp_transactions import LIFETIME
from zethane.service.leases import DECLINED, MAX_PER_CARD, Lease, LeaseTable

NETWORK = """
switches:
  s1: {ports: {4: {addresses: dhcp}, 5: {addresses: dhcp}, 6: {macs: 2}}}
  s2: {ports: {4: {addresses: dhcp}}}
links: [["s1:9", "s2:9"]]
portal: {switch: s1, port: 1, ip: [10.0.0.254/24, "2001:db8::fe/64"], mac: "02:00:00:00:00:fe"}
infrastructure:
  dhcp1:
    {switch: s1, port: 3, ip: [10.0.0.3/24, "2001:db8::3/64"], mac: "02:00:00:00:00:03", serves: [dhcp]}
"""
WITHOUT = NETWORK.replace("serves: [dhcp]", "serves: [dns]")

SERVER = Host(3, "02:00:00:00:00:03", "10.0.0.3")
SERVER6 = Host(3, "02:00:00:00:00:03", "2001:db8::3")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.77")
OTHER = Host(5, "02:00:00:00:00:22", "10.0.0.78")
FAR = Host(4, "02:00:00:00:00:23", "10.0.0.79")
WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")


def asks(host: Host, xid: int = 7) -> bytes:
    return from_host(host, "request", ("requested_addr", host.ip), ("server_id", SERVER.ip), xid=xid)


def lease(site: Site, host: Host, seconds: int = 3600, switch: str = "s1", xid: int = 7, address: str = "") -> None:
    """The host asks and the server says yes."""
    site.switches[switch].send(host.port, asks(host, xid))
    site.s1.send(SERVER.port, from_server(SERVER, host, "ack", address or host.ip, lease=seconds, xid=xid))
    site.s1.take()


def holder(site: Site, address: str) -> int | None:
    """The MAC of who has the address."""
    found = site.state.leases.holder(packed(address), site.now)
    return None if found is None else found.mac


def number(text: str) -> int:
    return int.from_bytes(mac(text), "big")


async def start(network: str = NETWORK, store: MemoryStore | None = None) -> Site:
    return await Site(network, store=store).start()


# the way


async def test_a_question_goes_to_the_servers_port_alone_and_the_answer_to_the_host_alone() -> None:
    site = await start()
    discover = from_host(LAPTOP, "discover")
    site.s1.send(LAPTOP.port, discover)
    assert site.s1.take() == [(SERVER.port, discover)]
    offer = from_server(SERVER, LAPTOP, "offer", "10.0.0.77", dst_mac=BROADCAST)
    site.s1.send(SERVER.port, offer)
    assert site.s1.take() == [(LAPTOP.port, mac(LAPTOP.mac) + offer[6:])]
    assert site.switches["s2"].take() == []
    assert site.records.reasons() == []
    assert holder(site, "10.0.0.77") is None


async def test_hosts_of_another_switch_get_their_answers_there() -> None:
    site = await start()
    site.switches["s2"].send(FAR.port, from_host(FAR, "discover"))
    assert [port for port, _ in site.s1.take()] == [SERVER.port]
    site.s1.send(SERVER.port, from_server(SERVER, FAR, "offer", "10.0.0.79"))
    assert [port for port, _ in site.switches["s2"].take()] == [FAR.port]


async def test_an_ack_is_a_lease_and_a_renewal_makes_it_longer() -> None:
    site = await start()
    lease(site, LAPTOP)
    assert holder(site, LAPTOP.ip) == number(LAPTOP.mac)
    site.now += 1800
    renewal = from_host(LAPTOP, "request", current=LAPTOP.ip, dst=SERVER.ip, dst_mac=SERVER.mac, xid=8)
    site.s1.send(LAPTOP.port, renewal)
    assert site.s1.take() == [(SERVER.port, renewal)]
    site.s1.send(SERVER.port, from_server(SERVER, LAPTOP, "ack", LAPTOP.ip, xid=8))
    site.now += 3000
    site.admin.tick(site.now)
    assert holder(site, LAPTOP.ip) == number(LAPTOP.mac)
    site.now += 601
    site.admin.tick(site.now)
    assert holder(site, LAPTOP.ip) is None
    assert len(site.state.leases) == 0
    assert site.store.leases() == []


async def test_a_host_with_a_lease_and_the_server_learn_each_others_mac() -> None:
    site = await start()
    site.s1.send(LAPTOP.port, LAPTOP.arp(SERVER.ip))
    site.s1.send(SERVER.port, SERVER.arp(LAPTOP.ip))
    assert site.s1.take() == []
    lease(site, LAPTOP)
    site.s1.send(LAPTOP.port, LAPTOP.arp(SERVER.ip))
    site.s1.send(SERVER.port, SERVER.arp(LAPTOP.ip))
    answers = site.s1.take()
    assert [port for port, _ in answers] == [LAPTOP.port, SERVER.port]
    assert [frame[22:28] for _, frame in answers] == [mac(SERVER.mac), mac(LAPTOP.mac)]
    # Not under another's address, and not from a card that only says it is the server.
    site.s1.send(OTHER.port, OTHER.arp(SERVER.ip, sender=LAPTOP.ip))
    site.s1.send(SERVER.port, OTHER.arp(LAPTOP.ip, sender=SERVER.ip))
    assert site.s1.take() == []


# IPv6


async def test_dhcpv6_goes_the_same_way() -> None:
    site = await start()
    solicit = from_host6(LAPTOP, "solicit")
    site.s1.send(LAPTOP.port, solicit)
    assert site.s1.take() == [(SERVER.port, solicit)]
    site.s1.send(SERVER.port, SERVER6.solicitation(link_local(LAPTOP), sender=link_local(SERVER)))
    assert [port for port, _ in site.s1.take()] == [SERVER.port]
    site.s1.send(SERVER.port, from_server6(SERVER, LAPTOP, "advertise", **{"2001:db8::70": 3600}))
    assert [port for port, _ in site.s1.take()] == [LAPTOP.port]
    assert holder(site, "2001:db8::70") is None
    site.s1.send(LAPTOP.port, from_host6(LAPTOP, "request", "2001:db8::70", xid=8))
    site.s1.send(SERVER.port, from_server6(SERVER, LAPTOP, "reply", xid=8, **{"2001:db8::70": 3600}))
    assert holder(site, "2001:db8::70") == number(LAPTOP.mac)
    site.s1.send(LAPTOP.port, from_host6(LAPTOP, "release", "2001:db8::70", xid=9))
    assert holder(site, "2001:db8::70") is None
    assert site.records.reasons() == []


async def test_dhcpv6_from_another_hosts_link_local_address_or_for_its_lease_is_a_lie() -> None:
    site = await start()
    site.s1.send(LAPTOP.port, from_host6(LAPTOP, "request", "2001:db8::70"))
    site.s1.send(SERVER.port, from_server6(SERVER, LAPTOP, "reply", **{"2001:db8::70": 3600}))
    site.s1.take()
    for lie in (
        from_host6(OTHER, "solicit", src=link_local(LAPTOP)),
        from_host6(OTHER, "solicit", src="2001:db8::78"),
        from_host6(OTHER, "release", "2001:db8::70"),
        from_host6(OTHER, "decline", "2001:db8::70"),
        from_host6(OTHER, "release"),
    ):
        site.s1.send(OTHER.port, lie)
    assert site.s1.take() == []
    assert site.records.reasons() == [DenyReason.DHCP_SPOOF] * 5
    assert holder(site, "2001:db8::70") == number(LAPTOP.mac)


async def test_a_reply_that_says_an_address_is_not_valid_ends_the_lease() -> None:
    site = await start()
    for seconds in (3600, 0):
        site.s1.send(LAPTOP.port, from_host6(LAPTOP, "request", "2001:db8::70"))
        site.s1.send(SERVER.port, from_server6(SERVER, LAPTOP, "reply", **{"2001:db8::70": seconds}))
        assert (holder(site, "2001:db8::70") is None) == (seconds == 0)


# who may be a server


@pytest.mark.parametrize(
    "rogue",
    [
        from_server(OTHER, LAPTOP, "offer", "10.0.0.99"),
        from_server(SERVER, LAPTOP, "offer", "10.0.0.99"),
        from_server6(OTHER, LAPTOP, "advertise"),
        OTHER.udp(LAPTOP, 4000, 68),
    ],
    ids=["offer", "offer in the server's name", "advertise", "another source port"],
)
async def test_a_rogue_servers_answers_reach_nobody_and_are_logged(rogue: bytes) -> None:
    for network in (NETWORK, WITHOUT):
        site = await start(network)
        site.s1.send(LAPTOP.port, from_host(LAPTOP, "discover"))
        site.s1.send(LAPTOP.port, from_host6(LAPTOP, "solicit"))
        site.s1.take()
        site.login(WEB1, WEB)
        site.s1.send(OTHER.port, rogue)
        assert site.s1.take() == []
        assert site.records.reasons() == [DenyReason.ROGUE_SERVER]


async def test_the_portals_port_and_a_server_for_something_else_answer_no_dhcp() -> None:
    site = await start(WITHOUT)
    site.s1.send(PORTAL.port, from_server(PORTAL, LAPTOP, "offer", "10.0.0.99"))
    site.s1.send(SERVER.port, from_server(SERVER, LAPTOP, "offer", "10.0.0.99"))
    assert site.records.reasons() == [DenyReason.ROGUE_SERVER] * 2
    assert site.s1.take() == []


async def test_at_the_servers_port_only_the_server_answers() -> None:
    site = await start()
    site.s1.send(LAPTOP.port, from_host(LAPTOP, "discover"))
    site.s1.take()
    site.s1.send(SERVER.port, from_server(Host(3, OTHER.mac, SERVER.ip), LAPTOP, "offer", "10.0.0.77"))
    site.s1.send(SERVER.port, from_server(Host(3, SERVER.mac, OTHER.ip), LAPTOP, "offer", "10.0.0.77"))
    assert site.records.reasons() == [DenyReason.ROGUE_SERVER] * 2
    site.s1.send(SERVER.port, from_server(SERVER, LAPTOP, "offer", "10.0.0.77", server_id="10.0.0.9"))
    assert site.records.reasons()[2:] == [DenyReason.MALFORMED]
    assert site.s1.take() == []


async def test_without_a_server_questions_reach_nobody() -> None:
    site = await start(WITHOUT)
    site.s1.send(LAPTOP.port, from_host(LAPTOP, "discover"))
    site.s1.send(LAPTOP.port, from_host6(LAPTOP, "solicit"))
    assert site.s1.take() == []


async def test_an_answer_that_nobody_waits_for_goes_nowhere() -> None:
    site = await start()
    site.s1.send(LAPTOP.port, from_host(LAPTOP, "discover", xid=7))
    site.s1.take()
    site.s1.send(SERVER.port, from_server(SERVER, LAPTOP, "offer", "10.0.0.77", xid=8))
    site.s1.send(SERVER.port, from_server(SERVER, OTHER, "offer", "10.0.0.77", xid=7))
    site.now += LIFETIME + 1
    site.s1.send(SERVER.port, from_server(SERVER, LAPTOP, "ack", "10.0.0.77", xid=7))
    assert site.s1.take() == []
    assert site.state.counters["dhcp_unasked"] == 3
    assert len(site.state.leases) == 0


# what hosts may not say

LIES: dict[str, Callable[[], bytes]] = {
    "another's chaddr": lambda: from_host(OTHER, "discover", chaddr=LAPTOP.mac),
    "the server's card": lambda: from_host(Host(5, SERVER.mac), "discover"),
    "the portal's card": lambda: from_host(Host(5, PORTAL.mac), "discover"),
    "giaddr": lambda: from_host(OTHER, "discover", giaddr="10.0.0.9"),
    "option 82": lambda: from_host(OTHER, "discover", ("relay_agent_information", b"\1\2ab")),
    "foreign release": lambda: from_host(OTHER, "release", current=LAPTOP.ip, dst=SERVER.ip),
    "foreign decline": lambda: from_host(OTHER, "decline", ("requested_addr", LAPTOP.ip)),
    "release of nothing": lambda: from_host(OTHER, "release", current="10.0.0.99", dst=SERVER.ip),
    "release without address": lambda: from_host(OTHER, "release"),
    "renewal of a session's address": lambda: from_host(OTHER, "request", current=WEB1.ip, dst=SERVER.ip),
    "renewal of the portal's address": lambda: from_host(OTHER, "request", current=PORTAL.ip, dst=SERVER.ip),
    "from another address": lambda: from_host(OTHER, "discover", src=LAPTOP.ip),
    "inform about another's address": lambda: from_host(OTHER, "inform", current=LAPTOP.ip),
    "in another's name": lambda: from_host(Host(5, LAPTOP.mac), "request", ("requested_addr", "10.0.0.99")),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_a_host_speaks_for_itself_only(lie: Callable[[], bytes]) -> None:
    site = await start()
    lease(site, LAPTOP)
    site.login(LAPTOP, ALICE)
    site.login(WEB1, WEB)
    site.s1.send(OTHER.port, lie())
    assert site.s1.take() == []
    assert site.records.reasons() == [DenyReason.DHCP_SPOOF]
    assert holder(site, LAPTOP.ip) == number(LAPTOP.mac)


async def test_another_hosts_transaction_is_not_joined() -> None:
    """Two cards with one MAC, and the same transaction: the answer is the first one's."""
    site = await start()
    site.s1.send(LAPTOP.port, from_host(LAPTOP, "discover"))
    site.s1.send(OTHER.port, from_host(Host(5, LAPTOP.mac), "discover"))
    assert len(site.s1.take()) == 1
    assert site.records.reasons() == [DenyReason.DHCP_SPOOF]
    site.s1.send(SERVER.port, from_server(SERVER, LAPTOP, "offer", "10.0.0.77"))
    assert [port for port, _ in site.s1.take()] == [LAPTOP.port]


async def test_a_message_to_another_address_than_a_servers_goes_nowhere() -> None:
    site = await start()
    site.s1.send(OTHER.port, from_host(OTHER, "discover", dst=WEB1.ip, dst_mac=WEB1.mac))
    assert site.s1.take() == []
    assert site.records.reasons() == [DenyReason.UNKNOWN_DESTINATION]


async def test_what_cannot_be_read_goes_nowhere() -> None:
    site = await start()
    site.s1.send(OTHER.port, from_host(OTHER, "discover")[:-1] + b"\0")
    site.s1.send(OTHER.port, OTHER.udp(SERVER, 68, 67))
    site.s1.send(SERVER.port, SERVER.udp(LAPTOP, 67, 68))
    assert site.s1.take() == []
    assert site.records.reasons() == [DenyReason.MALFORMED] * 3


# floods


async def test_starvation_stops_at_the_ports_cards() -> None:
    site = await start()
    for last in range(200):
        site.s1.send(OTHER.port, from_host(Host(5, f"02:00:00:00:01:{last:02x}"), "discover", xid=last))
    assert len(site.s1.take()) == 1
    assert set(site.records.reasons()) == {DenyReason.MAC_LIMIT}
    two = [Host(6, f"02:00:00:00:02:{last:02x}") for last in range(3)]
    for host in two:
        site.s1.send(6, from_host(host, "discover"))
    assert len(site.s1.take()) == 2


async def test_one_card_with_many_transactions_or_identifiers_stops_at_its_bounds() -> None:
    site = await start()
    for xid in range(200):
        site.s1.send(OTHER.port, from_host(OTHER, "discover", xid=xid))
    assert len(site.s1.take()) == MAX_PER_CARD
    assert set(site.records.reasons()) == {DenyReason.QUOTA}
    for attempt in range(100):
        site.now += LIFETIME + 1
        options = [("requested_addr", f"10.0.0.{100 + attempt}"), ("client_id", bytes((attempt,)))]
        site.s1.send(OTHER.port, from_host(OTHER, "request", *options, xid=1000 + attempt))
        site.s1.send(SERVER.port, from_server(SERVER, OTHER, "ack", f"10.0.0.{100 + attempt}", xid=1000 + attempt))
    assert len(site.state.leases) == 4


async def test_a_card_that_is_gone_makes_room_but_its_leases_count() -> None:
    site = await start()
    for last in range(100):
        host = Host(5, f"02:00:00:00:01:{last:02x}", f"10.0.0.{100 + last}")
        lease(site, host)
        site.s1.ports[OTHER.port - 1] = down = site.s1.ports[OTHER.port - 1]
        site.admin.port_status(site.s1, down, removed=True)
        site.admin.port_status(site.s1, down, removed=False)
        await site.settle()
    assert len(site.state.leases) == MAX_PER_CARD


async def test_declining_uses_up_no_more_than_the_hosts_own_share() -> None:
    site = await start()
    for attempt in range(50):
        address = f"10.0.0.{100 + attempt}"
        lease(site, OTHER, xid=2 * attempt, address=address)
        site.s1.send(OTHER.port, from_host(OTHER, "decline", ("requested_addr", address), xid=2 * attempt + 1))
        site.s1.take()
        site.now += 1
    assert len(site.state.leases) == 4
    assert {entry.declined for entry in site.state.leases.by_address.values()} == {True}
    assert holder(site, "10.0.0.100") is None
    site.now += max(DECLINED, 3600)
    site.admin.tick(site.now)
    assert len(site.state.leases) == 0


# leases and sessions


async def test_where_addresses_come_by_dhcp_only_the_hosts_own_lease_is_bound() -> None:
    site = await start()
    with pytest.raises(SessionError, match="leased to this host"):
        site.login(LAPTOP, ALICE)
    lease(site, LAPTOP)
    with pytest.raises(AddressInUse):
        site.login(Host(5, OTHER.mac, LAPTOP.ip), ALICE)
    with pytest.raises(AddressInUse):  # a port where addresses come from logins
        site.login(Host(2, WEB1.mac, LAPTOP.ip), ALICE)
    session = site.login(LAPTOP, ALICE)
    with pytest.raises(SessionError, match="leased to this host"):
        site.admin.claim_address(site.endpoint(LAPTOP, address="10.0.0.99"), session.number)
    site.admin.claim_address(site.endpoint(LAPTOP, address="fe80::21"), session.number)


async def test_an_address_goes_with_its_lease_and_the_rest_of_the_session_stays() -> None:
    site = await start()
    lease(site, LAPTOP, 600)
    session = site.login(LAPTOP, ALICE)
    site.admin.claim_address(site.endpoint(LAPTOP, address="fe80::21"), session.number)
    web = site.login(WEB1, WEB)
    site.s1.send(LAPTOP.port, LAPTOP.tcp(WEB1, 40000, 443))
    assert len(site.state.flows) == 1
    site.now += 601
    site.admin.tick(site.now)
    assert site.state.sessions.by_number[session.number].session.addresses == (packed("fe80::21"),)
    assert len(site.state.flows) == 0
    left = [flow for flow in site.s1.tables.values() if flow.table in (Table.SOURCE, Table.DESTINATION, Table.FLOW)]
    address = int.from_bytes(packed(LAPTOP.ip), "big")
    assert not [flow for flow in left if any(value == address for _, value, _ in flow.match)]
    assert site.records.of("session")[-1][0] == SessionEvent.ADDRESS_RELEASED
    assert site.records.of("session")[-1][2] == "expired"
    assert site.store.saved[session.number].addresses == (packed("fe80::21"),)
    site.s1.take()
    site.s1.send(LAPTOP.port, LAPTOP.tcp(WEB1, 40000, 443))
    assert site.s1.take() == []
    assert web.number in site.state.sessions.by_number


async def test_an_address_ends_with_its_lease_in_the_switch_as_well() -> None:
    """Without a controller, too: its bindings' timeouts are the lease's, and longer after a renewal."""
    site = await start()
    lease(site, LAPTOP, 600)
    session = site.login(LAPTOP, ALICE)
    site.admin.claim_address(site.endpoint(LAPTOP, address="fe80::21"), session.number)

    def timeouts(address: str) -> set[int]:
        wanted = int.from_bytes(packed(address), "big")
        tables = (Table.SOURCE, Table.DESTINATION)
        flows = (flow for flow in site.s1.tables.values() if flow.table in tables)
        return {flow.hard_timeout for flow in flows if any(value == wanted for _, value, _ in flow.match)}

    assert timeouts(LAPTOP.ip) == {600}
    assert timeouts("fe80::21") == {8 * 3600}
    site.now += 300
    lease(site, LAPTOP, 900)
    assert timeouts(LAPTOP.ip) == {900}


@pytest.mark.parametrize(
    ("said", "from_the_host"),
    [
        (from_host(LAPTOP, "release", current=LAPTOP.ip, dst=SERVER.ip, xid=9), True),
        (from_host(LAPTOP, "decline", ("requested_addr", LAPTOP.ip), xid=9), True),
        (from_server(SERVER, LAPTOP, "nak", lease=None), False),
    ],
    ids=["release", "decline", "nak"],
)
async def test_a_session_without_an_address_left_ends(said: bytes, from_the_host: bool) -> None:
    site = await start()
    lease(site, LAPTOP)
    site.login(LAPTOP, ALICE)
    if from_the_host:
        site.s1.send(LAPTOP.port, said)
        assert [port for port, _ in site.s1.take()] == [SERVER.port]
    else:
        site.s1.send(LAPTOP.port, asks(LAPTOP))
        site.s1.send(SERVER.port, said)
    assert len(site.state.sessions) == 0
    assert site.records.of("session")[-1][0] == SessionEvent.LEASE_ENDED
    assert holder(site, LAPTOP.ip) is None


async def test_a_server_gives_nobody_what_a_session_or_the_network_has() -> None:
    site = await start()
    site.login(WEB1, WEB)
    for taken in (WEB1.ip, PORTAL.ip, SERVER.ip):
        site.s1.send(OTHER.port, asks(OTHER))
        site.s1.take()
        site.s1.send(SERVER.port, from_server(SERVER, OTHER, "ack", taken))
        assert site.s1.take() == []
        assert holder(site, taken) is None
    assert site.records.reasons() == [DenyReason.ADDRESS_IN_USE] * 3


async def test_a_session_that_moves_takes_its_lease_along() -> None:
    site = await start()
    lease(site, LAPTOP)
    site.login(LAPTOP, ALICE)
    there = Host(5, LAPTOP.mac, LAPTOP.ip)
    session = site.login(there, ALICE)
    found = site.state.leases.holder(packed(LAPTOP.ip), site.now)
    assert found == session.attachment == site.endpoint(there).attachment
    assert site.store.leases()[0].attachment == found


async def test_a_card_without_a_session_may_ask_again_elsewhere() -> None:
    site = await start()
    lease(site, LAPTOP)
    lease(site, Host(5, LAPTOP.mac, LAPTOP.ip), xid=8)
    found = site.state.leases.holder(packed(LAPTOP.ip), site.now)
    assert found is not None
    assert found.port == 5


# restarts


async def test_leases_outlive_the_controller_and_sessions_lose_what_ran_out_meanwhile() -> None:
    store = MemoryStore()
    site = await start(store=store)
    lease(site, LAPTOP, 600)
    lease(site, OTHER, 60)
    site.login(LAPTOP, ALICE)
    site.login(OTHER, ALICE)
    again = Site(NETWORK, store=store)
    again.now = site.now + 100
    await again.start()
    assert holder(again, LAPTOP.ip) == number(LAPTOP.mac)
    assert holder(again, OTHER.ip) is None
    assert [live.session.attachment.port for live in again.state.sessions] == [LAPTOP.port]
    assert again.records.of("session")[0][0] == SessionEvent.LEASE_ENDED
    with pytest.raises(AddressInUse):
        again.login(Host(2, WEB1.mac, LAPTOP.ip), ALICE)


async def test_a_host_may_renew_what_a_lost_store_has_forgotten() -> None:
    site = await start()
    site.s1.send(LAPTOP.port, from_host(LAPTOP, "request", current=LAPTOP.ip, dst=SERVER.ip, dst_mac=SERVER.mac))
    site.s1.send(SERVER.port, from_server(SERVER, LAPTOP, "ack", LAPTOP.ip))
    assert holder(site, LAPTOP.ip) == number(LAPTOP.mac)


def test_renewals_leave_no_heap_behind() -> None:
    table = LeaseTable()
    for second in range(10_000):
        table.grant(Lease(packed("10.0.0.7"), Attachment(1, 1, 0, 1), float(second)))
    assert len(table._ends) < 100
    assert [one.until for one in table.expired(20_000)] == [9999.0]
