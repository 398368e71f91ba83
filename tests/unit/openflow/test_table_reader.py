"""The tables of a switch in memory are read: those that are asked for, in pieces, and whole."""

from __future__ import annotations

import asyncio
import struct

import pytest

from fakes.openflow_peer import FLOW_STATS, MULTIPART_REQUEST, Peer, connect
from zethane.adapters.openflow.pieces import AT_ONCE
from zethane.errors import ChannelError
from zethane.pipeline.fields import cookie
from zethane.pipeline.tables import Table


async def test_flow_stats_are_asked_for_the_pipelines_tables_and_no_others() -> None:
    channel, transport, _ = await connect()
    await channel.read_tables()
    asked = [one for one in transport.of(MULTIPART_REQUEST) if one.body[:2] == FLOW_STATS.to_bytes(2, "big")]
    assert [struct.unpack_from("!H6xB", one.body) for one in asked] == [(FLOW_STATS, table) for table in Table]


def entry(table: Table, why: int, age: int = 0) -> bytes:
    return struct.pack("!HBxIIHHHH4xQQQHHI", 56, table, age, 0, 1, 0, 0, 0, why, 0, 0, 1, 4, 0)


async def test_a_large_table_is_asked_for_in_pieces_and_found_whole() -> None:
    peer = Peer()
    wanted = [cookie(number, 0, 9) for number in range(1, 3 * AT_ONCE)]
    all_of_them = [entry(Table.SOURCE, why) for why in wanted] + [entry(Table.PORT, 5)]
    peer.flows = [b"".join(all_of_them[at : at + 500]) for at in range(0, len(all_of_them), 500)]
    channel, transport, _ = await connect(peer)
    before = len(transport.written)
    found = await channel.read_tables()
    assert sorted(one.cookie for one in found) == sorted([*wanted, 5])
    asked = [one for one in transport.written[before:] if one.kind == MULTIPART_REQUEST and one.body[:2] == b"\0\1"]
    assert len(asked) == len(Table) + 3  # one table in four


async def test_a_switch_has_one_piece_to_answer_at_a_time() -> None:
    peer = Peer()
    channel, transport, _ = await connect(peer)
    before = len(transport.written)
    peer.silent = {MULTIPART_REQUEST}
    reading = asyncio.ensure_future(channel.read_tables((Table.PORT, Table.FORWARD)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert [one.kind for one in transport.written[before:]] == [MULTIPART_REQUEST]
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not channel._requests


async def test_what_goes_wrong_in_one_piece_leaves_nothing_behind() -> None:
    peer = Peer()
    peer.flows = [bytes(56)]
    channel, _, _ = await connect(peer)
    with pytest.raises(ChannelError, match="entry of 0 bytes"):
        await channel.read_tables()
    await asyncio.sleep(0)
    await channel.barrier()
    assert not channel._requests
