"""Windows that close on a real bridge: the last packet of what they end, and none lost of anything else."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import pytest

from fakes.frames import Host
from fakes.site import ALICE, WEB
from livesite import LiveSite
from openvswitch import Bridge
from wires import Wires
from zethane.native import native
from zethane.pipeline.tables import Priority, Table
from zethane.service import flows

pytestmark = pytest.mark.ovs

POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  staff: {groups: [staff]}
rules:
  - {id: day, from: [staff], to: [web], services: [udp/443], when: {hours: "Mon-Fri 07:00-19:00 Europe/Berlin"}}
  - {id: other, from: [staff], to: [web], services: [udp/444]}
"""
CLOSES = datetime.fromisoformat("2026-11-25T19:00+01:00").timestamp()
WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
WITHIN = 20.0
"""Seconds after which a test gives up."""


class Streams:
    """Two flows of numbered packets at the same time: one by the rule with hours, one by the other."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self.sent: dict[int, float] = {}
        self.heard: dict[int, list[int]] = {443: [], 444: []}

    async def send(self, packets: int = 1) -> None:
        """Send some more of both, and listen."""
        for _ in range(packets):
            number = len(self.sent)
            self.sent[number] = time.monotonic()
            for port in self.heard:
                self._wires.send(LAPTOP.port, LAPTOP.udp(WEB1, 5000, port, number.to_bytes(4, "big")))
            await asyncio.sleep(0.005)
            self._listen()

    async def until(self, done: Callable[[], bool]) -> None:
        """Go on sending until something is so. Raises TimeoutError."""
        async with asyncio.timeout(WITHIN):
            while not done():
                await self.send()

    def _listen(self) -> None:
        while not self._wires.heard.empty():
            port, frame = self._wires.heard.get_nowait()
            if port == WEB1.port:
                self.heard[int.from_bytes(frame[36:38], "big")].append(int.from_bytes(frame[42:46], "big"))

    def has_stopped(self) -> bool:
        """Whether the one with hours has not been heard for the last fifty packets, which the other one was."""
        last = self.heard[443][-1]
        return len([number for number in self.heard[444] if number > last]) >= 50

    async def is_whole(self, port: int) -> bool:
        """Whether every packet of a flow has arrived, once."""
        async with asyncio.timeout(WITHIN):
            while len(self.heard[port]) < len(self.sent):
                await asyncio.sleep(0.01)
                self._listen()
        return sorted(self.heard[port]) == sorted(self.sent)


class Shifted(LiveSite):
    """A live site whose clock is so many seconds before the window closes."""

    def shift(self, seconds: float) -> None:
        self._began, self._shifted = time.monotonic(), CLOSES - seconds
        self.state.clock = lambda: self._shifted + time.monotonic() - self._began
        self.admin.tick(self.state.clock())

    async def log_in(self) -> None:
        self.login(WEB1, WEB)
        self.login(LAPTOP, ALICE)
        await self.channel.barrier()

    async def leases(self) -> set[int]:
        found = await self.channel.read_tables()
        rules = (entry.flow for entry in found if entry.table == Table.FLOW and entry.flow is not None)
        return {rule.hard_timeout for rule in rules if rule.priority == Priority.FLOW_VERIFIED}


@pytest.fixture
async def site(bridge: Bridge) -> AsyncIterator[Shifted]:
    made = Shifted(bridge, POLICY)
    made.shift(600.0)
    await made.start()
    await made.log_in()
    yield made
    await made.stop()


async def test_a_window_that_closes_ends_its_flows_and_no_packet_of_others_is_lost(site: Shifted) -> None:
    with Wires(site.bridge, range(1, 7)) as wires:
        streams = Streams(wires)
        await streams.send(100)
        assert len(site.state.flows) == 2
        assert await streams.is_whole(443)
        site.shift(0.0)  # what was to be sent is written now
        closed = len(streams.sent)
        await site.settle()
        await streams.until(streams.has_stopped)
        assert await streams.is_whole(444)
        assert streams.heard[443][:closed] == list(range(closed)), "all that was sent before"
        assert [flow.key.dport for flow in site.state.flows.by_key.values()] == [444]
        assert [arguments[0].key.dport for arguments in site.records.of("flow_ended")] == [443]


async def test_a_window_closes_without_a_controller(site: Shifted) -> None:
    site.shift(3.5)
    with Wires(site.bridge, range(1, 7)) as wires:
        streams = Streams(wires)
        await streams.send(20)
        assert await site.leases() == {0, 3}
        await site.stop()
        ends = time.monotonic() + CLOSES - site.state.clock()
        heard = len(streams.heard[443])
        await streams.until(streams.has_stopped)
        assert len(streams.heard[443]) > heard, "it went on with the controller away"
        assert streams.sent[streams.heard[443][-1]] < ends + 2.0
        assert await streams.is_whole(444)


async def test_a_flow_whose_lease_runs_out_in_an_open_window_goes_on(
    site: Shifted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Switches count no further than 18 hours; here no further than a second."""
    table = native("zethane.service.flow_table") or flows
    monkeypatch.setattr(table, "flow_lease", lambda ends, _: 0 if ends == math.inf else 1)
    with Wires(site.bridge, range(1, 7)) as wires:
        streams = Streams(wires)
        await streams.send(20)
        assert await site.leases() == {0, 1}
        await streams.until(lambda: site.state.counters["reinstalled"] >= 3)
        assert await streams.is_whole(443)
        assert await streams.is_whole(444)
        assert site.records.of("flow_ended") == []
        assert len(site.records.of("allowed")) == 2


async def test_outside_its_window_a_rule_lets_nothing_through(site: Shifted) -> None:
    site.shift(-1.0)
    await site.settle()
    with Wires(site.bridge, range(1, 7)) as wires:
        streams = Streams(wires)
        await streams.send(20)
        assert await streams.is_whole(444)
        assert streams.heard[443] == []
        assert set(site.records.reasons()) == {"condition-not-met"}
        site.shift(600.0)
        await site.settle()
        await streams.until(lambda: streams.heard[443] != [])
