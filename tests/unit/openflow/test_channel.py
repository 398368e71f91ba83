"""One connection, against a switch in memory: what is read, and what it puts up with."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.openflow_peer import (
    ECHO_REPLY,
    ECHO_REQUEST,
    FLOW_REMOVED,
    HEADER,
    MULTIPART_REQUEST,
    PACKET_IN,
    PACKET_IN_BODY,
    PORT_STATUS,
    Events,
    Peer,
    connect,
    message,
    port,
    wire,
)
from zethane.service.switch import PacketIn, PortState


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
