"""A session ends on a bridge with many flows: no packet of it passes, its rules go in pieces, others' go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from fakes.frames import ACK, SYN_ACK, Host
from fakes.site import ALICE, WEB
from livesite import LiveSite
from openvswitch import Bridge
from wires import Wires
from zethane.audit.reason import SessionEvent
from zethane.identity.session import Session
from zethane.net.flowkey import ICMP, TCP, UDP
from zethane.pipeline.fields import split_cookie
from zethane.pipeline.held import Reported
from zethane.pipeline.tables import Priority, Table
from zethane.service import clearing

pytestmark = pytest.mark.ovs

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
DESK = Host(5, "02:00:00:00:00:22", "10.0.0.22")
CAROL = replace(ALICE, name="carol")
TCP_FLOWS, UDP_FLOWS, OTHERS = 3000, 300, 200
WITHIN = 20.0


@pytest.fixture
async def site(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveSite]:
    """A server, and two users with flows to it that have no timeouts."""
    monkeypatch.setattr(clearing, "SMALL", OTHERS)
    made = await LiveSite(bridge, timed_flows_per_switch=0, flows_per_session=100_000).start()
    made.login(WEB1, WEB)
    yield made
    await made.stop()


async def rules(site: LiveSite) -> list[Reported]:
    found = await site.channel.read_tables((Table.FLOW,))
    return [entry for entry in found if entry.priority == Priority.FLOW_VERIFIED]


async def opened(site: LiveSite, host: Host, session: Session, tcp: int, udp: int) -> None:
    """Flows of a host to the server, as the bridge reports their first packets."""
    web = next(live.session.number for live in site.state.sessions if WEB.name in live.session.principal.name)
    numbers = site.state.policy.rule_numbers
    for port in range(tcp):
        site.comes_up(host, host.tcp(WEB1, 10_000 + port, 443), session.number, web, numbers["staff-web"])
        if port < udp:
            site.comes_up(host, host.udp(WEB1, 10_000 + port, 443), session.number, web, numbers["staff-web"])
        if port % 50 == 0:
            await asyncio.sleep(0)
    site.comes_up(host, host.echo(WEB1), session.number, web, numbers["ping"])
    await site.channel.barrier()


async def test_packets_stop_at_once_and_the_rules_go_in_pieces(site: LiveSite, bridge: Bridge) -> None:
    alice, carol = site.login(LAPTOP, ALICE), site.login(DESK, CAROL)
    await opened(site, LAPTOP, alice, TCP_FLOWS, UDP_FLOWS)
    await opened(site, DESK, carol, OTHERS, 0)
    held = await rules(site)
    assert len(held) == 2 * (TCP_FLOWS + UDP_FLOWS + OTHERS + 2)
    with Wires(bridge, range(2, 6)) as wires:
        wires.send(2, WEB1.tcp(LAPTOP, 443, 10_000, SYN_ACK))
        assert (await wires.next())[0] == 4
        while not wires.heard.empty():
            wires.heard.get_nowait()
        site.admin.end_session(alice.number, SessionEvent.REVOKED)
        await passes(wires, 5, DESK)  # what was changed is in force as soon as this is
        for host, port, other in ((LAPTOP, 4, WEB1), (WEB1, 2, LAPTOP)):
            wires.send(port, host.tcp(other, 443 if host is WEB1 else 10_000, 10_000 if host is WEB1 else 443, ACK))
        await passes(wires, 5, DESK)
        assert len(await rules(site)) == len(held), "none of them has gone yet"
        assert await site.admin.attestation.attest(site.point) == 0
        await cleared(site, alice.number)
        await passes(wires, 5, DESK)
    left = await rules(site)
    assert len(left) == 2 * (OTHERS + 1)
    assert {split_cookie(entry.cookie)[0] for entry in left} == {carol.number}
    ended = {(flow.key.proto, flow.key.sport): flow for flow, _, why, _ in site.records.of("flow_ended")}
    assert len(ended) == TCP_FLOWS + UDP_FLOWS + 1
    assert {proto for proto, _ in ended} == {TCP, UDP, ICMP}
    assert ended[TCP, 10_000].return_packets == 1
    assert len(site.state.flows) == site.state.flows.at(bridge.dpid) == OTHERS + 1
    assert await site.admin.attestation.attest(site.point) == 0


async def passes(wires: Wires, port: int, host: Host) -> None:
    """A packet of a flow of this host passes, and it is the next one that does."""
    wires.send(port, host.tcp(WEB1, 10_000, 443, ACK))
    out, frame = await wires.next()
    assert (out, frame[26:30]) == (2, host.tcp(WEB1, 10_000, 443, ACK)[26:30])


async def cleared(site: LiveSite, number: int) -> None:
    """Until nothing of a session waits, and the bridge has reported every rule."""
    deadline = asyncio.get_running_loop().time() + WITHIN
    while site.admin.clearing.waits(number) or site.state.flows.is_closing(number):
        assert asyncio.get_running_loop().time() < deadline
        site.admin.clearing.tick(site.state.clock())
        await asyncio.sleep(0.002)
