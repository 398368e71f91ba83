"""What is written to a switch in memory, and what a switch does to it that does not read."""

from __future__ import annotations

import asyncio

from fakes.openflow_peer import BARRIER_REQUEST, ECHO_REQUEST, FLOW_MOD, PACKET_OUT, Peer, change, connect, message


async def test_a_switch_that_does_not_read_is_not_read_from() -> None:
    channel, transport, _ = await connect()
    transport.unwritten = 5 * 2**20
    channel.pause_writing()
    assert not transport.reading
    transport.unwritten = 0
    channel.resume_writing()
    assert transport.reading
    assert transport.high_water == (2**16, None)


async def test_a_switch_that_takes_nothing_is_full_until_it_reads_again() -> None:
    channel, transport, _ = await connect()
    transport.unwritten = 5 * 2**20
    assert not channel.is_full
    channel.pause_writing()
    assert channel.is_full
    transport.unwritten = 2**17
    assert not channel.is_full
    transport.unwritten = 5 * 2**20
    channel.resume_writing()
    assert not channel.is_full


async def test_a_switch_that_does_not_take_a_bundle_is_full_before_its_connection_is_given_up() -> None:
    peer = Peer()
    channel, _, _ = await connect(peer)
    peer.silent = {BARRIER_REQUEST}
    writing = channel.commit([])
    while not channel.is_full:
        channel.packet_out(1, bytes(60000))
    channel.packet_out(1, bytes(60000))
    assert channel._closed_for is None
    channel.close("over")
    writing.cancel()


async def test_a_switch_that_is_a_little_behind_is_read_from_until_its_questions_are_too_many() -> None:
    channel, transport, _ = await connect()
    transport.unwritten = 2**17
    channel.pause_writing()
    assert channel.is_behind
    assert transport.reading
    transport.unwritten = 5 * 2**20
    transport.deliver(message(ECHO_REQUEST, 1))
    assert not transport.reading
    transport.unwritten = 0
    channel.resume_writing()
    assert transport.reading
    assert not channel.is_behind


async def test_nothing_is_read_again_from_a_connection_that_is_closing() -> None:
    channel, transport, _ = await connect()
    transport.unwritten = 5 * 2**20
    channel.pause_writing()
    channel.close("enough")
    channel.resume_writing()
    assert not transport.reading


async def test_what_one_event_writes_goes_out_in_one_piece() -> None:
    channel, transport, _ = await connect()
    await asyncio.sleep(0)
    before = transport.writes
    channel.apply([change(number) for number in range(10)])
    channel.packet_out(2, b"frame")
    assert transport.writes == before
    await asyncio.sleep(0)
    assert transport.writes == before + 1
    assert [sent.kind for sent in transport.written[-11:]] == [FLOW_MOD] * 10 + [PACKET_OUT]


async def test_what_was_written_before_closing_still_goes_out() -> None:
    channel, transport, _ = await connect()
    channel.apply([change()])
    channel.close("enough")
    assert len(transport.of(FLOW_MOD)) == 1
