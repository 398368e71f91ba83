"""Requests of one connection, against a switch in memory: each has its answer, an error, or an end."""

from __future__ import annotations

import asyncio
import struct

import pytest

from fakes.openflow_peer import (
    BARRIER_REPLY,
    BARRIER_REQUEST,
    ERROR,
    EXPERIMENTER,
    FEATURES_REPLY,
    FLOW_MOD,
    MULTIPART_REPLY,
    MULTIPART_REQUEST,
    Events,
    Peer,
    Wire,
    bundle_reply,
    change,
    connect,
    message,
    wire,
)
from zethane.adapters.openflow.channel import Channel
from zethane.adapters.openflow.limits import ChannelLimits
from zethane.errors import ChannelError
from zethane.pipeline.tables import Table


async def test_an_error_is_matched_to_the_request_that_caused_it() -> None:
    peer = Peer()
    channel, _, events = await connect(peer)
    peer.refuse = lambda asked: (1, 2) if asked.kind == MULTIPART_REQUEST else None
    with pytest.raises(ChannelError, match="error type 1 code 2 for message type 18"):
        await channel.read_meter_drops()
    await channel.barrier()
    assert len(events.of("refused")) == 1


async def test_an_error_that_nothing_waits_for_is_reported_with_its_cookie() -> None:
    peer = Peer()
    channel, _, events = await connect(peer)
    peer.refuse = lambda asked: (5, 1) if asked.kind == FLOW_MOD else None
    channel.apply([change(0xC0FFEE)])
    await channel.barrier()
    (what,) = events.of("refused")
    assert f"table {Table.RULE:d} cookie 0x0000000000c0ffee" in what


async def test_two_requests_at_once_get_each_its_own_answer() -> None:
    peer = Peer()
    peer.meters = struct.pack("!HHI", 24, 0, 3) + struct.pack("!HHIII", 1, 16, 100, 7, 0)
    channel, transport, _ = await connect(peer)
    tables, _, drops = await asyncio.gather(channel.read_tables(), channel.barrier(), channel.read_meter_drops())
    assert (tables, drops) == ([], {})
    assert len({written.xid for written in transport.written}) == len(transport.written)


async def test_an_answer_in_parts_is_put_together() -> None:
    peer = Peer()
    peer.flows = [_flow_stats(1) + _flow_stats(2), b"", _flow_stats(3)]
    channel, _, _ = await connect(peer)
    assert [entry.cookie for entry in await channel.read_tables()] == [1, 2, 3]


def _flow_stats(cookie: int) -> bytes:
    return struct.pack("!HBxIIHHHH4xQQQHHI", 56, 0, 0, 0, 1, 0, 0, 0, cookie, 0, 0, 1, 4, 0)


async def test_an_answer_that_is_too_long_ends_the_connection() -> None:
    peer = Peer()
    peer.flows = [_flow_stats(1)] * 40
    channel, transport, events = await connect(peer, ChannelLimits(flow_list_bytes=2000))
    with pytest.raises(ChannelError, match="too long"):
        await channel.read_tables()
    await transport.lost
    assert events.of("disconnected") == ["an answer is too long"]


async def test_a_flood_of_meters_or_of_ports_ends_the_connection() -> None:
    """There may be more entries than meters: the bound on the one is not that on the other."""
    peer = Peer()
    peer.meters = bytes.fromhex("0008000000000001") * 400
    channel, transport, events = await connect(peer, ChannelLimits(list_bytes=2000))
    with pytest.raises(ChannelError, match="too long"):
        await channel.set_meters({})
    await transport.lost
    assert events.of("disconnected") == ["an answer is too long"]

    peer = Peer(ports=range(1, 100))
    events = Events()
    _, transport = wire(events, peer, ChannelLimits(list_bytes=2000))
    await transport.lost
    assert not events.of("connected")


async def test_an_answer_that_is_no_list_of_entries_is_an_error() -> None:
    peer = Peer()
    peer.flows = [bytes(56)]
    channel, _, _ = await connect(peer)
    with pytest.raises(ChannelError, match="entry of 0 bytes"):
        await channel.read_tables()


async def test_a_request_without_an_answer_ends_the_connection() -> None:
    peer = Peer()
    channel, transport, events = await connect(peer, ChannelLimits(request=0.01))
    peer.silent = {BARRIER_REQUEST}
    with pytest.raises(ChannelError, match="no answer to a request"):
        await channel.barrier()
    await transport.lost
    assert events.of("disconnected") == ["no answer to a request"]


async def test_answers_to_what_was_never_asked_are_ignored() -> None:
    channel, transport, _ = await connect()
    for kind in (BARRIER_REPLY, FEATURES_REPLY, MULTIPART_REPLY):
        transport.deliver(message(kind, 0x7777, bytes(16)))
    transport.deliver(message(EXPERIMENTER, 0x7777, bundle_reply(5)))
    transport.deliver(message(ERROR, 0x7777, b"\0\1\0\2"))
    await channel.barrier()


async def test_when_the_connection_is_lost_everything_that_waits_fails_and_it_is_told_once() -> None:
    peer = Peer()
    lost: list[Channel] = []
    events = Events()
    channel = Channel(events, on_lost=lost.append)
    transport = Wire(channel, peer)
    channel.connection_made(transport)
    await events.ready.wait()
    await channel.barrier()
    peer.silent = {BARRIER_REQUEST, MULTIPART_REQUEST, EXPERIMENTER}
    waiting = [asyncio.ensure_future(work) for work in (channel.barrier(), channel.read_tables())]
    waiting.append(channel.commit([change()]))
    await asyncio.sleep(0)
    transport.drop(ConnectionResetError("reset"))
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [ChannelError] * 3
    assert events.of("disconnected") == ["connection lost: reset"]
    assert lost == [channel]


async def test_what_is_asked_of_a_connection_that_is_gone_fails_at_once() -> None:
    channel, transport, _ = await connect()
    channel.close("enough")
    await transport.lost
    for work in (channel.barrier(), channel.read_tables(), channel.commit([change()])):
        with pytest.raises(ChannelError, match="enough"):
            await work
    channel.apply([change()])
    channel.packet_out(1, b"frame")
    await asyncio.sleep(0)
    assert transport.of(FLOW_MOD) == []
