"""A switch that has too much to process gets no new flows, and goes on when it has caught up."""

from __future__ import annotations

import asyncio

from fakes.openflow_peer import BARRIER_REPLY, BARRIER_REQUEST, Message, Peer, connect, message
from zethane.adapters.openflow.pace import AHEAD, CAUGHT_UP, MARK_EVERY, Pace

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
