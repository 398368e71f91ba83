"""Hypothesis strategies for flow entries and per-flow rules."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from zethane.net.flowkey import ICMP, ICMPV6, SCTP, TCP, UDP, FlowKey
from zethane.pipeline.flow import (
    Action,
    Commit,
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
    match,
)
from zethane.pipeline.tables import FIELD_BITS, TABLES, Table
from zethane.pipeline.verified import Verified

PORTS = st.integers(0, 0xFFFF)
CLASSES = st.integers(0, 0xFFFF)
SESSIONS = st.integers(0, 2**24 - 1)
REGISTERS = st.sampled_from(("reg0", "reg1", "reg2", "reg3", "reg4"))


@st.composite
def keys(draw: st.DrawFn) -> FlowKey:
    """A flow key of any protocol that is verified, in either family."""
    length = draw(st.sampled_from((4, 16)))
    src, dst = (draw(st.binary(min_size=length, max_size=length)) for _ in range(2))
    proto = draw(st.sampled_from((TCP, UDP, SCTP, ICMP if length == 4 else ICMPV6, 47, 50, 253)))
    if proto in (ICMP, ICMPV6):
        sport, dport = draw(st.sampled_from(((8, 0), (0, 8))))
    elif proto in (TCP, UDP, SCTP):
        sport, dport = draw(PORTS), draw(PORTS)
    else:
        sport = dport = 0
    return FlowKey(src, dst, proto, sport, dport)


def directions() -> st.SearchStrategy[Verified]:
    """One direction of a flow that was allowed."""
    cookies = st.integers(0, 2**64 - 1)
    return st.builds(Verified, keys(), SESSIONS, SESSIONS, CLASSES, CLASSES, cookies)


@st.composite
def matches(draw: st.DrawFn, table: Table) -> Match:
    """Any fields that the table may match, exact or masked; they need not make sense together."""
    known = sorted(TABLES[table].matches)
    names = draw(st.lists(st.sampled_from(known), unique=True, max_size=6)) if known else []
    fields: dict[str, Any] = {}
    for name in names:
        full = (1 << FIELD_BITS[name]) - 1
        value = draw(st.integers(0, full))
        fields[name] = value if draw(st.booleans()) else (value, draw(st.integers(1, full)))
    return match(**fields)


def _actions(table: Table) -> st.SearchStrategy[Action]:
    fields = {
        **{f"reg{number}": 32 for number in range(6)},
        "eth_dst": 48,
        "vlan_vid": 13,
        "metadata": 64,
    }
    inside: list[st.SearchStrategy[Action]] = [
        st.builds(ToController, PORTS),
        st.sampled_from(sorted(fields)).flatmap(
            lambda name: st.builds(SetField, st.just(name), st.integers(0, (1 << fields[name]) - 1))
        ),
        st.just(PushVlan()),
        st.just(PopVlan()),
        st.just(ForgetPort()),
        st.builds(FinTimeout, PORTS, PORTS),
    ]
    if TABLES[table].may_output:
        inside += [st.builds(Output, st.integers(1, 0xFFFFFF00)), st.builds(OutputRegister, REGISTERS)]
    tracked_to = TABLES[table].tracked_to
    if tracked_to is not None:
        inside.append(st.builds(Track, PORTS, st.just(tracked_to)))
        inside.append(st.builds(Commit, PORTS, st.just(tracked_to), st.integers(0, 2**32 - 1)))
    inside += [st.just(Resubmit(after)) for after in sorted(TABLES[table].metered_by)]
    return st.one_of(inside)


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """Any entry that its table's declaration allows."""
    table = draw(st.sampled_from(Table))
    words = st.integers(0, 2**64 - 1)
    return Flow(
        table,
        draw(PORTS),
        draw(matches(table)),
        draw(words),
        tuple(draw(st.lists(_actions(table), max_size=4 if TABLES[table].may_act else 0))),
        draw(st.none() | st.tuples(words, words)),
        draw(st.none() | st.sampled_from(sorted(TABLES[table].next)) if TABLES[table].next else st.none()),
        draw(st.none() | st.integers(1, 0xFFFF)),
        draw(PORTS),
        draw(PORTS),
        draw(st.booleans()),
    )
