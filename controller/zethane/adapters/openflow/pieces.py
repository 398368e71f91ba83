"""In which pieces a table is read: a switch answers each in one go, and does nothing else meanwhile.

Open vSwitch takes some 4 µs to tell of an entry. With its datapath in user space the same thread takes packets from the
ports: 90,000 entries that were asked for at once held all packets up for 0.4 s, until buffers of ports ran over.
"""

from __future__ import annotations

from collections.abc import Iterator

from zethane.pipeline.fields import OBJECT_SHIFT, SUBJECT_SHIFT
from zethane.pipeline.tables import Table

AT_ONCE = 2_000
"""Entries that a piece has at the most, if those of a table are spread evenly."""

MOST = 64
"""Pieces by one field. What a switch says of the number of its entries is not to be relied on."""

SPLIT: dict[Table, tuple[int, ...]] = {
    Table.SOURCE: (SUBJECT_SHIFT,),
    Table.DESTINATION: (OBJECT_SHIFT,),
    Table.FLOW: (SUBJECT_SHIFT,),
    Table.CONNECTION: (SUBJECT_SHIFT, OBJECT_SHIFT),
    Table.OWNER: (SUBJECT_SHIFT, OBJECT_SHIFT),
    Table.RULE: (0,),
}
"""The tables that may be large, and where the parts of a cookie begin that tell their entries apart: session numbers,
or the rule. Of two, the second divides those that have zeros in the first."""


def pieces(table: Table, entries: int) -> Iterator[tuple[int, int]]:
    """Cookie and mask of each piece of a table with so many entries. Every cookie is in exactly one of them."""
    count = 1
    while count < MOST and entries > count * AT_ONCE and table in SPLIT:
        count *= 2
    if count == 1:
        yield 0, 0
        return
    first, *others = SPLIT[table]
    mask = count - 1 << first
    for number in range(len(others), count):
        yield number << first, mask
    for second in others:
        for number in range(count):
            yield number << second, mask | count - 1 << second
