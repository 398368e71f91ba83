"""Packet-ins in turns: what is handled at once, what waits, what overtakes, and what is dropped."""

from __future__ import annotations

import asyncio
import struct

from fakes.openflow_peer import (
    BARRIER_REPLY,
    BARRIER_REQUEST,
    PACKET_IN,
    PACKET_OUT,
    PORT_STATUS,
    Events,
    Peer,
    connect,
    message,
    port,
    wire,
)
from zethane.adapters.openflow.channel import Channel
from zethane.adapters.openflow.intake import Intake, TurnLimits
from zethane.adapters.openflow.limits import ChannelLimits
from zethane.adapters.openflow.pace import CAUGHT_UP
from zethane.pipeline.fields import Reason
from zethane.service.fair_queue import FairQueue, QueueBounds
from zethane.service.switch import PacketIn

PATIENT = 3600.0
"""Seconds that no turn takes."""

FEW = ChannelLimits(turn=TurnLimits(packets=4, seconds=PATIENT, queue=QueueBounds(lane=8)))


def packet_in(number: int, place: int = 3, cookie: int = 0xABCD) -> bytes:
    """A packet-in from a port; its frame is a number."""
    match = struct.pack("!HHII4x", 1, 12, 0x80000004, place)
    body = struct.pack("!IHBBQ", 0xFFFFFFFF, 4, 1, 4, cookie) + match + bytes(2) + number.to_bytes(4, "big")
    return message(PACKET_IN, 0, body)


def port_down(number: int) -> bytes:
    return message(PORT_STATUS, 0, bytes([2, *bytes(7)]) + port(number, state=1))


def told(events: Events) -> list[tuple[int, int]]:
    """Port and number of every packet that was handled."""
    return [(event.port, int.from_bytes(event.frame, "big")) for event in events.of("packet_in")]


async def none_waits(channel: Channel) -> None:
    for _ in range(100):
        await asyncio.sleep(0)
    assert not channel.waiting


async def test_a_few_packets_are_handled_in_the_read_that_brings_them() -> None:
    _, transport, events = await connect(limits=FEW)
    transport.deliver(b"".join(map(packet_in, range(4))))
    assert told(events) == [(3, number) for number in range(4)]
    assert transport.reading


async def test_more_than_a_turn_wait_for_later_ones_and_nothing_more_is_read_meanwhile() -> None:
    channel, transport, events = await connect(limits=FEW)
    transport.deliver(b"".join(map(packet_in, range(11))))
    assert told(events) == [(3, number) for number in range(4)]
    assert (channel.waiting, transport.reading) == (7, False)
    await asyncio.sleep(0)
    assert len(told(events)) == 8
    assert (channel.waiting, transport.reading) == (3, True)
    await asyncio.sleep(0)
    assert told(events) == [(3, number) for number in range(11)]


async def test_a_turn_ends_when_its_time_is_over() -> None:
    now = [0.0]
    handled: list[PacketIn] = []

    def handle(event: PacketIn) -> None:
        handled.append(event)
        now[0] += 0.001

    limits = TurnLimits(packets=100, seconds=0.0035)
    intake = Intake(handle, lambda: None, asyncio.get_running_loop(), limits, lambda: now[0])
    intake.begin()
    for _ in range(10):
        assert intake.put(PacketIn(1, 0, 0, 0, b""))
    intake.end()
    assert len(handled) == 4
    await asyncio.sleep(0)
    assert len(handled) == 8


async def test_a_packet_that_has_waited_too_long_is_given_up_and_those_behind_it_are_handled() -> None:
    now = [0.0]
    handled: list[PacketIn] = []
    given_up: list[PacketIn] = []
    loop, limits = asyncio.get_running_loop(), TurnLimits(packets=2, patience=0.3)
    intake = Intake(handled.append, lambda: None, loop, limits, lambda: now[0], None, given_up.append)
    packets = [PacketIn(1, 0, 0, 0, bytes([number])) for number in range(5)]
    intake.hold()
    for packet in packets[:3]:
        assert intake.put(packet)
    now[0] = 0.2
    for packet in packets[3:]:
        assert intake.put(packet)
    now[0] = 0.31
    intake.release()
    await asyncio.sleep(0)
    assert (given_up, handled) == (packets[:3], packets[3:])
    assert not len(intake)


async def test_one_packet_of_another_port_waits_for_one_of_the_flood_and_no_more() -> None:
    _, transport, events = await connect(limits=FEW)
    transport.deliver(b"".join([*map(packet_in, range(10)), packet_in(99, 7)]))
    await asyncio.sleep(0)
    assert told(events)[4:6] == [(3, 4), (7, 99)]


async def test_everything_else_that_a_switch_reports_overtakes_packets_that_wait() -> None:
    _, transport, events = await connect(limits=FEW)
    transport.deliver(b"".join([*map(packet_in, range(10)), port_down(3)]))
    kinds = [name for name, _ in events.calls]
    assert kinds.index("port_status") == kinds.index("packet_in") + 4


async def test_a_probe_of_a_link_overtakes_packets_that_wait() -> None:
    """Under a flood it would be too late, and the link be taken for gone."""
    _, transport, events = await connect(limits=FEW)
    transport.deliver(b"".join([*map(packet_in, range(10)), packet_in(99, 3, Reason.LLDP)]))
    assert told(events) == [*((3, number) for number in range(4)), (3, 99)]


async def test_answers_overtake_packets_that_wait() -> None:
    channel, transport, events = await connect(limits=FEW)
    transport.deliver(b"".join(packet_in(number, number) for number in range(1, 101)))
    await channel.barrier()
    assert len(told(events)) < 50
    assert channel.waiting > 50


async def test_what_a_ports_queue_does_not_hold_is_dropped_and_reported_and_other_ports_are_not_concerned() -> None:
    _, transport, events = await connect(limits=FEW)
    transport.deliver(b"".join([*map(packet_in, range(20)), packet_in(99, 7)]))
    for _ in range(5):
        await asyncio.sleep(0)
    dropped = [int.from_bytes(event.frame, "big") for event in events.of("packet_dropped")]
    assert dropped == list(range(12, 20))
    assert sorted(told(events)) == sorted([*((3, number) for number in range(12)), (7, 99)])


async def test_a_connection_takes_its_queue_with_it() -> None:
    channel, transport, events = await connect(limits=FEW)
    transport.deliver(b"".join(map(packet_in, range(10))))
    channel.connection_lost(None)
    assert channel.waiting == 0
    await asyncio.sleep(0)
    assert len(told(events)) == 4


async def test_no_packet_is_handled_after_the_connection_was_given_up() -> None:
    channel, transport, events = await connect(limits=FEW)
    transport.deliver(b"".join(map(packet_in, range(10))))
    channel.close("enough")
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(told(events)) == 4


async def test_nothing_is_handled_while_the_switch_does_not_read() -> None:
    channel, transport, events = await connect(limits=FEW)
    transport.deliver(b"".join(map(packet_in, range(6))))
    channel.pause_writing()
    await asyncio.sleep(0)
    assert transport.reading  # for reports of ended flows: without them a switch goes no further
    transport.deliver(packet_in(6))
    await asyncio.sleep(0)
    assert len(told(events)) == 4
    channel.resume_writing()
    assert transport.reading
    await asyncio.sleep(0)
    assert told(events) == [(3, number) for number in range(7)]


async def test_the_flood_of_one_switch_leaves_another_switch_its_turns() -> None:
    order: list[str] = []

    class Named(Events):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def packet_in(self, channel: object, event: PacketIn) -> None:
            order.append(self.name)
            super().packet_in(channel, event)  # type: ignore[arg-type]

    transports = []
    for number, name in enumerate(("flood", "other"), 1):
        events = Named(name)
        _, transport = wire(events, Peer(number), FEW)
        await events.ready.wait()
        await asyncio.sleep(0)
        transports.append(transport)
    flood, other = transports
    flood.deliver(b"".join(packet_in(number, number) for number in range(1, 101)))
    other.deliver(packet_in(1))
    for _ in range(30):
        await asyncio.sleep(0)
    assert order.index("other") == 4
    assert order.count("flood") == 100


async def test_a_turn_goes_on_where_the_compiled_path_takes_nothing() -> None:
    handled: list[PacketIn] = []
    limits = TurnLimits(packets=4, seconds=PATIENT)
    intake = Intake(handled.append, lambda: None, asyncio.get_running_loop(), limits, quick=lambda *_: None)
    for number in range(6):
        assert intake.put(PacketIn(1, 0, number, 0, b""))
    intake.end()
    await asyncio.sleep(0)
    assert [event.cookie for event in handled] == [0, 1, 2, 3]
    await asyncio.sleep(0)
    assert [event.cookie for event in handled] == [0, 1, 2, 3, 4, 5]


async def test_the_packet_that_the_compiled_path_gives_back_is_the_last_of_a_turn_that_is_over() -> None:
    handled: list[PacketIn] = []

    def quick(queue: FairQueue[PacketIn], intake: Intake) -> PacketIn:
        intake._left = 0  # plain packets have used it up
        return queue.take()

    limits = TurnLimits(packets=4, seconds=PATIENT)
    intake = Intake(handled.append, lambda: None, asyncio.get_running_loop(), limits, quick=quick)
    for number in range(3):
        assert intake.put(PacketIn(1, 0, number, 0, b""))
    intake.end()
    for turn in range(3):
        assert len(handled) == turn
        await asyncio.sleep(0)
    assert [event.cookie for event in handled] == [0, 1, 2]


async def test_what_a_port_sends_beyond_its_share_of_a_read_waits_and_others_behind_it_do_not() -> None:
    channel, transport, events = await connect(limits=ChannelLimits(turn=TurnLimits(seconds=PATIENT, share=3)))
    transport.deliver(b"".join([*map(packet_in, range(10)), packet_in(98, 7), packet_in(99, 7)]))
    assert told(events) == [(3, 0), (3, 1), (3, 2), (7, 98), (7, 99)]
    # Nor do they in another read; what follows of the port is behind what waits of it.
    transport.deliver(b"".join([packet_in(10), packet_in(100, 7)]))
    assert told(events)[5:] == [(7, 100)]
    assert channel.waiting == 8
    await none_waits(channel)
    assert [number for place, number in told(events) if place == 3] == list(range(11))


async def test_while_much_is_on_its_way_to_the_switch_a_flood_rests_and_others_go_on() -> None:
    peer = Peer()
    channel, transport, events = await connect(peer, limits=ChannelLimits(turn=TurnLimits(seconds=PATIENT, share=3)))
    peer.silent.add(BARRIER_REQUEST)
    for _ in range(2):
        channel._send(message(PACKET_OUT, 1, bytes(CAUGHT_UP // 2)))
    channel.flush()
    assert not channel.is_behind
    transport.deliver(b"".join([*map(packet_in, range(10)), packet_in(99, 7)]))
    for _ in range(5):
        await asyncio.sleep(0)
    assert told(events) == [(3, 0), (3, 1), (3, 2), (7, 99)]
    assert transport.reading
    peer.silent.clear()
    transport.deliver(message(BARRIER_REPLY, channel._pace._mark or 0))
    await none_waits(channel)
    assert len(told(events)) == 11
