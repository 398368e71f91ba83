"""A table is read in pieces: each entry once, whatever its cookie, and none of the pieces large."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.openflow_peer import MULTIPART_REQUEST, Peer
from unit.openflow.test_channel import connect
from zethane.adapters.openflow.pieces import AT_ONCE, MOST, SPLIT, pieces
from zethane.errors import ChannelError
from zethane.pipeline.fields import cookie
from zethane.pipeline.tables import Table


@given(st.sampled_from(Table), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_every_cookie_is_in_one_piece(table: Table, entries: int, one: int) -> None:
    found = list(pieces(table, entries))
    assert len(found) <= 2 * MOST
    assert sum(one & mask == wanted for wanted, mask in found) == 1


@pytest.mark.parametrize("table", [Table.FLOW, Table.SOURCE, Table.DESTINATION, Table.CONNECTION, Table.OWNER])
def test_the_entries_of_sessions_are_spread(table: Table) -> None:
    numbers = range(1, 10_001)
    cookies = [cookie(number, 0, 7) for number in numbers if table != Table.DESTINATION]
    cookies += [cookie(0, number, 7) for number in numbers if table != Table.SOURCE and table != Table.FLOW]
    sizes = [sum(one & mask == wanted for one in cookies) for wanted, mask in pieces(table, len(cookies))]
    assert sum(sizes) == len(cookies)
    assert max(sizes) <= AT_ONCE


def test_what_is_small_is_read_whole() -> None:
    assert {table: list(pieces(table, AT_ONCE)) for table in Table} == {table: [(0, 0)] for table in Table}
    assert {len(list(pieces(table, 2**40))) for table in Table if table not in SPLIT} == {1}


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
