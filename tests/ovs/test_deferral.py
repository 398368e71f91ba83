"""UDP flows whose rules wait, on a real bridge: every packet arrives once, and is counted once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fakes.frames import Host
from fakes.site import ALICE, WEB
from livesite import LiveSite
from openvswitch import Bridge
from wires import Wires
from zethane.pipeline.tables import Priority, Table
from zethane.service.untimed import UNANSWERED

pytestmark = pytest.mark.ovs

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")


@pytest.fixture
async def site(bridge: Bridge) -> AsyncIterator[LiveSite]:
    """Two sessions whose UDP flows have no rules at first."""
    made = await LiveSite(bridge, rules_wait_from=0).start()
    made.login(WEB1, WEB)
    made.login(LAPTOP, ALICE)
    await made.channel.barrier()
    yield made
    await made.stop()


async def rules(site: LiveSite) -> int:
    """How many per-flow rules the bridge has."""
    await site.channel.barrier()
    entries = await site.channel.read_tables()
    return sum(entry.table == Table.FLOW and entry.priority == Priority.FLOW_VERIFIED for entry in entries)


async def test_questions_and_answers_pass_without_rules_and_are_counted(site: LiveSite, bridge: Bridge) -> None:
    flows = 20
    question, answer = LAPTOP.udp(WEB1, 5000, 443, b"who"), WEB1.udp(LAPTOP, 443, 5000, b"me")
    with Wires(bridge, range(2, 5)) as wires:
        for port in range(5000, 5000 + flows):
            wires.send(4, LAPTOP.udp(WEB1, port, 443, b"who"))
            assert (await wires.next())[0] == 2
            wires.send(2, WEB1.udp(LAPTOP, 443, port, b"me"))
            assert (await wires.next())[0] == 4
    assert await rules(site) == 0
    assert await site.admin.attestation.attest(site.point) == 0
    later = site.state.clock() + UNANSWERED + 1
    while site.admin.aging.tick(later):
        pass
    assert len(site.state.flows) == 0
    ended = [(why, flow.counts) for flow, _, why, _ in site.records.of("flow_ended")]
    assert ended == [("idle", (1, len(question), 1, len(answer)))] * flows
    assert site.records.reasons() == []


async def test_a_flow_that_goes_on_is_the_switches_from_its_second_packet_on(site: LiveSite, bridge: Bridge) -> None:
    packets = 10
    with Wires(bridge, range(2, 5)) as wires:
        for number in range(packets):
            wires.send(4, LAPTOP.udp(WEB1, 5000, 443, str(number).encode()))
            port, frame = await wires.next()
            assert (port, frame[42:].rstrip(b"\0")) == (2, str(number).encode())
            if number == 1:
                assert await rules(site) == 2
                await asyncio.sleep(0.1)  # the datapath takes the rules up
    assert site.state.counters["packet_ins"] == 2
    (flow,) = site.state.flows.by_key.values()
    assert flow.counts[:2] == (2, 2 * len(LAPTOP.udp(WEB1, 5000, 443, b"0")))
