"""Time windows held against one another: which are the same, however written, and when some are open and others not.

They are functions of one thing, the moment, so that a walk over what is to come answers it: two years, in which every
weekday meets every change of the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from zethane.errors import CapacityError
from zethane.policy.cube import Work
from zethane.policy.hours import Hours, Window

DAY = 86400.0
WEEK = 7 * DAY
HORIZON = 2 * 366 * DAY
"""Seconds from now on that are looked at."""

MAX_WINDOWS = 1024
"""Different windows that are looked at: each takes milliseconds."""

SPANS_A_STEP = 16
"""Spans that count as one step of work."""

Spans = tuple[tuple[float, float], ...]
"""Times in order that neither touch nor overlap: seconds since the epoch, the end excluded."""


class Calendar:
    """The time from a moment on, in seconds since the epoch: two years if nothing else is said."""

    def __init__(self, now: float, length: float = HORIZON) -> None:
        self.now = now
        self._end = now + length
        self._windows: dict[Window, Spans] = {}
        self._spans: dict[Hours, Spans] = {}
        self._first: dict[Spans, Hours] = {}
        self._moments: dict[tuple[frozenset[Hours], frozenset[Hours]], float | None] = {}

    def same(self, hours: Hours) -> Hours:
        """The first hours asked for that are open at the very same times."""
        return self._first.setdefault(self.spans(hours), hours)

    def is_always(self, hours: Hours) -> bool:
        """Whether they are open all the time."""
        return self.spans(hours) == ((self.now, self._end),)

    def spans(self, hours: Hours) -> Spans:
        """When they are open. Raises CapacityError if there are more than MAX_WINDOWS different windows."""
        if hours not in self._spans:
            self._spans[hours] = _merged(chain.from_iterable(map(self._of_window, hours.windows)))
        return self._spans[hours]

    def _of_window(self, window: Window) -> Spans:
        if window not in self._windows:
            if len(self._windows) >= MAX_WINDOWS:
                raise CapacityError(f"there are more than {MAX_WINDOWS} different windows; expected fewer")
            found: set[tuple[float, float]] = set()
            moment = self.now
            while moment < self._end + WEEK:
                found.update(window.spans(moment))
                moment += WEEK
            self._windows[window] = _merged(
                (max(begins, self.now), min(ends, self._end))
                for begins, ends in found
                if begins < self._end and ends > self.now
            )
        return self._windows[window]

    def moment(self, held: Iterable[Hours], lacking: Iterable[Hours], work: Work) -> float | None:
        """The first moment at which all of `held` are open and none of `lacking` is; None if there is none."""
        key = frozenset(held), frozenset(lacking)
        if key not in self._moments:
            spans: Spans = ((self.now, self._end),)
            for hours in key[0]:
                work.spend(len(spans) // SPANS_A_STEP)
                spans = _common(spans, self.spans(hours))
            for hours in key[1]:
                work.spend(len(spans) // SPANS_A_STEP)
                spans = _common(spans, _gaps(self.spans(hours), self.now, self._end))
            self._moments[key] = spans[0][0] if spans else None
        return self._moments[key]


def _merged(spans: Iterable[tuple[float, float]]) -> Spans:
    merged: list[tuple[float, float]] = []
    for begins, ends in sorted(spans):
        if begins >= ends:
            continue
        if merged and begins <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(ends, merged[-1][1])
        else:
            merged.append((begins, ends))
    return tuple(merged)


def _gaps(spans: Spans, begin: float, end: float) -> Spans:
    ends = [begin, *(span[1] for span in spans)]
    begins = [*(span[0] for span in spans), end]
    return tuple((one, other) for one, other in zip(ends, begins, strict=True) if one < other)


def _common(one: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]]) -> Spans:
    found = []
    first = second = 0
    while first < len(one) and second < len(other):
        begins = max(one[first][0], other[second][0])
        ends = min(one[first][1], other[second][1])
        if begins < ends:
            found.append((begins, ends))
        if one[first][1] < other[second][1]:
            first += 1
        else:
            second += 1
    return tuple(found)
