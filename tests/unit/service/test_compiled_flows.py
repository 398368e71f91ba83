"""The compiled table of flows does what its twin in Python does, whatever happens to it and in whatever order."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zethane.identity.session import Attachment, Session
from zethane.native import native
from zethane.net.flowkey import FlowKey
from zethane.policy.principal import Principal
from zethane.service.flows import FORWARD, MOST, RETURN, PureFlowTable, PureLiveFlow

flow_table = native("zethane.service.flow_table")
pytestmark = pytest.mark.skipif(flow_table is None, reason="nothing is compiled here")

SESSIONS = (1, 2, 3, 1024, 0xFFFEFF)
ADDRESSES = (bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)), bytes(15) + b"\1", bytes(15) + b"\2")


def session(number: int) -> Session:
    return Session(number, Principal("workload", f"w{number}"), Attachment(number % 3, 1, 0, number), (), "a", 0.0)


@st.composite
def keys(draw: st.DrawFn) -> FlowKey:
    family = draw(st.sampled_from((ADDRESSES[:2], ADDRESSES[2:])))
    src, dst = draw(st.sampled_from(family)), draw(st.sampled_from(family))
    ports = st.sampled_from((0, 1, 443))
    return FlowKey(src, dst, draw(st.sampled_from((6, 17))), draw(ports), draw(ports))


STEPS = st.one_of(
    st.tuples(st.just("add"), keys(), st.sampled_from(SESSIONS), st.sampled_from(SESSIONS), st.sampled_from((0, 30))),
    st.tuples(st.sampled_from(("remove", "close", "closed", "remember", "again")), st.integers(0, 30)),
    st.tuples(st.just("idle"), st.integers(0, 30), st.sampled_from((0, 30, 60))),
    st.tuples(st.just("recall"), keys()),
    st.tuples(st.sampled_from(("wait", "put_to_the_test", "wait_no_more", "answer", "stood")), st.integers(0, 30)),
    st.tuples(st.sampled_from(("due", "tested")), st.integers(0, 3), st.sampled_from((-40, 0, 3, 20, 200, 900))),
    st.tuples(st.just("overdue"), st.integers(0, 60)),
    st.tuples(st.just("close_each"), st.lists(st.integers(0, 30), max_size=20)),
    st.tuples(st.just("at_each"), st.lists(st.integers(0, 30), max_size=5), st.sets(st.integers(0, 3))),
    st.tuples(st.just("wait_for_removal"), st.integers(0, 3), st.sampled_from((-1, 5))),
)


class One:
    """One of the two tables, and every flow that there was."""

    def __init__(self, table: Any, flow: Any) -> None:
        self.table, self._make, self.flows = table(), flow, []

    def name(self, flow: Any) -> Any:
        return None if flow is None else self.flows.index(flow)

    def step(self, step: tuple[Any, ...], now: float) -> Any:
        table = self.table
        if step[0] == "add":
            _, key, subject, obj, idle = step
            if table.find(key) is None:
                parties = session(subject), session(obj)
                self.flows.append(self._make(key, subject, obj, 7, 1, 2, *parties, now, now, idle_timeout=idle))
                table.add(self.flows[-1])
            return None
        if step[0] == "recall":
            found = table.recall(step[1], now)
            return None if found is None else (self.name(found[0]), found[1])
        if step[0] == "overdue":
            return [(self.name(flow), why) for flow, why in table.overdue(step[1])]
        if step[0] == "close_each":
            return self._close_each(step[1], now)
        if step[0] == "at_each":
            found = table.at_each(self._chosen(step[1]), step[2])
            return {dpid: [self.name(flow) for flow in flows] for dpid, flows in found.items()}
        if step[0] == "wait_for_removal":
            return table.wait_for_removal(*step[1:])
        if step[0] in ("due", "tested"):
            return self.name(getattr(table, step[0])(step[1], now + step[2]))
        if not self.flows:
            return None
        flow = self.flows[step[1] % len(self.flows)]
        live = table.by_key.get(flow.key) is flow
        if step[0] == "remove" and live:
            table.remove(flow)
        elif step[0] == "close" and live:
            table.close(flow, "gone", now)
        elif step[0] == "closed":
            table.closed(flow)
        elif step[0] == "remember" and not live:
            table.remember(flow)
        elif step[0] == "again" and not live and table.find(flow.key) is None:
            table.add(flow)
        elif step[0] == "idle" and live:
            table.set_idle_timeout(flow, step[2])
        elif step[0] == "answer" and not live:
            table.expect_answer(flow, now)
        elif step[0] == "stood":
            flow.tests = flow.tests + 1 if flow.tests < 3 else -1
        elif step[0] in ("wait", "put_to_the_test") and live:
            getattr(table, step[0])(flow, now)
        elif step[0] == "wait_no_more" and live:
            table.wait_no_more(flow)
        return None

    def _chosen(self, numbers: list[int]) -> list[Any]:
        return list(dict.fromkeys(self.flows[number % len(self.flows)] for number in numbers if self.flows))

    def _close_each(self, numbers: list[int], now: float) -> Counter[tuple[int, bytes]]:
        """How many flows of each end were closed."""
        live = [flow for flow in self._chosen(numbers) if self.table.by_key.get(flow.key) is flow]
        opened: Counter[tuple[int, bytes]] = Counter()
        for subject, address, count in self.table.close_each(live, "each", now):
            opened[subject, address] += count
        return opened

    def look(self, key: FlowKey) -> Any:
        table = self.table
        found, closing = table.find(key), [table.closing(key, a, b) for a in SESSIONS for b in SESSIONS]
        return (
            len(table),
            [self.name(flow) for flow in table.by_key.values()],
            [self.name(flow) for flow in table.all()],
            list(table.by_key),
            None if found is None else (self.name(found[0]), found[1]),
            [None if one is None else (self.name(one[0]), *one[1:]) for one in closing],
            [[self.name(flow) for flow in table.of_session(number)] for number in SESSIONS],
            [[table.between(a, b) for a in SESSIONS] for b in SESSIONS],
            [(table.at(dpid), table.timed_at(dpid), table.untimed_at(dpid), table.on_trial(dpid)) for dpid in range(4)],
            [table.is_closing(number) for number in SESSIONS],
            table.groups(),
            [[self.name(flow) for flow in table.of_groups({group})] for group in sorted(table.groups())],
        )


@example([(number % 3, number % 5, 1, 6, number, 1.0) for number in range(2000)], 1)  # more than there is room for
@settings(deadline=None)  # a machine may be busy
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.sampled_from((1, 6, 17, 58)),
            st.integers(0, 0xFFFF), st.floats(0, 10) | st.just(float("inf")),
        ),
        max_size=600,
    ),
    st.integers(0, 3),
)  # fmt: skip
def test_groups_of_flows_agree(flows: list[tuple[int, int, int, int, int, float]], rule: int) -> None:
    pure, compiled = PureFlowTable(), flow_table.FlowTable()
    for source, (number, subject_class, object_class, proto, port, ends) in enumerate(flows, 1):
        key = FlowKey(*ADDRESSES[:2], proto, source, port)
        for table, make in ((pure, PureLiveFlow), (compiled, flow_table.LiveFlow)):
            if table.find(key) is None:
                one = make(key, 1, 2, number, subject_class, object_class, session(1), session(2), 0.0, 0.0)
                one.ends = ends
                table.add(one)
    assert compiled.groups() == pure.groups()
    chosen = {one for one in pure.groups() if one[0] == rule}
    assert [one.key for one in compiled.of_groups(chosen)] == [one.key for one in pure.of_groups(chosen)]


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=60), st.lists(keys(), min_size=1, max_size=3))
def test_tables_agree(steps: list[tuple[Any, ...]], asked: list[FlowKey]) -> None:
    pure, compiled = One(PureFlowTable, PureLiveFlow), One(flow_table.FlowTable, flow_table.LiveFlow)
    for now, step in enumerate(steps):
        assert compiled.step(step, now) == pure.step(step, now), step
        for key in asked:
            assert compiled.look(key) == pure.look(key), step


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("count"), st.sampled_from((FORWARD, RETURN)), *[st.integers(0, MOST)] * 2),
            st.tuples(st.just("lease"), st.floats(0, 1e6) | st.just(float("inf")), st.floats(0, 1e6)),
            st.tuples(st.sampled_from(("replace_rules", "told"))),
            st.tuples(st.just("is_replaced"), st.sampled_from((FORWARD, RETURN))),
            st.tuples(st.just("alive"), st.integers(0, 3)),
        ),
        max_size=12,
    )
)
def test_flows_agree(steps: list[tuple[Any, ...]]) -> None:
    key = FlowKey(*ADDRESSES[:2], 6, 1, 443)
    pair = [made(key, 1, 2, 7, 3, 4, session(1), session(2), 1.5, 2.5) for made in (PureLiveFlow, flow_table.LiveFlow)]
    for name, *arguments in steps:
        results = []
        for flow in pair:
            if name == "told":
                flow.told = flow.counts
            elif name == "alive":
                flow.alive = arguments[0]
            else:
                results.append(getattr(flow, name)(*arguments))
        assert len(set(results)) <= 1
        assert view(pair[0]) == view(pair[1])
        assert view(pair[0].afresh()) == view(pair[1].afresh())


def view(flow: Any) -> dict[str, Any]:
    names = (
        "key", "subject", "object", "rule", "subject_class", "object_class", "opened_by", "opened_to", "started",
        "installed", "alive", "packets", "octets", "return_packets", "return_octets", "told", "ends", "idle_timeout",
        "tests", "replaced", "counts", "untold", "switches", "group",
    )  # fmt: skip
    return {name: getattr(flow, name) for name in names}


def test_many_flows_wait_for_their_counters() -> None:
    """More than there is room for at first, of many sessions; the second half is reported on, in any order."""
    table = flow_table.FlowTable()
    ends = {number: session(number) for number in range(1, 3001)}
    flows = [
        flow_table.LiveFlow(
            FlowKey(ADDRESSES[0], ADDRESSES[1], 6, port, 443), 1 + port % 1500, 1501 + port % 1500, 7, 1, 2,
            ends[1 + port % 1500], ends[1501 + port % 1500], 0, 0,
        )
        for port in range(20_000)
    ]  # fmt: skip
    for flow in flows:
        table.add(flow)
    opened = table.close_each(flows, "ended", 5.0)
    assert sorted(opened) == [(number, ADDRESSES[0], 14 - (number > 500)) for number in range(1, 1501)]
    assert len(table) == 0
    assert table.of_session(1) == []
    for flow in sorted(flows[10_000:], key=lambda flow: flow.key.sport * 7919 % 20_000):
        assert table.closing(flow.key.reverse(), flow.subject, flow.object) == (flow, RETURN, "ended")
        table.closed(flow)
        assert table.closing(flow.key, flow.subject, flow.object) is None
    assert all(table.is_closing(number) for number in ends)
    assert list(table.overdue(5.0)) == []
    assert list(table.overdue(5.1)) == [(flow, "ended") for flow in flows[:10_000]]
    assert not any(table.is_closing(number) for number in ends)


def test_what_waits_goes_with_its_table() -> None:
    flow = flow_table.LiveFlow(FlowKey(*ADDRESSES[:2], 6, 1, 443), 1, 2, 7, 1, 2, session(1), session(2), 0, 0)
    before = sys.getrefcount(flow)
    table = flow_table.FlowTable()
    table.add(flow)
    table.close(flow, "ended", 1.0)
    assert sys.getrefcount(flow) == before + 1
    del table
    assert sys.getrefcount(flow) == before


def test_many_flows_are_found_and_go_again() -> None:
    table = flow_table.FlowTable()
    ends = session(1), session(2)
    flows = [
        flow_table.LiveFlow(FlowKey(bytes((10, 0, 0, a)), bytes((10, 0, 1, b)), 6, c, 443), 1, 2, 7, 1, 2, *ends, 0, 0)
        for a in range(20)
        for b in range(50)
        for c in range(20)
    ]
    for flow in flows:
        table.add(flow)
    assert len(table) == len(flows) == 20_000
    assert all(table.find(flow.key) == (flow, FORWARD) for flow in flows)
    assert all(table.find(flow.key.reverse()) == (flow, RETURN) for flow in flows)
    for flow in flows[::2]:
        table.remove(flow)
    assert all(table.find(flow.key) is None for flow in flows[::2])
    assert table.of_session(2) == flows[1::2] == list(table.by_key.values())
    with pytest.raises(ValueError, match="entered already"):
        table.add(flows[1])
