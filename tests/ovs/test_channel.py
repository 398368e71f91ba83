"""The channel against Open vSwitch: bundles are atomic, errors name their cause, the hot path is understood."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.frames import packed
from fakes.openflow_peer import Events
from openvswitch import Bridge
from zethane.adapters.openflow.channel import Channel
from zethane.adapters.openflow.listener import Listener
from zethane.adapters.openflow.reception import Reception
from zethane.errors import ChannelError
from zethane.net.flowkey import FlowKey
from zethane.pipeline.change import Add, Change, Remove, RemoveMatching
from zethane.pipeline.fields import SUBJECT_MASK, cookie, parties
from zethane.pipeline.flow import Flow, Output, ToController, match
from zethane.pipeline.tables import Table
from zethane.pipeline.verified import both_directions, verified_flow
from zethane.service.switch import FlowRemoved

pytestmark = pytest.mark.ovs

WITHIN = 15.0
"""Seconds for the bridge to connect, or to report something; it takes milliseconds."""

GOOD = Flow(Table.PORT, 100, match(in_port=1), 0x1111, goto=Table.SOURCE)
OTHER = Flow(Table.PORT, 100, match(in_port=2), 0x2222, goto=Table.SOURCE)
IMPOSSIBLE = {
    "a meter that is not there": Flow(Table.PORT, 1, (), 0xBAD0001, goto=Table.SOURCE, meter=7777),
    "a port that cannot be": Flow(Table.FORWARD, 1, (), 0xBAD0002, actions=(Output(0xFFFFFF01),)),
    "a port match without its protocol": Flow(Table.RULE, 1, match(tcp_dst=80), 0xBAD0003),
}


class Recorder(Events):
    """Events, with one more for each flow-removed and each error."""

    def __init__(self) -> None:
        super().__init__()
        self.more = asyncio.Event()

    def flow_removed(self, channel: Any, event: FlowRemoved) -> None:
        super().flow_removed(channel, event)
        self.more.set()

    async def wait_for(self, name: str, count: int) -> list[Any]:
        """The events of a name once there are so many."""
        while len(self.of(name)) < count:
            self.more.clear()
            await asyncio.wait_for(self.more.wait(), WITHIN)
        return self.of(name)


class Connected(Recorder):
    """Keeps the channel itself."""

    channel: Channel

    def connected(self, channel: Any, ports: Any) -> bool:
        self.channel = channel
        return super().connected(channel, ports)


@pytest.fixture
async def events(bridge: Bridge) -> AsyncIterator[Connected]:
    """A bridge without entries, connected."""
    made = Connected()
    listener = Listener(made)
    _, port = await listener.start("127.0.0.1", 0, None)
    bridge.set_controller(port)
    await asyncio.wait_for(made.ready.wait(), WITHIN)
    yield made
    await listener.stop()
    await asyncio.sleep(0)


async def test_a_bridge_that_is_greeted_waits_for_the_controller_and_needs_no_second_try(bridge: Bridge) -> None:
    reception, events = Reception("127.0.0.1", 0), Connected()
    bridge.set_controller(reception.port)
    begun = time.monotonic()
    while not bridge.is_connected:  # it is only when it has been greeted
        assert time.monotonic() < begun + WITHIN
    listener = Listener(events)
    await listener.start("127.0.0.1", 0, None, reception)
    await asyncio.wait_for(events.ready.wait(), WITHIN)
    assert events.channel.dpid == bridge.dpid
    await events.channel.commit([Add(GOOD)])
    assert await held(events.channel) == [GOOD]
    assert events.of("disconnected") == []
    await listener.stop()
    await asyncio.sleep(0)


async def held(channel: Channel) -> list[Flow]:
    found = [entry.flow for entry in await channel.read_tables()]
    return in_order([flow for flow in found if flow is not None])


def in_order(flows: list[Flow]) -> list[Flow]:
    return sorted(flows, key=lambda flow: flow.key)


async def test_the_bridge_tells_who_it_is_and_its_ports(bridge: Bridge, events: Connected) -> None:
    assert events.channel.dpid == bridge.dpid
    assert sorted((port.number, port.up) for port in events.ports) == [(number, True) for number in range(1, 7)]


async def test_a_bundle_takes_effect_as_a_whole(events: Connected) -> None:
    await events.channel.commit([Add(GOOD), Add(OTHER)])
    assert await held(events.channel) == [GOOD, OTHER]
    await events.channel.commit([Remove(*GOOD.key), Add(OTHER)])
    assert await held(events.channel) == [OTHER]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("name", IMPOSSIBLE)
async def test_a_bundle_with_one_impossible_change_leaves_nothing_of_it_behind(
    events: Connected, name: str, place: int
) -> None:
    """Neither additions nor removals, wherever in the bundle it stands; and the error names its cookie."""
    channel, bad = events.channel, IMPOSSIBLE[name]
    await channel.commit([Add(OTHER)])
    changes: list[Change] = [Add(GOOD), Remove(*OTHER.key)]
    changes.insert(place, Add(bad))
    with pytest.raises(ChannelError, match=f"cookie {bad.cookie:#018x}"):
        await channel.commit(changes)
    assert await held(channel) == [OTHER]
    assert any(f"{bad.cookie:#018x}" in what for what in events.of("refused"))
    await channel.commit([Add(GOOD)])
    assert await held(channel) == [GOOD, OTHER]


@pytest.mark.parametrize("name", IMPOSSIBLE)
async def test_an_error_about_a_single_change_names_its_cookie(events: Connected, name: str) -> None:
    bad = IMPOSSIBLE[name]
    events.channel.apply([Add(GOOD), Add(bad), Add(OTHER)])
    await events.channel.barrier()
    (what,) = events.of("refused")
    assert f"cookie {bad.cookie:#018x}" in what
    assert await held(events.channel) == [GOOD, OTHER]


async def test_an_empty_bundle_is_no_error(events: Connected) -> None:
    await events.channel.commit([])
    assert await held(events.channel) == []


async def test_many_bundles_at_once_are_applied_in_order(events: Connected) -> None:
    flows = [Flow(Table.PORT, 100, match(in_port=1), number, goto=Table.SOURCE) for number in range(1, 20)]
    await asyncio.gather(*(events.channel.commit([Add(flow)]) for flow in flows))
    assert await held(events.channel) == [flows[-1]]


V4 = (packed("10.0.0.21"), packed("10.0.0.11"))
V6 = (packed("2001:db8::21"), packed("2001:db8::11"))
KEYS = [
    *(FlowKey(*ends, proto, 40000, 443) for ends in (V4, V6) for proto in (6, 17, 132)),
    *(FlowKey(*ends, 47, 0, 0) for ends in (V4, V6)),
    FlowKey(*V4, 1, 8, 0),
    FlowKey(*V6, 58, 8, 0),
]


async def test_per_flow_rules_of_every_protocol_read_back_as_what_was_meant(events: Connected) -> None:
    channel = events.channel
    directions = [one for key in KEYS for one in both_directions(key, 5, 9, 2, 3, 7)]
    for number, direction in enumerate(directions):
        channel.install(direction, notify=number % 2 == 0, lease=number, idle=7 * number)
    await channel.barrier()
    assert events.of("refused") == []
    meant = [verified_flow(one, notify=n % 2 == 0, lease=n, idle=7 * n) for n, one in enumerate(directions)]
    assert await held(channel) == in_order(meant)


async def test_flows_taken_back_by_cookie_are_reported_one_by_one_with_their_counters(events: Connected) -> None:
    """One message takes back all that a session has opened, of both families and every protocol."""
    channel = events.channel
    for number, key in enumerate(KEYS):
        for direction in both_directions(key, 5, 9 + number, 2, 3, 7):
            channel.install(direction, notify=True, lease=0, idle=0)
    for direction in both_directions(KEYS[0]._replace(sport=1), 6, 9, 2, 3, 7):
        channel.install(direction, notify=True, lease=0, idle=0)
    channel.apply([RemoveMatching(Table.FLOW, (), cookie(5, 0, 0), SUBJECT_MASK)])
    gone = await events.wait_for("flow_removed", 2 * len(KEYS))
    assert {(event.reason, event.packets, event.octets) for event in gone} == {(2, 0, 0)}
    wanted = {(key, cookie(5, 9 + n, 7), parties(5, 9 + n)) for n, key in enumerate(KEYS)}
    wanted |= {(key.reverse(), cookie(5, 9 + n, 7), parties(9 + n, 5)) for n, key in enumerate(KEYS)}
    assert {(event.key, event.cookie, event.metadata) for event in gone} == wanted
    assert len(await held(channel)) == 2


async def test_a_packet_comes_up_with_its_parties_and_the_rule(bridge: Bridge, events: Connected) -> None:
    channel = events.channel
    both = (parties(5, 9), parties(0xFFFFFF, 0xFFFFFF))
    channel.apply(
        [
            Add(Flow(Table.PORT, 1, match(in_port=3), 0, metadata=both, goto=Table.SOURCE)),
            Add(Flow(Table.SOURCE, 1, (), 0, goto=Table.FLOW)),
            Add(Flow(Table.FLOW, 1, (), 0, goto=Table.RULE)),
            Add(Flow(Table.RULE, 1, (), cookie(0, 0, 7), actions=(ToController(),))),
        ]
    )
    await channel.barrier()
    frame = bytes.fromhex("020000000011 020000000021 0800") + bytes(50)
    bridge.ofctl("packet-out", f"in_port=3 packet={frame.hex()} actions=table")
    await channel.barrier()
    (event,) = [event for event in events.of("packet_in") if event.frame == frame]
    assert (event.port, event.table, event.cookie, event.metadata) == (3, Table.RULE, 7, parties(5, 9))


async def test_a_packet_out_leaves_by_its_port(bridge: Bridge, events: Connected) -> None:
    """Counted by the bridge: on its way out of port 2, once."""
    before = _sent(bridge, 2)
    events.channel.packet_out(2, bytes.fromhex("020000000011 020000000021 0800") + bytes(50))
    await events.channel.barrier()
    assert _sent(bridge, 2) == before + 1


def _sent(bridge: Bridge, port: int) -> int:
    text = bridge.ofctl("dump-ports", str(port))
    return int(text.partition("tx pkts=")[2].partition(",")[0])


async def test_later_fragments_are_dropped_by_the_bridge_itself(bridge: Bridge, events: Connected) -> None:
    await events.channel.barrier()
    assert "frags=drop" in bridge.ofctl("show")
