"""Garbage is collected in short pieces, none is kept for ever, and what the loop is late by is told."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from zethane.app.runtime import MANY, MARGIN, MEASURED, PATIENCE, WINDOW, YOUNG, Collector, Lag, Longest, Runtime


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Node:
    """Something in a cycle: only a collection ends it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def collector(clock: Clock) -> Iterator[Collector]:
    interval = sys.getswitchinterval()
    collector = Collector(clock)
    collector.start()
    yield collector
    collector.stop()
    sys.setswitchinterval(interval)


def grow_old() -> None:
    """Let what is there outlive the youngest generation, as it does after some hundred more objects."""
    gc.collect(0)


@pytest.mark.usefixtures("collector")
def test_what_is_there_at_the_start_is_not_looked_at_again() -> None:
    assert gc.get_freeze_count() > 0
    assert gc.isenabled()
    assert min(gc.get_threshold()[1:]) > 10**6  # none of more than what is new in the middle of load, in any thread


def test_a_piece_is_as_long_as_what_is_new_and_leaves_the_rest_alone(collector: Collector) -> None:
    before = gc.get_freeze_count()
    kept = [Node() for _ in range(100)]
    grow_old()
    collector.tick(quiet=False)
    assert collector.full == 0
    assert gc.get_freeze_count() >= before + len(kept)
    assert len(gc.get_objects(generation=2)) < 100


def test_what_comes_in_great_numbers_is_left_alone_without_a_look_and_counted(collector: Collector) -> None:
    before = gc.get_freeze_count()
    node = Node()
    kept = [Node() for _ in range((MANY + 2) * (YOUNG + 1))]
    collections = collector.collections
    collector.tick(quiet=False)
    assert collector.collections == collections
    assert gc.get_freeze_count() >= before + len(kept)
    gone = weakref.ref(node)
    del node
    kept += [Node() for _ in range(gc.get_freeze_count() + MARGIN + 1000)]
    collector.tick(quiet=True)
    assert (collector.full, gone() is None) == (1, True)


def test_a_cycle_that_dies_before_it_is_old_is_collected(collector: Collector) -> None:
    node = Node()
    gone = weakref.ref(node)
    grow_old()
    del node
    collector.tick(quiet=False)
    assert gone() is None


def test_old_cycles_are_looked_for_when_far_more_is_alive_and_nobody_notices(
    collector: Collector, clock: Clock
) -> None:
    node = Node()
    gone = weakref.ref(node)
    grow_old()
    collector.tick(quiet=True)
    del node
    assert gone() is not None
    collector.tick(quiet=True)
    assert collector.full == 0  # no more is alive than before

    kept = [Node() for _ in range(gc.get_freeze_count() + MARGIN + 1000)]
    grow_old()
    collector.tick(quiet=False)
    assert (collector.full, gone() is None) == (0, False)
    clock.now += PATIENCE / 2
    collector.tick(quiet=True)
    assert (collector.full, gone() is None) == (1, True)
    assert kept


def test_after_an_hour_of_traffic_everything_is_looked_at_nevertheless(collector: Collector, clock: Clock) -> None:
    kept = [Node() for _ in range(gc.get_freeze_count() + MARGIN + 1000)]
    grow_old()
    collector.tick(quiet=False)
    clock.now += PATIENCE - 1
    collector.tick(quiet=False)
    assert collector.full == 0
    clock.now += 1
    collector.tick(quiet=False)
    assert collector.full == 1
    assert kept


def test_pauses_are_counted(collector: Collector) -> None:
    before = collector.collections
    gc.collect(0)
    assert collector.collections == before + 1
    assert 0 < collector.longest.value <= collector.paused


def test_at_its_end_the_interpreter_is_as_it_was(clock: Clock) -> None:
    thresholds, callbacks = gc.get_threshold(), list(gc.callbacks)
    collector = Collector(clock)
    collector.start()
    collector.stop()
    assert (gc.get_threshold(), gc.callbacks, gc.get_freeze_count()) == (thresholds, callbacks, 0)


def test_the_longest_of_a_minute_is_forgotten_after_it(clock: Clock) -> None:
    longest = Longest(clock)
    assert longest.value == 0.0
    longest.add(3.0)
    longest.add(1.0)
    clock.now += WINDOW - 1
    longest.add(2.0)
    assert longest.value == 3.0
    clock.now += 1
    assert longest.value == 2.0
    clock.now += WINDOW
    assert longest.value == 0.0


def test_lag_is_told_as_99th_percentile_and_largest() -> None:
    lag = Lag()
    assert lag.measured() == (0.0, 0.0)
    for number in range(200):
        lag.add(number / 1000)
    assert lag.measured() == (0.197, 0.199)


def test_lag_is_that_of_the_last_minute() -> None:
    lag = Lag()
    for number in range(MEASURED):
        lag.add(float(number % 7))
    for _ in range(MEASURED - 1):
        lag.add(0.25)
    lag.add(0.5)
    assert lag.measured() == (0.25, 0.5)


async def test_what_holds_the_loop_is_seen_as_lag() -> None:
    lag = Lag()
    task = asyncio.get_running_loop().create_task(lag.keep())
    while lag.measured()[1] == 0.0:
        await asyncio.sleep(0)
        _ = sum(range(2_000_000))  # nothing else can go on meanwhile
    task.cancel()


def test_every_figure_is_a_metric() -> None:
    names = [metric.name for metric in Runtime(lambda: 0).metrics()]
    assert names == [
        "loop_lag_seconds_p99",
        "loop_lag_seconds_max",
        "gc_pause_seconds_max",
        "gc_pause_seconds",
        "gc_collections",
        "gc_full_collections",
    ]
