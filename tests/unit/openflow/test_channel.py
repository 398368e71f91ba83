"""One connection, against a switch in memory: what it says, what it puts up with, and what ends it."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.openflow_peer import (
    BARRIER_REPLY,
    ECHO_REPLY,
    ECHO_REQUEST,
    FEATURES_REPLY,
    FEATURES_REQUEST,
    FLOW_REMOVED,
    HEADER,
    HELLO,
    MULTIPART_REPLY,
    MULTIPART_REQUEST,
    PACKET_IN,
    PORT_STATUS,
    SET_CONFIG,
    Events,
    Message,
    Peer,
    connect,
    features,
    message,
    multipart,
    port,
    wire,
)
from zethane.adapters.openflow.limits import ChannelLimits
from zethane.errors import ChannelError
from zethane.service.switch import PacketIn, PortState

BRIEF = ChannelLimits(handshake=0.02, echo_interval=0.005, echo_deadline=0.02, request=0.02)
"""Limits that a silent switch breaks at once."""

PACKET_IN_BODY = struct.pack("!IHBBQ", 0xFFFFFFFF, 4, 1, 4, 0xABCD) + bytes.fromhex(
    "0001 000c 80000004 00000003 00000000 0000"  # match: in_port 3, and its padding
) + b"data"  # fmt: skip  # a line per structure


# handshake


async def test_the_handshake_greets_asks_who_it_is_drops_fragments_and_reports_the_ports() -> None:
    channel, transport, events = await connect(Peer(0xABC, ports=(1, 7)))
    kinds = [written.kind for written in transport.written]
    assert kinds[:4] == [HELLO, FEATURES_REQUEST, SET_CONFIG, MULTIPART_REQUEST]
    assert transport.of(SET_CONFIG)[0].body == bytes.fromhex("0001 ffff")
    assert channel.dpid == 0xABC
    assert events.of("connected") == [0xABC]
    assert events.ports == [PortState(1, "p1", up=True), PortState(7, "p7", up=True)]
    assert channel.peer == "('192.0.2.1', 6653)"


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_a_switch_that_is_too_old_is_told_so(version: int) -> None:
    events = Events()
    _, transport = wire(events, _silent())
    transport.deliver(message(HELLO, 0, version=version))
    await transport.lost
    assert events.calls == []


def _silent() -> Peer:
    peer = Peer()
    peer.silent = set(range(256))
    return peer


async def test_a_switch_that_could_speak_a_newer_version_speaks_ours() -> None:
    """OpenFlow 1.3.5 §6.3.1; the elements of its hello are not even read."""
    peer = Peer()
    peer.silent = {HELLO}
    events = Events()
    _, transport = wire(events, peer)
    transport.deliver(message(HELLO, 0, struct.pack("!HHI", 1, 8, 0x7E), version=6))
    await events.ready.wait()
    assert events.of("connected") == [1]


async def test_a_hello_with_an_element_of_length_zero_is_harmless() -> None:
    peer = Peer()
    peer.silent = {HELLO}
    events = Events()
    _, transport = wire(events, peer)
    transport.deliver(message(HELLO, 0, bytes(8)))
    await events.ready.wait()
    assert events.of("connected") == [1]


@pytest.mark.parametrize("silent", [HELLO, FEATURES_REQUEST, MULTIPART_REQUEST])
async def test_a_handshake_that_does_not_get_on_is_given_up(silent: int) -> None:
    peer = Peer()
    peer.silent = {silent}
    events = Events()
    channel, transport = wire(events, peer, BRIEF)
    await transport.lost
    assert events.calls == []
    with pytest.raises(ChannelError):
        await channel.barrier()


@pytest.mark.parametrize(
    ("kind", "body"),
    [(FEATURES_REPLY, features(1)[:23]), (FEATURES_REPLY, b""), (MULTIPART_REPLY, multipart(13, port(1)[:63]))],
)
async def test_answers_that_are_too_short_end_the_handshake(kind: int, body: bytes) -> None:
    class Short(Peer):
        def answers(self, asked: Message) -> Any:
            for answer in super().answers(asked):
                yield message(kind, asked.xid, body) if answer[1] == kind else answer

    events = Events()
    _, transport = wire(events, Short())
    await transport.lost
    assert events.calls == []


async def test_an_unwanted_switch_is_disconnected_and_not_reported_as_lost() -> None:
    events = Events(wanted=False)
    _, transport = wire(events)
    await transport.lost
    assert events.calls == [("connected", 1)]


async def test_messages_before_the_handshake_is_done_are_ignored() -> None:
    events = Events()
    peer = Peer()
    peer.silent = {MULTIPART_REQUEST}
    _, transport = wire(events, peer)
    early = message(PACKET_IN, 0, PACKET_IN_BODY) + message(PORT_STATUS, 0, bytes(8) + port(3))
    early += message(FLOW_REMOVED, 0, bytes(48)) + message(BARRIER_REPLY, 99) + message(MULTIPART_REPLY, 98, bytes(8))
    transport.deliver(early)
    await asyncio.sleep(0)
    assert events.calls == []
    assert not transport.is_closing()


async def test_a_second_hello_ends_the_connection() -> None:
    _, transport, events = await connect()
    transport.deliver(message(HELLO, 0))
    await transport.lost
    assert events.of("disconnected") == ["a second hello"]


# bytes


@pytest.mark.parametrize("length", [0, 1, 7])
async def test_a_length_shorter_than_the_header_ends_the_connection(length: int) -> None:
    _, transport, events = await connect()
    transport.deliver(HEADER.pack(4, ECHO_REQUEST, length, 0))
    await transport.lost
    assert events.of("disconnected") == [f"bad header: version 4 length {length}"]


@pytest.mark.parametrize("version", [0, 1, 3, 5, 6, 255])
async def test_another_version_after_the_handshake_ends_the_connection(version: int) -> None:
    _, transport, events = await connect()
    transport.deliver(message(ECHO_REQUEST, 0, version=version))
    await transport.lost
    assert len(events.of("disconnected")) == 1


async def test_the_longest_message_is_waited_for_and_read() -> None:
    _, transport, events = await connect()
    whole = message(PACKET_IN, 0, PACKET_IN_BODY + bytes(0xFFFF - HEADER.size - len(PACKET_IN_BODY)))
    transport.deliver(whole[:-1])
    assert events.of("packet_in") == []
    transport.deliver(whole[-1:])
    (event,) = events.of("packet_in")
    assert len(event.frame) == 0xFFFF - HEADER.size - len(PACKET_IN_BODY) + 4


async def test_nothing_is_read_after_the_connection_was_given_up() -> None:
    _, transport, events = await connect()
    transport.deliver(HEADER.pack(4, ECHO_REQUEST, 0, 0) + message(PACKET_IN, 0, PACKET_IN_BODY))
    await transport.lost
    assert events.of("packet_in") == []


@given(st.lists(st.integers(1, 40), max_size=20))
def test_where_the_stream_is_cut_never_matters(cuts: list[int]) -> None:
    async def run() -> list[Any]:
        _, transport, events = await connect()
        status = message(PORT_STATUS, 0, bytes(8) + port(3))
        stream = message(PACKET_IN, 0, PACKET_IN_BODY) + status + message(ECHO_REQUEST, 5, b"hi")
        for cut in cuts:
            transport.deliver(stream[:cut])
            stream = stream[cut:]
        transport.deliver(stream)
        await asyncio.sleep(0)
        assert [answer[1:] for answer in transport.of(ECHO_REPLY)] == [(5, b"hi")]
        return events.calls[1:]

    wanted = [("packet_in", PacketIn(3, 4, 0xABCD, 0, b"data")), ("port_status", (PortState(3, "p3", up=True), False))]
    assert asyncio.run(run()) == wanted


KINDS = st.one_of(st.integers(0, 30), st.integers(0, 255))


@given(st.lists(st.tuples(KINDS, st.integers(0, 8), st.binary(max_size=120)), max_size=8), st.binary(max_size=40))
def test_no_garbage_raises_or_hangs(sent: list[tuple[int, int, bytes]], tail: bytes) -> None:
    """Whatever comes, before and after the handshake, the channel handles it or ends, and tells at most once."""

    async def run() -> None:
        for silent in (set[int](), {MULTIPART_REQUEST}):
            peer = Peer()
            peer.silent = silent
            events = Events()
            channel, transport = wire(events, peer)
            if not silent:
                await events.ready.wait()
            for kind, xid, body in sent:
                transport.deliver(message(kind, xid, body))
            transport.deliver(tail)
            channel.close("the test is over")
            await transport.lost
            assert len(events.of("disconnected")) == len(events.of("connected")) * (not silent)

    asyncio.run(asyncio.wait_for(run(), 5))


async def test_a_packet_that_cannot_be_handled_is_dropped_and_costs_the_switch_nothing() -> None:
    """A host sent it: it must not be able to cut its switch off."""

    class Fragile(Events):
        def packet_in(self, channel: Any, event: PacketIn) -> None:  # noqa: ARG002  # SwitchEvents names them
            raise ZeroDivisionError

    _, transport, events = await connect(events=Fragile())
    transport.deliver(message(PACKET_IN, 0, PACKET_IN_BODY))
    assert events.of("disconnected") == []
    assert not transport.is_closing()


async def test_an_event_that_cannot_be_handled_ends_this_connection_and_no_other() -> None:
    class Fragile(Events):
        def port_status(self, channel: Any, port: PortState, *, removed: bool) -> None:  # noqa: ARG002  # as above
            raise ZeroDivisionError

    _, other, others = await connect()
    _, transport, events = await connect(events=Fragile())
    transport.deliver(message(PORT_STATUS, 0, bytes(8) + port(3)))
    await transport.lost
    assert events.of("disconnected") == ["a message of type 12 could not be handled: ZeroDivisionError"]
    other.deliver(message(PACKET_IN, 0, PACKET_IN_BODY))
    assert len(others.of("packet_in")) == 1


async def test_a_malformed_packet_in_or_flow_removed_is_left_out() -> None:
    _, transport, events = await connect()
    for kind in (PACKET_IN, FLOW_REMOVED):
        transport.deliver(message(kind, 0, bytes(30)))
    assert events.calls[1:] == []
    assert not transport.is_closing()


@pytest.mark.parametrize("body", [b"", bytes(7), bytes(8) + port(3)[:63]])
async def test_a_malformed_port_status_ends_the_connection(body: bytes) -> None:
    _, transport, events = await connect()
    transport.deliver(message(PORT_STATUS, 0, body))
    await transport.lost
    assert len(events.of("disconnected")) == 1


@pytest.mark.parametrize(("reason", "removed"), [(0, False), (1, True), (2, False)])
async def test_a_port_that_comes_goes_or_changes_is_reported(reason: int, removed: bool) -> None:
    _, transport, events = await connect()
    down = port(3, config=1) if reason == 2 else port(3)
    transport.deliver(message(PORT_STATUS, 0, bytes((reason,)) + bytes(7) + down))
    assert events.of("port_status") == [(PortState(3, "p3", up=reason != 2), removed)]


# echo


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
