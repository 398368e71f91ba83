"""Flows without idle timeouts on a real bridge: what is silent goes, what is in use does not, a FIN ends an entry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from fakes.frames import ACK, SYN_ACK, Host
from fakes.site import ALICE, WEB
from livesite import LiveSite
from openvswitch import Bridge
from wires import Wires
from zethane.net.flowkey import TCP, UDP
from zethane.pipeline.tables import Priority, Table
from zethane.pipeline.verified import FIN_IDLE, IDLE_TIMEOUTS
from zethane.service import untimed
from zethane.service.flows import LiveFlow
from zethane.service.verification import REOPENED_AFTER

pytestmark = pytest.mark.ovs

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
FIN_ACK = 0x11
RST = 0x04
WITHIN = 20.0


@pytest.fixture
async def site(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveSite]:
    """Two sessions whose flows have no timeouts, and are tested after a few seconds."""
    monkeypatch.setitem(IDLE_TIMEOUTS, UDP, FIN_IDLE + 1)
    monkeypatch.setitem(IDLE_TIMEOUTS, TCP, 600)
    monkeypatch.setattr(untimed, "UNANSWERED", FIN_IDLE + 1)
    monkeypatch.setattr(untimed, "TRIAL", 2)
    monkeypatch.setattr(untimed, "MAX_DOUBLED", 0)
    made = await LiveSite(
        bridge, timed_flows_per_switch=0, flows_per_session=100_000, rules_wait_from=1_000_000
    ).start()
    made.login(WEB1, WEB)
    made.login(LAPTOP, ALICE)
    await made.channel.barrier()
    aging = asyncio.get_running_loop().create_task(age(made))
    yield made
    aging.cancel()
    await made.stop()


async def age(site: LiveSite) -> None:
    while True:
        site.admin.aging.tick(site.state.clock())
        await asyncio.sleep(0.002)


async def until(what: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + WITHIN
    while not what():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


def ended(site: LiveSite) -> list[tuple[LiveFlow, str]]:
    return [(flow, why) for flow, _, why, _ in site.records.of("flow_ended")]


async def entries(site: LiveSite) -> list[int]:
    """The idle timeouts of all per-flow rules."""
    return [entry.flow.idle_timeout for entry in await site.channel.read_tables() if is_per_flow(entry)]


def is_per_flow(entry: object) -> bool:
    return getattr(entry, "table", None) == Table.FLOW and getattr(entry, "priority", 0) == Priority.FLOW_VERIFIED


async def test_a_silent_flow_goes_and_one_in_use_loses_no_packet(site: LiveSite, bridge: Bridge) -> None:
    with Wires(bridge, range(2, 5)) as wires:
        sent = 0
        while site.state.counters["flows_tested"] < 3:
            if await site.channel.read_counts(0, 0) > (0, 0) and len(site.state.flows) == 1 and not ended(site):
                # Only now: before, one entry of the datapath would have counted packets of both flows.
                wires.send(4, LAPTOP.udp(WEB1, 5000, 443))
                await wires.next()
            wires.send(4, LAPTOP.udp(WEB1, 5001, 443, str(sent).encode()))
            sent += 1
            port, frame = await wires.next()
            assert (port, frame[42:].rstrip(b"\0")) == (2, str(sent - 1).encode())
            await asyncio.sleep(0.05)
        assert [(flow.key.sport, why) for flow, why in ended(site)] == [(5000, "idle")]
        assert ended(site)[0][0].counts == (1, len(LAPTOP.udp(WEB1, 5000, 443)), 0, 0)
        assert site.state.counters["reinstalled"] == 0
        assert len(site.state.flows) == 1
        await until(lambda: len(site.state.flows) == 0)
    flow, why = ended(site)[1]
    assert (why, flow.packets, flow.return_packets) == ("idle", sent, 0)
    assert await entries(site) == []


@pytest.mark.parametrize("back", [FIN_ACK, None])
async def test_a_connection_without_timeouts_ends_with_its_fins_or_its_reset(
    site: LiveSite, bridge: Bridge, back: int | None
) -> None:
    with Wires(bridge, range(2, 5)) as wires:
        wires.send(4, LAPTOP.tcp(WEB1, 40000, 443))
        await wires.next()
        wires.send(2, WEB1.tcp(LAPTOP, 443, 40000, SYN_ACK))
        await wires.next()
        assert await entries(site) == [0, 0]
        wires.send(4, LAPTOP.tcp(WEB1, 40000, 443, FIN_ACK if back else RST))
        await wires.next()
        if back:
            wires.send(2, WEB1.tcp(LAPTOP, 443, 40000, back))
            await wires.next()
        await until(lambda: len(site.state.flows) == 0)
        assert [why for _, why in ended(site)] == ["finished" if back else "idle"]
        assert await entries(site) == []
        wires.send(2, WEB1.tcp(LAPTOP, 443, 40000, ACK))
        if back is None:
            assert (await wires.next())[0] == 4, "half of it was open: it may go on"
        else:
            await until(lambda: site.records.reasons() == ["no-flow"])


async def test_a_connection_from_the_ports_of_one_that_has_just_ended_keeps_its_rules(
    site: LiveSite, bridge: Bridge
) -> None:
    syn, answer = LAPTOP.tcp(WEB1, 40000, 443), WEB1.tcp(LAPTOP, 443, 40000, SYN_ACK)
    ends = LAPTOP.tcp(WEB1, 40000, 443, FIN_ACK), WEB1.tcp(LAPTOP, 443, 40000, FIN_ACK)
    with Wires(bridge, range(2, 5)) as wires:
        for port, frame in ((4, syn), (2, answer), (4, ends[0]), (2, ends[1])):
            wires.send(port, frame)
            await wires.next()
        assert await entries(site) == [FIN_IDLE, FIN_IDLE]
        (flow,) = site.state.flows.all()
        await until(lambda: site.state.clock() - flow.installed > REOPENED_AFTER)
        wires.send(4, syn)
        assert (await wires.next())[0] == 2
        assert await entries(site) == [0, 0]
    assert site.state.flows.all() == [flow]
    assert not ended(site)


async def test_thousands_of_silent_flows_go_while_others_are_set_up(site: LiveSite) -> None:
    laptop, web = (live.session.number for live in sorted(site.state.sessions, key=lambda one: -one.session.number))
    rule = site.state.policy.rule_numbers["staff-web"]
    count = 30_000
    for port in range(count):
        frame = LAPTOP.udp(WEB1, 10_000 + port, 443)
        site.comes_up(LAPTOP, frame, laptop, web, rule)
        if port % 100 == 0:
            await asyncio.sleep(0)
    await until(lambda: len(ended(site)) == count)
    assert {why for _, why in ended(site)} == {"idle"}
    assert len({flow.key for flow, _ in ended(site)}) == count
    assert (site.state.flows.at(site.bridge.dpid), site.state.flows.timed_at(site.bridge.dpid)) == (0, 0)
    assert all(live.opened == 0 for live in site.state.sessions)
    assert await entries(site) == []
    assert await site.admin.attestation.attest(site.point) == 0


def test_the_timeout_after_a_fin_is_the_shortest() -> None:
    """A report with more than that is about a silent entry, and not about an ended connection."""
    assert min(*IDLE_TIMEOUTS.values(), untimed.HALF_CLOSED, untimed.UNANSWERED) > FIN_IDLE
