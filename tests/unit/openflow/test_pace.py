"""A switch that has too much to process gets no new flows, and goes on when it has caught up."""

from __future__ import annotations

import asyncio
from typing import cast

from fakes.openflow_peer import BARRIER_REPLY, BARRIER_REQUEST, Events, Message, Peer, connect, message
from zethane.adapters.openflow.channel import Channel
from zethane.adapters.openflow.limits import ChannelLimits
from zethane.adapters.openflow.pace import AHEAD, CAUGHT_UP, MARK_EVERY, Pace
from zethane.service.switch import SwitchEvents

FRAME = bytes(1000)


class Slow(Peer):
    """Answers no barrier until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.barriers: list[int] = []

    def answers(self, asked: Message) -> list[bytes]:
        if self.slow and asked.kind == BARRIER_REQUEST:
            self.barriers.append(asked.xid)
            return []
        return list(super().answers(asked))


def test_a_barrier_is_due_when_enough_is_written_and_none_is_on_its_way() -> None:
    pace = Pace()
    assert not pace.wrote(MARK_EVERY - 1)
    assert pace.wrote(1)
    pace.mark(7)
    assert not pace.wrote(MARK_EVERY)
    assert not pace.reached(8)
    assert pace.ahead == 2 * MARK_EVERY
    assert pace.reached(7)
    assert pace.ahead == MARK_EVERY
    assert pace.wrote(1)


async def test_a_switch_that_processes_nothing_is_behind_until_it_has_caught_up() -> None:
    peer = Slow()
    channel, transport, _ = await connect(peer)
    await asyncio.sleep(0)
    peer.slow = True
    written = 0
    while not channel.is_behind:
        assert written <= AHEAD
        channel.packet_out(1, FRAME)
        channel.flush()
        written += len(FRAME)
    assert written > AHEAD // 2
    assert transport.reading  # or the answer to the barrier would never come
    while channel.is_behind:
        transport.deliver(message(BARRIER_REPLY, peer.barriers.pop(0)))
    assert peer.barriers == []
    assert 0 < CAUGHT_UP < AHEAD


async def test_few_messages_are_written_without_a_barrier() -> None:
    peer = Slow()
    channel, _, _ = await connect(peer)
    peer.slow = True
    for _ in range(10):
        channel.packet_out(1, FRAME)
    channel.flush()
    assert peer.barriers == []


async def test_a_switch_that_answers_everything_but_a_barrier_is_given_up() -> None:
    peer = Slow()
    channel, transport, events = await connect(peer, ChannelLimits(echo_interval=10.0, echo_deadline=10.0))
    await asyncio.sleep(0)
    peer.slow = True
    channel.packet_out(1, bytes(2 * MARK_EVERY))
    channel.flush()
    assert len(peer.barriers) == 1
    channel._alive._look()
    assert not transport.is_closing()
    channel._writer.marked -= 60.0
    channel._alive._look()
    await transport.lost
    assert events.of("disconnected") == ["no answer to a barrier"]


async def test_a_switch_that_reads_nothing_is_given_up_before_memory_is() -> None:
    channel, transport, events = await connect(limits=ChannelLimits(unwritten_bytes=1000))
    transport.unwritten = 1000
    channel.packet_out(1, FRAME)
    channel.flush()
    assert not transport.is_closing()
    transport.unwritten = 1001
    channel.packet_out(1, FRAME)
    channel.flush()
    await transport.lost
    assert events.of("disconnected") == ["it does not read what is written to it"]


async def test_what_nobody_reads_does_not_keep_a_connection_open() -> None:
    loop = asyncio.get_running_loop()
    lost = loop.create_future()
    events = Events()
    limits = ChannelLimits(closing=0.01)
    made: list[Channel] = []

    def accept() -> Channel:
        made.append(Channel(cast("SwitchEvents", events), limits, lambda _: lost.set_result(None)))
        return made[0]

    server = await loop.create_server(accept, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2], limit=1)
    await reader.readexactly(8)  # the greeting, and nothing after it
    (channel,) = made
    for _ in range(1000):  # more than both ends' buffers take
        channel.packet_out(1, bytes(60_000))
    channel.close("enough")
    await asyncio.wait_for(lost, 20.0)
    writer.close()
    server.close()
