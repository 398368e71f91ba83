"""A switch in memory is asked whether it is there, and dropped when it is not."""

from __future__ import annotations

import asyncio
from typing import Any

from fakes.openflow_peer import ECHO_REPLY, ECHO_REQUEST, Message, Peer, connect, message
from zethane.adapters.openflow.limits import ChannelLimits


async def test_an_echo_request_is_answered_with_its_data() -> None:
    _, transport, _ = await connect()
    transport.deliver(message(ECHO_REQUEST, 0xFEED, b"are you there"))
    assert transport.of(ECHO_REPLY) == [Message(ECHO_REPLY, 0xFEED, b"are you there")]


async def test_a_switch_that_answers_echo_requests_is_kept_beyond_the_deadline() -> None:
    """Ended by a count of echo requests, not by time."""
    enough = asyncio.Event()

    class Counting(Peer):
        def answers(self, asked: Message) -> Any:
            self.count = getattr(self, "count", 0) + (asked.kind == ECHO_REQUEST)
            if self.count >= 12:
                enough.set()
            return super().answers(asked)

    limits = ChannelLimits(echo_interval=0.005, echo_deadline=0.03)
    _, transport, _ = await connect(Counting(), limits)
    await enough.wait()
    assert not transport.is_closing()


async def test_a_switch_that_stops_answering_is_dropped() -> None:
    peer = Peer()
    peer.silent = {ECHO_REQUEST}
    _, transport, events = await connect(peer, ChannelLimits(echo_interval=0.002, echo_deadline=0.01))
    await transport.lost
    assert events.of("disconnected") == ["no answer to echo requests"]


async def test_where_the_loop_itself_was_late_the_answer_is_waited_for() -> None:
    """A switch is not dropped for what the controller was busy with: the answer lies in the socket."""
    channel, transport, _ = await connect(Peer(), ChannelLimits(echo_interval=10.0, echo_deadline=10.0))
    channel._alive.heard -= 60.0
    channel._alive._expected -= 60.0
    channel._alive._look()
    assert not transport.is_closing()
    channel._alive.heard -= 60.0
    channel._alive._look()
    assert transport.is_closing()
