"""What the interpreter does besides: collecting garbage, and handing its lock from thread to thread, in short pieces.

A collection of everything takes 160 ms with 10,000 sessions and 100,000 flows, and comes when it likes. So what has
outlived the youngest generation is looked at once, between two pieces of the event loop's work and some thousand
objects at a time, and then left alone (`gc.freeze`): objects that nothing refers to any more go at once anyway, and
only cycles of old objects stay. Those are looked for in everything when far more is alive than at the last time, in a
moment without traffic if there is one. Where a great many objects come at once, as with a large policy, they are left
alone without that look: the thread that makes them would hold the interpreter's lock for it.
"""

from __future__ import annotations

import asyncio
import gc
import math
import sys
import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from zethane.service.metrics import Metric, gauge, total

SWITCH_INTERVAL = 0.00005
"""Seconds after which the event loop asks a thread that is in the middle of Python code for the interpreter's lock;
others, which `give_way`, ask a millisecond later."""

YOUNG = 500
"""Objects that are new when they are looked at, wherever they are made: 50 µs."""

MANY = 6
"""How often that many may have come for a look at those of them that have stayed: some three thousand objects, 0.3 ms
where they are in the caches, and ten times as long where they are not."""

NEVER = 1_000_000_000
"""What the interpreter's own collections of anything older are to wait for."""

INTERVAL = 0.25
"""Seconds between looks at whether something is to be collected."""

GROWTH, MARGIN = 2, 50_000
"""Everything is looked at when this many times as much is alive as after the last time, and so many objects more."""

PATIENCE = 3600.0
"""Seconds to wait for a moment without traffic."""

QUIET = 2.0
"""Seconds without a packet from any switch after which nobody is expected to notice a pause."""

SAMPLE = 0.02
"""Seconds between two measurements of the loop's lag."""

WINDOW = 60
"""Seconds that the figures about lag and pauses are of: the last so many."""


MEASURED = int(WINDOW / SAMPLE)
"""Measurements that there are of it."""


class Collector:
    """Collects garbage in pieces that are short. One for the process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.paused = 0.0
        self.collections = 0
        self.full = 0
        self.longest = Longest(clock)
        self._clock = clock
        self._begun = 0.0
        self._alive = 0
        self._grown = 0
        self._due_since: float | None = None
        self._before = gc.get_threshold()

    def start(self) -> None:
        """What is there now stays; from here on everything is collected in pieces.

        What of it is garbage is not looked for: that would be a tenth of the time that a large site takes to start.
        """
        gc.callbacks.append(self._notice)
        gc.set_threshold(YOUNG, NEVER, NEVER)
        gc.freeze()
        self._alive = gc.get_freeze_count()
        gc.enable()

    def stop(self) -> None:
        """Leave the interpreter as it is by itself."""
        gc.callbacks.remove(self._notice)
        gc.set_threshold(*self._before)
        gc.unfreeze()

    def tick(self, quiet: bool) -> None:
        """Look at what has outlived the young generations; `quiet` is whether nobody would notice a long pause."""
        outlived = gc.get_count()[1]
        if outlived > MANY:
            # At the most: a look is due when one object more than so many is there.
            self._grown += (outlived + 1) * (YOUNG + 1)
            gc.freeze()
        elif outlived > 0:
            gc.collect()
            # How many are frozen is not asked here: the interpreter walks through all of them to find out, which takes
            # 45 ms with 300,000. This is a bound: what has gone since is still in it.
            self._grown += len(gc.get_objects())
            gc.freeze()
        if self._grown <= self._allowance:
            self._due_since = None
            return
        now = self._clock()
        if self._due_since is None:
            self._due_since = now
        if quiet or now - self._due_since >= PATIENCE:
            self._grown = gc.get_freeze_count() - self._alive
            if self._grown > self._allowance:
                self._look_at_everything()

    @property
    def _allowance(self) -> int:
        """How many more objects may be alive than after the last look at everything before there is another."""
        return (GROWTH - 1) * self._alive + MARGIN

    def _look_at_everything(self) -> None:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._alive = gc.get_freeze_count()
        self._grown = 0
        self._due_since = None
        self.full += 1

    def _notice(self, phase: str, _: dict[str, Any]) -> None:
        if phase == "start":
            self._begun = time.perf_counter()
        else:
            pause = time.perf_counter() - self._begun
            self.collections += 1
            self.paused += pause
            self.longest.add(pause)


class Longest:
    """The longest time of a minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_second = [(-math.inf, 0.0)] * WINDOW

    def add(self, seconds: float) -> None:
        """One more."""
        second = math.floor(self._clock())
        place = second % WINDOW
        of, longest = self._by_second[place]
        if of != second or seconds > longest:
            self._by_second[place] = second, seconds

    @property
    def value(self) -> float:
        """The longest of the last minute, in seconds; 0 where there was none."""
        oldest = math.floor(self._clock()) - WINDOW
        return max((longest for second, longest in self._by_second if second > oldest), default=0.0)


class Lag:
    """How late the event loop comes to what is due: what anything on it makes everything else wait."""

    def __init__(self) -> None:
        self._newest: deque[float] = deque()
        self._ordered: list[float] = []

    async def keep(self) -> None:
        """Measure until cancelled. A timer is a millisecond late or early by itself."""
        while True:
            due = time.perf_counter() + SAMPLE
            await asyncio.sleep(SAMPLE)
            self.add(max(0.0, time.perf_counter() - due))

    def add(self, seconds: float) -> None:
        """One measurement."""
        if len(self._newest) == MEASURED:
            del self._ordered[bisect_left(self._ordered, self._newest.popleft())]
        self._newest.append(seconds)
        insort(self._ordered, seconds)

    def measured(self) -> tuple[float, float]:
        """The 99th percentile and the longest of the last minute; zeros where nothing was measured."""
        ordered = self._ordered  # at all times: to sort thousands takes as long as what is measured
        return (ordered[-(len(ordered) // 100) - 1], ordered[-1]) if ordered else (0.0, 0.0)


class Runtime:
    """Keeps both, for as long as the process lives."""

    def __init__(self, packets: Callable[[], int]) -> None:
        """`packets` says how many packets have come from switches, ever."""
        self.collector = Collector()
        self.lag = Lag()
        self._packets = packets

    def start(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """Begin, when everything else is there."""
        sys.setswitchinterval(SWITCH_INTERVAL)
        self.collector.start()
        spawn(self._collect())
        spawn(self.lag.keep())

    def stop(self) -> None:
        """Leave the interpreter as it was."""
        self.collector.stop()

    async def _collect(self) -> None:
        seen, since = self._packets(), time.monotonic()
        while True:
            await asyncio.sleep(INTERVAL)
            packets, now = self._packets(), time.monotonic()
            if packets != seen:
                seen, since = packets, now
            self.collector.tick(quiet=now - since >= QUIET)

    def metrics(self) -> Iterator[Metric]:
        """What it measures of itself."""
        late, latest = self.lag.measured()
        collector = self.collector
        yield gauge("loop_lag_seconds_p99", "How late the event loop was in the last minute, 99th percentile.", late)
        yield gauge("loop_lag_seconds_max", "How late the event loop was in the last minute, at the most.", latest)
        yield gauge(
            "gc_pause_seconds_max", "The longest garbage collection of the last minute.", collector.longest.value
        )
        yield total("gc_pause_seconds", "Seconds spent on collecting garbage.", collector.paused)
        yield total("gc_collections", "Garbage collections.", collector.collections)
        yield total("gc_full_collections", "Garbage collections that looked at everything.", collector.full)
