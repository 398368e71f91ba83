"""A table is read in pieces: each entry once, whatever its cookie, and none of the pieces large."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zethane.adapters.openflow.pieces import AT_ONCE, MOST, SPLIT, pieces
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
