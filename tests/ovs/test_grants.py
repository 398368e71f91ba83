"""Grants on a real bridge: what the switch lets in by itself, what it does not, and what takes it back."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from fakes.conversation import Conversation, checked, checksum, segment
from fakes.frames import ACK, RST, SYN, Host, packed
from fakes.records import MemoryStore
from fakes.site import ALICE, BOB, DB, WEB
from livesite import LiveSite
from openvswitch import Bridge, run
from wires import Wires
from zethane.audit.reason import DenyReason, SessionEvent
from zethane.net.flowkey import ICMP, ICMPV6, TCP, FlowKey
from zethane.pipeline.grants import Opening, Tracking
from zethane.pipeline.tables import Table
from zethane.service.grants import UNTOLD_FOR
from zethane.service.intent import intended
from zethane.service.points import MeterRates

pytestmark = pytest.mark.ovs

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11", "2001:db8::11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21", "2001:db8::21")
LAPTOP6 = Host(4, LAPTOP.mac, "2001:db8::21")
WEB6 = Host(2, WEB1.mac, "2001:db8::11")

SEGMENTS = """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  staff: {groups: [staff]}
rules:
"""
GRANTS = f"""{SEGMENTS}
  - {{id: staff-web, from: [staff], to: [web], services: [tcp/443, udp/443], enforce: switch}}
  - {{id: web-db, from: [web], to: [db], services: [tcp/5432]}}
  - {{id: ping, from: [any], to: [web], services: [icmp], enforce: switch}}
"""


class GrantSite(LiveSite):
    """Three sessions, a wire at every port, and zones that no other run has."""

    def __init__(self, bridge: Bridge, policy: str = GRANTS, store: MemoryStore | None = None, **more: Any) -> None:
        tracking = more.pop("tracking", None) or Tracking(secrets.randbelow(60000), secrets.randbits(32))
        super().__init__(bridge, policy, store, **more)
        self.state.fabric.tracking = tracking
        self.wires = Wires(bridge, range(2, 7))

    async def log_in(self) -> GrantSite:
        self.web, self.db, self.laptop = (
            self.login(host, principal).number for host, principal in ((WEB1, WEB), (DB1, DB), (LAPTOP, ALICE))
        )
        for host, number in ((WEB1, self.web), (LAPTOP, self.laptop)):
            self.admin.claim_address(self.endpoint(host, address=host.addresses[1]), number)
        await self.channel.barrier()
        return self

    async def passes(self, sender: Host, frame: bytes, receiver: Host, within: float = 5.0) -> bool:
        """Whether a frame comes out where it should, and nowhere else."""
        self.wires.send(sender.port, frame)
        try:
            port, heard = await self.wires.next(within)
        except asyncio.TimeoutError:
            return False
        assert (port, heard) == (receiver.port, frame)
        return True

    async def refused(self, sender: Host, frame: bytes, receiver: Host) -> bool:
        """Whether a frame does not come out; of one that does, it is known sooner."""
        return not await self.passes(sender, frame, receiver, 0.25)

    async def opened(
        self, sport: int = 40000, client: Host = LAPTOP, server: Host = WEB1, first: int = 1000
    ) -> Conversation:
        """A connection that stands. `first` is the client's first sequence number."""
        talk = Conversation(client, server, sport, 443, first)
        assert await self.passes(client, talk.syn(), server)
        assert await self.passes(server, talk.syn_ack(), client)
        assert await self.passes(client, talk.says(client, b"hello"), server)
        assert await self.passes(server, talk.says(server, b"hello"), client)
        return talk

    async def is_let_in_in_vain(self, sport: int = 40000, first: int = 1000) -> None:
        """An opening passes and its answer does not; then the switch looks before it lets one in."""
        talk = Conversation(LAPTOP, WEB1, sport, 443, first)
        assert await self.passes(LAPTOP, talk.syn(), WEB1)
        assert await self.refused(WEB1, talk.syn_ack(), LAPTOP)
        assert self.point.opening is Opening.CHECKED
        await self.channel.barrier()

    async def goes_on(self, talk: Conversation) -> tuple[bool, bool]:
        """Whether data pass, to the server and back."""
        there = await self.passes(talk.client, talk.says(talk.client, b"more"), talk.server)
        return there, await self.passes(talk.server, talk.says(talk.server, b"more"), talk.client)

    async def stops(self, talk: Conversation) -> None:
        """Nothing passes any more: a switch that says so goes on for some milliseconds, until it has gone through its
        cache (docs/performance.md)."""
        async with asyncio.timeout(5):
            for host, other in ((talk.client, talk.server), (talk.server, talk.client)):
                while not await self.refused(host, talk.says(host), other):
                    pass
                assert await self.refused(host, talk.says(host, b"late"), other)

    async def told(self, number: int) -> list[tuple[Any, ...]]:
        """The records of connections that the switch has let in, when there are so many."""
        async with asyncio.timeout(5):
            while len(self.records.of("granted")) < number:  # noqa: ASYNC110  # it comes from outside
                await asyncio.sleep(0.01)
        return self.records.of("granted")

    def verified(self) -> int:
        return len(self.records.of("allowed"))


@contextlib.contextmanager
def room_for(site: GrantSite, connections: int) -> Iterator[None]:
    """The switch tracks so many connections at the most."""
    zone = site.state.fabric.tracking.zone(site.point.number)
    run("ovs-appctl", "dpctl/ct-set-limits", f"zone={zone},limit={connections}")
    try:
        yield
    finally:
        run("ovs-appctl", "dpctl/ct-del-limits", f"zone={zone}")


@pytest.fixture
async def site(bridge: Bridge) -> AsyncIterator[GrantSite]:
    made = GrantSite(bridge)
    await made.start()
    with made.wires:
        yield await made.log_in()
    await made.stop()


async def test_the_switch_lets_a_connection_in_by_itself_and_the_log_tells_of_it(site: GrantSite) -> None:
    await site.opened()
    await site.opened(40001, LAPTOP6, WEB6)
    assert await site.passes(LAPTOP, checked(LAPTOP.udp(WEB1, 5000, 443)), WEB1)
    assert await site.passes(WEB1, checked(WEB1.udp(LAPTOP, 443, 5000)), LAPTOP)
    assert await site.passes(DB1, checked(DB1.echo(WEB1)), WEB1)
    assert await site.passes(WEB1, checked(WEB1.echo(DB1, reply=True)), DB1)
    told = await site.told(4)
    assert {(flow.subject, flow.object, flow.key.dport, rule) for flow, _, rule, *_ in told} == {
        (site.laptop, site.web, 443, "staff-web"),
        (site.db, site.web, 0, "ping"),
    }
    assert len(told) == 4
    assert len(site.state.flows) == site.verified() == 0
    assert site.records.of("denied") == []


def with_options(plain: bytes) -> bytes:
    """An IPv4 packet with a router alert."""
    start = b"\x46" + plain[15:16] + struct.pack("!H", 44) + plain[18:24] + bytes(2) + plain[26:34] + b"\x94\4\0\0"
    return plain[:14] + start[:10] + struct.pack("!H", checksum(start)) + start[12:] + plain[34:54]


def behind_snap(plain: bytes) -> bytes:
    return plain[:12] + struct.pack("!H", 48) + b"\xaa\xaa\3\0\0\0\x08\0" + plain[14:54]


def behind(kind: int, header: bytes) -> Callable[[bytes], bytes]:
    """What puts an IPv6 packet behind extension headers, of which the first is of this kind."""
    size = len(header) + 20
    return lambda plain: plain[:18] + struct.pack("!HB", size, kind) + plain[21:54] + header + plain[54:]


ODD = {
    "options": (LAPTOP, WEB1, with_options),
    "SNAP": (LAPTOP, WEB1, behind_snap),
    "a routing header": (LAPTOP6, WEB6, behind(43, b"\6" + bytes(7))),
    "an atomic fragment": (LAPTOP6, WEB6, behind(44, b"\6" + bytes(7))),
    "two destination options": (LAPTOP6, WEB6, behind(60, b"\x3c\0\1\4" + bytes(4) + b"\6\0\1\4" + bytes(4))),
}


@pytest.mark.parametrize("name", ODD)
async def test_what_the_switch_cannot_see_opens_connections_of_the_grant_and_they_are_logged(
    site: GrantSite, name: str
) -> None:
    """Open vSwitch walks over it and has no match for it. It leads nowhere else, and ends with a session."""
    client, server, odd = ODD[name]
    opening = odd(checked(client.tcp(server, 42000, 443)))
    assert await site.passes(client, opening, server)
    ((flow, _, rule, *_),) = await site.told(1)
    assert (flow.subject, flow.object, rule) == (site.laptop, site.web, "staff-web")
    assert flow.key == FlowKey(packed(client.ip), packed(server.ip), TCP, 42000, 443)
    assert site.state.counters["granted_odd"] == 1
    assert await site.refused(client, odd(checked(client.tcp(server, 42000, 22))), server)
    site.admin.end_session(site.web, SessionEvent.REVOKED)
    async with asyncio.timeout(5):
        while not await site.refused(client, opening, server):
            pass


async def test_what_is_written_for_grants_reads_back_as_right(site: GrantSite) -> None:
    await site.opened()
    wanted = intended(site.state, site.point)
    found = {entry.flow.key: entry.flow.body for entry in await site.channel.read_tables() if entry.flow is not None}
    assert found == {key: flow.body for key, flow in wanted.items()}
    assert {Table(key[0]) for key in found} == set(Table)
    assert await site.reconcile() == 0
    assert await site.admin.attestation.attest(site.point) == 0


async def test_nothing_passes_in_the_middle_of_a_connection_that_nobody_opened(site: GrantSite) -> None:
    stray = segment(LAPTOP, WEB1, (40000, 443), ACK, 7, 9, b"x")
    assert await site.refused(LAPTOP, stray, WEB1)
    answer = segment(WEB1, LAPTOP, (443, 40000), ACK, 7, 9, b"x")
    assert await site.refused(WEB1, answer, LAPTOP)
    assert await site.refused(WEB1, checked(WEB1.udp(LAPTOP, 443, 5000)), LAPTOP)
    for flags in (SYN | 1, SYN | 4, 0, 1, 4, 0x29):
        assert await site.refused(LAPTOP, segment(LAPTOP, WEB1, (40002, 443), flags, 7, 9), WEB1)
    assert set(site.records.reasons()) <= {DenyReason.NO_FLOW, DenyReason.NO_RULE}
    assert site.records.of("granted") == []


async def test_a_port_that_opens_too_many_connections_is_slowed_down_and_no_other_port_with_it(bridge: Bridge) -> None:
    """However many a host begins, connection tracking takes up no more of them than the meter of its port lets by."""
    site = GrantSite(bridge, meters=MeterRates(opening=5))
    await site.start()
    with site.wires:
        await site.log_in()
        talk = await site.opened()
        for port in range(41000, 41300):
            site.wires.send(LAPTOP.port, Conversation(LAPTOP, WEB1, port, 443).syn())
        arrived = 0
        with contextlib.suppress(asyncio.TimeoutError):
            while await site.wires.next(0.5):
                arrived += 1
        assert 0 < arrived < 150  # 5 and 5 for each second that it took
        assert await site.goes_on(talk) == (True, True)
        assert await site.passes(DB1, checked(DB1.echo(WEB1)), WEB1)
        await site.admin.accounting.read_drops(site.point)
        [(port, dropped)] = [
            (port, packets) for _, port, _, meter, packets, _ in site.records.of("suppressed") if meter == "new-grants"
        ]
        assert (port, dropped) == (LAPTOP.port, 300 - arrived)
    await site.stop()


async def test_where_tracking_is_full_new_connections_are_verified_and_those_that_are_there_go_on(
    site: GrantSite,
) -> None:
    """Whoever fills the table keeps nobody out."""
    with room_for(site, 2):  # a limit is for what is opened from now on
        talk = await site.opened()
        assert await site.passes(LAPTOP, checked(LAPTOP.udp(WEB1, 5000, 443)), WEB1)
        await site.is_let_in_in_vain(40001)
        assert site.verified() == 0
        late = await site.opened(40001)
        assert await site.passes(LAPTOP, checked(LAPTOP.udp(WEB1, 5001, 443)), WEB1)
        assert await site.passes(WEB1, checked(WEB1.udp(LAPTOP, 443, 5001)), LAPTOP)
        assert await site.passes(DB1, checked(DB1.echo(WEB1)), WEB1)
        assert [(flow.key.proto, flow.key.dport) for flow, *_ in site.records.of("allowed")] == [
            (6, 443),
            (17, 443),
            (1, 0),
        ]
        assert await site.goes_on(talk) == await site.goes_on(late) == (True, True)
        assert [told[0] for told in site.records.of("switch")].count("tracking-full") == 1
        assert await site.refused(WEB1, segment(WEB1, LAPTOP, (443, 40009), ACK, 7, 9), LAPTOP)
    await site.opened(40002)
    assert site.verified() == 3
    assert await site.goes_on(late) == (True, True)
    site.admin.end_session(site.laptop, SessionEvent.REVOKED)
    await site.stops(late)


@pytest.mark.parametrize("flags", [RST, RST | ACK])
async def test_either_end_may_reset_a_connection(site: GrantSite, flags: int) -> None:
    for port, sender, other in ((40000, WEB1, LAPTOP), (40001, LAPTOP, WEB1)):
        talk = await site.opened(port)
        assert await site.passes(sender, talk.says(sender, flags=flags), other)
    assert site.records.of("denied") == []


async def test_what_is_let_in_at_once_may_be_let_in_without_a_copy(bridge: Bridge) -> None:
    """So it is while so many are opened that the log has no line each."""
    site = GrantSite(bridge, meters=MeterRates(record=3))
    await site.start()
    with site.wires:
        await site.log_in()
        site.admin.tick(site.state.clock())
        port = 41000
        async with asyncio.timeout(20):
            while site.point.opening is not Opening.UNTOLD:
                assert await site.passes(LAPTOP, Conversation(LAPTOP, WEB1, port, 443).syn(), WEB1)
                site.admin.tick(site.state.clock())
                port += 1
        await site.channel.barrier()
        told = len(site.records.of("granted"))
        assert 3 <= told <= port - 41000
        talk = await site.opened(42000)
        await site.channel.barrier()
        assert len(site.records.of("granted")) == told
        assert await site.admin.attestation.attest(site.point) == 0
        site.admin.tick(site.state.clock() + UNTOLD_FOR)
        assert site.point.opening is Opening.AT_ONCE
        await site.channel.barrier()
        port = 43000
        async with asyncio.timeout(20):
            while len(site.records.of("granted")) == told:  # until the meter lets one through
                await site.opened(port)
                port += 1
        assert await site.goes_on(talk) == (True, True)
    await site.stop()


async def test_the_answering_end_opens_nothing(site: GrantSite) -> None:
    talk = await site.opened()
    assert await site.refused(WEB1, segment(WEB1, LAPTOP, (443, 40000), SYN, 9000, 0), LAPTOP)
    assert await site.goes_on(talk) == (True, True)


@pytest.mark.parametrize("whose", ["subject", "object"])
async def test_a_session_that_ends_takes_its_connections_with_it(site: GrantSite, whose: str) -> None:
    talk = await site.opened()
    site.admin.end_session(site.laptop if whose == "subject" else site.web, SessionEvent.REVOKED)
    await site.stops(talk)
    left = [entry for entry in await site.channel.read_tables() if entry.table in (Table.CONNECTION, Table.OWNER)]
    assert len(left) == 2 * 4 + 4


async def test_a_new_session_at_an_old_address_inherits_nothing_and_may_use_the_same_ports(site: GrantSite) -> None:
    talk = await site.opened()
    site.admin.end_session(site.laptop, SessionEvent.REVOKED)
    site.login(LAPTOP, BOB)
    await site.stops(talk)
    zone = site.state.fabric.tracking.zone(site.point.number)
    assert LAPTOP.ip in run("ovs-appctl", "dpctl/dump-conntrack", f"zone={zone}")  # it is there still
    assert await site.refused(WEB1, checked(WEB1.udp(LAPTOP, 443, 5000)), LAPTOP)
    anew = Conversation(LAPTOP, WEB1, 40000, 443)
    assert await site.passes(LAPTOP, anew.syn(), WEB1)
    assert (await site.told(2))[-1][0].opened_by.principal.name == "bob"


async def test_ports_are_used_again_though_the_connection_before_never_ended(site: GrantSite) -> None:
    """A host that was switched off begins anew, where the switch believes that its old connection stands."""
    await site.opened()
    await site.is_let_in_in_vain(first=3_000_000_000)
    anew = await site.opened(first=3_000_000_000)
    assert await site.goes_on(anew) == (True, True)
    assert site.verified() == 1  # to tracking it is no part of the connection, and no beginning of one
    site.admin.end_session(site.laptop, SessionEvent.REVOKED)
    site.login(LAPTOP, BOB)
    await site.stops(anew)
    assert await site.goes_on(await site.opened(first=2_000_000_000)) == (True, True)


async def test_a_packet_that_tracking_finds_invalid_is_no_sign_that_it_is_full(site: GrantSite) -> None:
    wrong = LAPTOP.udp(WEB1, 5000, 443)  # without the checksum of its header
    assert await site.passes(LAPTOP, wrong, WEB1)
    assert site.verified() == 1
    assert [told[0] for told in site.records.of("switch")].count("tracking-full") == 0
    assert site.records.of("granted") == []


async def test_a_datagram_of_a_new_session_takes_the_connection_over(site: GrantSite) -> None:
    there, back = checked(LAPTOP.udp(WEB1, 5000, 443)), checked(WEB1.udp(LAPTOP, 443, 5000))
    assert await site.passes(LAPTOP, there, WEB1)
    assert await site.passes(WEB1, back, LAPTOP)
    site.admin.end_session(site.laptop, SessionEvent.REVOKED)
    site.login(LAPTOP, BOB)
    async with asyncio.timeout(5):
        while not await site.refused(WEB1, back, LAPTOP):
            pass
    assert await site.passes(LAPTOP, there, WEB1)
    assert await site.passes(WEB1, back, LAPTOP)
    assert len(await site.told(2)) == 2


async def test_a_connection_of_an_earlier_store_opens_nothing(bridge: Bridge) -> None:
    """The numbers begin anew with a new store, and mean others."""
    zones = secrets.randbelow(60000)
    first = GrantSite(bridge, tracking=Tracking(zones, 1))
    await first.start()
    with first.wires:
        await first.log_in()
        talk = await first.opened()
        await first.stop()
        second = GrantSite(bridge, tracking=Tracking(zones, 2))
        await second.start()
        second.wires = first.wires
        await second.log_in()
        assert (second.laptop, second.web) == (first.laptop, first.web)
        await second.stops(talk)
        await second.opened(40001)
        await second.stop()


async def test_a_restart_cuts_no_connection(bridge: Bridge) -> None:
    first = GrantSite(bridge)
    await first.start()
    with first.wires:
        await first.log_in()
        talk = await first.opened()
        await first.stop()
        assert await first.goes_on(talk) == (True, True)
        await first.opened(40007)  # a switch alone goes on letting connections in
        second = GrantSite(bridge, GRANTS, first.store, tracking=first.state.fabric.tracking)
        second.wires = first.wires
        await second.start()
        assert await second.goes_on(talk) == (True, True)
        await second.stop()


async def test_a_rule_that_goes_takes_its_connections_with_it(site: GrantSite) -> None:
    talk = await site.opened()
    await site.use_policy(GRANTS.replace("tcp/443, udp/443", "udp/443"))
    await site.stops(talk)
    await site.use_policy(GRANTS)
    async with asyncio.timeout(5):
        while not await site.passes(LAPTOP, talk.says(LAPTOP), WEB1, 0.25):
            pass  # the switch still has in its cache that it does not
    assert await site.goes_on(talk) == (True, True)


async def test_another_grant_carries_a_connection_on(site: GrantSite) -> None:
    talk = await site.opened()
    await site.use_policy(GRANTS.replace("id: staff-web", "id: other"))
    assert await site.goes_on(talk) == (True, True)


async def test_a_deny_rule_stops_both_directions(site: GrantSite) -> None:
    talk = await site.opened()
    deny = "  - {id: stop, from: [any], to: [web], services: [tcp/443], action: deny}\n"
    await site.use_policy(GRANTS + deny)
    await site.stops(talk)
    assert set(site.records.reasons()) <= {DenyReason.DENY_RULE, DenyReason.NO_LONGER_ALLOWED}


async def test_a_connection_goes_on_as_a_flow_when_its_rule_is_no_grant_any_more(site: GrantSite) -> None:
    talk = await site.opened()
    await site.use_policy(GRANTS.replace(", enforce: switch", ""))
    async with asyncio.timeout(5):
        while not site.verified():
            assert await site.goes_on(talk) == (True, True)
    assert site.verified() == 1
    await site.use_policy(GRANTS)
    assert await site.goes_on(talk) == (True, True)
    stray = segment(LAPTOP, WEB1, (40009, 443), ACK, 7, 9, b"x")
    assert await site.refused(LAPTOP, stray, WEB1)


async def test_an_answer_alone_takes_a_connection_into_the_flows(site: GrantSite) -> None:
    talk = await site.opened()
    await site.use_policy(GRANTS.replace(", enforce: switch", "").replace("id: staff-web", "id: other"))
    async with asyncio.timeout(5):
        while not site.verified():
            assert await site.passes(WEB1, talk.says(WEB1, b"late"), LAPTOP)
    ((flow, *_),) = site.records.of("allowed")
    assert (flow.subject, flow.object, flow.key.dport) == (site.laptop, site.web, 443)


async def test_errors_about_a_connection_pass_and_others_do_not(site: GrantSite) -> None:
    talk = await site.opened()
    quoted = talk.says(LAPTOP, b"quoted")
    error, other = (checked(WEB1.unreachable(LAPTOP, one)) for one in (quoted, LAPTOP.tcp(WEB1, 40100, 443)))
    assert await site.passes(WEB1, error, LAPTOP)
    assert await site.refused(WEB1, other, LAPTOP)
    assert await site.refused(DB1, checked(DB1.unreachable(LAPTOP, quoted)), LAPTOP)
    await site.use_policy(GRANTS.replace("tcp/443, udp/443", "udp/443"))
    assert await site.refused(WEB1, error, LAPTOP)


def error_about(sender: Host, to: Host, about: bytes, kind: int, code: int, mtu: int = 0) -> bytes:
    """An ICMP or ICMPv6 error that quotes the packet of a frame."""
    proto = ICMP if len(packed(sender.ip)) == 4 else ICMPV6
    return checked(sender._send(to, proto, struct.pack("!BBHI", kind, code, 0, mtu) + about[14:]))


@pytest.mark.parametrize(
    ("client", "server", "kind", "code", "mtu"),
    [
        (LAPTOP, WEB1, 3, 3, 0),
        (LAPTOP, WEB1, 3, 4, 1280),
        (LAPTOP, WEB1, 11, 0, 0),
        (LAPTOP6, WEB6, 1, 4, 0),
        (LAPTOP6, WEB6, 2, 0, 1280),
    ],
    ids=["port-unreachable", "fragmentation-needed", "time-exceeded", "port-unreachable-6", "packet-too-big"],
)
async def test_errors_about_datagrams_pass_both_ways_while_their_connection_may(
    site: GrantSite, client: Host, server: Host, kind: int, code: int, mtu: int
) -> None:
    there, back = checked(client.udp(server, 5000, 443)), checked(server.udp(client, 443, 5000))
    assert await site.passes(client, there, server)
    assert await site.passes(server, back, client)
    from_server, from_client = (
        error_about(*pair, kind, code, mtu) for pair in ((server, client, there), (client, server, back))
    )
    assert await site.passes(server, from_server, client)
    assert await site.passes(client, from_client, server)
    assert site.verified() == 0
    other = checked(client.udp(server, 5001, 443))
    assert await site.refused(server, error_about(server, client, other, kind, code, mtu), client)
    site.admin.end_session(site.laptop, SessionEvent.REVOKED)
    site.login(LAPTOP, BOB)
    await site.channel.barrier()
    assert await site.refused(server, from_server, client)


async def test_the_same_services_that_are_no_grant_are_verified(site: GrantSite) -> None:
    talk = Conversation(WEB1, DB1, 41000, 5432)
    assert await site.passes(WEB1, talk.syn(), DB1)
    assert await site.passes(DB1, talk.syn_ack(), WEB1)
    assert site.verified() == 1
    assert site.records.of("granted") == []


async def test_protocols_that_a_switch_cannot_track_are_verified(site: GrantSite) -> None:
    await site.use_policy(f"{SEGMENTS}  - {{id: all, from: [staff], to: [web], services: [any], enforce: switch}}\n")
    frame = LAPTOP._send(WEB1, 47, b"gre so to say")
    assert await site.passes(LAPTOP, frame, WEB1)
    assert site.verified() == 1
    assert await site.refused(LAPTOP, checked(LAPTOP.unreachable(WEB1, LAPTOP.tcp(WEB1, 1, 2))), WEB1)


async def test_both_ends_may_grant_each_other_everything(site: GrantSite) -> None:
    """A packet may then be an answer by its ports, and go the way in which its connection was opened all the same."""
    await site.use_policy(f"{SEGMENTS}  - {{id: all, from: [any], to: [any], services: [any], enforce: switch}}\n")
    talk = await site.opened()
    other = await site.opened(40000, WEB1, LAPTOP)
    assert await site.goes_on(talk) == await site.goes_on(other) == (True, True)
    assert len(await site.told(2)) == 2
    only = f"{SEGMENTS}  - {{id: all, from: [web], to: [staff], services: [any], enforce: switch}}\n"
    await site.use_policy(only)
    await site.stops(talk)
    assert await site.goes_on(other) == (True, True)
