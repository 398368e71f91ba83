"""Flow-mods written here are byte by byte those of os-ken, whatever is matched and done."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zethane.adapters.openflow import encode
from zethane.pipeline.change import Add, Change, Remove, RemoveMatching
from zethane.pipeline.flow import (
    Action,
    Commit,
    FieldMatch,
    FinTimeout,
    Flow,
    ForgetPort,
    Match,
    Output,
    OutputRegister,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    ToController,
    Track,
)
from zethane.pipeline.tables import FIELD_BITS, TABLES, PipelineError, Table

xids = st.integers(0, 0xFFFFFFFF)
u16, u64 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFFFFFFFFFF)
EXACT_ONLY = frozenset(("in_port", "eth_type", "ip_proto"))


@st.composite
def fields(draw: st.DrawFn, name: str) -> FieldMatch:
    full = (1 << FIELD_BITS[name]) - 1
    mask = full if name in EXACT_ONLY else draw(st.just(full) | st.integers(1, full))
    return FieldMatch(name, draw(st.integers(0, full)) & mask, mask)


@st.composite
def matches(draw: st.DrawFn, table: Table) -> Match:
    known = sorted(TABLES[table].matches)
    names = draw(st.sets(st.sampled_from(known), max_size=8)) if known else set()
    return tuple(draw(fields(name)) for name in sorted(names))


settable = st.sampled_from([name for name in sorted(FIELD_BITS) if name.startswith(("reg", "eth_", "vlan"))])
actions: st.SearchStrategy[Action] = st.one_of(
    st.builds(Output, st.integers(1, 0xFFFFFFFF)),
    st.builds(OutputRegister, st.sampled_from(["reg3"])),
    st.builds(ToController, u16),
    settable.flatmap(lambda name: st.builds(SetField, st.just(name), st.integers(0, (1 << FIELD_BITS[name]) - 1))),
    st.builds(PushVlan),
    st.builds(PopVlan),
    st.builds(ForgetPort),
    st.builds(FinTimeout, u16, u16),
    st.builds(Resubmit, st.sampled_from(list(Table))),
    st.builds(Track, st.integers(0, 0xFFFF), st.just(Table.CONNECTION)),
    st.builds(Commit, st.integers(0, 0xFFFF), st.just(Table.COMMITTED), st.integers(0, 2**32 - 1)),
)


@st.composite
def changes(draw: st.DrawFn) -> Change:
    table = draw(st.sampled_from(list(Table)))
    wanted = draw(matches(table))
    kind = draw(st.sampled_from([Add, Remove, RemoveMatching]))
    if kind is Remove:
        return Remove(table, draw(u16), wanted)
    if kind is RemoveMatching:
        return RemoveMatching(table, wanted, draw(u64), draw(u64))
    # What a table declares says nothing of how an entry is written.
    flow = object.__new__(Flow)
    values: dict[str, Any] = {
        "table": table,
        "priority": draw(u16),
        "match": wanted,
        "cookie": draw(u64),
        "actions": tuple(draw(st.lists(actions, max_size=5))),
        "metadata": draw(st.none() | st.tuples(u64, u64)),
        "goto": draw(st.none() | st.sampled_from(list(Table))),
        "meter": draw(st.none() | st.integers(1, 0xFFFF0000)),
        "idle_timeout": draw(u16),
        "hard_timeout": draw(u16),
        "notify_removed": draw(st.booleans()),
    }
    for name, value in values.items():
        object.__setattr__(flow, name, value)
    return Add(flow)


@given(change=changes(), xid=xids, bundle=xids)
def test_every_change_is_written_as_os_ken_writes_it(change: Change, xid: int, bundle: int) -> None:
    assert encode.flow_mod(change, xid) == encode.reference_flow_mod(change, xid)
    assert encode.bundle_add(bundle, change, xid) == encode.reference_bundle_add(bundle, change, xid)


@pytest.mark.parametrize("name", sorted(FIELD_BITS))
def test_every_field_is_written_as_os_ken_writes_it(name: str) -> None:
    """Alone, exact and, where it may be, masked; and behind each other field in the order that os-ken wants."""
    full = (1 << FIELD_BITS[name]) - 1
    for mask in {full} if name in EXACT_ONLY else {full, full >> 1 or 1}:
        for other in sorted(FIELD_BITS.keys() - {name}):
            both = (FieldMatch(name, mask, mask), FieldMatch(other, 1, (1 << FIELD_BITS[other]) - 1))
            for wanted in ((both[0],), tuple(sorted(both))):
                change = Remove(Table.FLOW, 1, wanted)
                assert encode.flow_mod(change, 1) == encode.reference_flow_mod(change, 1)


def test_what_is_no_change_is_a_defect() -> None:
    with pytest.raises(PipelineError, match="no message"):
        encode.flow_mod("remove it", 1)  # type: ignore[arg-type]  # what a defect would pass
