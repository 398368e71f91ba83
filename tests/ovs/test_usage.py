"""What a session has sent and received, counted by a real bridge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fakes.frames import ACK, SYN_ACK, Host
from fakes.site import ALICE, WEB
from livesite import LiveSite
from openvswitch import Bridge
from zethane.audit.reason import SessionEvent
from zethane.service.usage import Counts, Usage

pytestmark = pytest.mark.ovs

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
WITHIN = 10.0
"""Seconds until the bridge has counted: its revalidators take half a second to tell."""


class Counted:
    """A site with one flow, and what both of its sessions have carried."""

    def __init__(self, site: LiveSite, bridge: Bridge) -> None:
        self.site, self.bridge = site, bridge
        self.usage = Usage(site.state, site.admin.grant_usage)
        site.records.flow_ended = lambda flow, *_: self.usage.flow_ended(flow)
        self.laptop = site.login(LAPTOP, ALICE).number
        self.web = site.login(WEB1, WEB).number
        self.usage.follow(self.laptop)
        self.usage.follow(self.web)

    def opens(self) -> None:
        """The first packet, which the controller delivers."""
        rule = self.site.state.policy.rule_numbers["staff-web"]
        self.site.comes_up(LAPTOP, LAPTOP.tcp(WEB1, 40000, 443), self.laptop, self.web, rule)

    def passes(self, number: int) -> None:
        """So many packets of the laptop go through the tables, and one comes back."""
        frame = LAPTOP.tcp(WEB1, 40000, 443, ACK, bytes(1000)).hex()
        for _ in range(number):
            self.bridge.ofctl("packet-out", f"in_port={LAPTOP.port} packet={frame} actions=table")
        back = WEB1.tcp(LAPTOP, 443, 40000, SYN_ACK).hex()
        self.bridge.ofctl("packet-out", f"in_port={WEB1.port} packet={back} actions=table")

    async def shows(self, number: int, wanted: tuple[int, int]) -> Counts:
        """The counters of a session once they have these packets, sent and received."""
        deadline = asyncio.get_running_loop().time() + WITHIN
        while True:
            counts = await self.usage.read(number)
            if (counts.sent_packets, counts.received_packets) == wanted:
                return counts
            assert asyncio.get_running_loop().time() < deadline, counts
            await asyncio.sleep(0.05)


@pytest.fixture
async def counted(bridge: Bridge) -> AsyncIterator[Counted]:
    site = await LiveSite(bridge).start()
    yield Counted(site, bridge)
    await site.stop()


async def test_both_ends_count_what_has_passed_and_none_of_it_twice_when_the_flow_ends(counted: Counted) -> None:
    counted.opens()
    await counted.site.channel.barrier()
    counted.passes(5)
    live = await counted.shows(counted.laptop, (6, 1))
    size = len(LAPTOP.tcp(WEB1, 40000, 443, ACK, bytes(1000)))
    assert live.sent_octets >= 5 * size
    other = await counted.shows(counted.web, (1, 6))
    assert (other.sent_octets, other.received_octets) == (live.received_octets, live.sent_octets)
    counted.passes(2)
    counted.site.admin.end_session(counted.laptop, SessionEvent.DISCONNECTED)
    last = await counted.shows(counted.laptop, (8, 2))
    assert counted.usage.is_final(counted.laptop)
    assert last.sent_octets == live.sent_octets + 2 * size
    await counted.shows(counted.web, (2, 8))
