"""Time windows held against one another: which are the same, however written, and when some are open and others not.

They are functions of one thing, the moment, so that a walk over what is to come answers it: two years, in which every
weekday meets every change of the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zethane.policy.hours import Hours

DAY = 86400.0
HORIZON = 2 * 366 * DAY
"""Seconds from now on that are looked at."""

Spans = tuple[tuple[float, float], ...]
"""Times in order that neither touch nor overlap: seconds since the epoch, the end excluded."""


class Calendar:
    """The time from a moment on, in seconds since the epoch: two years if nothing else is said."""

    def __init__(self, now: float, length: float = HORIZON) -> None:
        self.now = now
        self._end = now + length
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
        """When they are open."""
        if hours not in self._spans:
            found: set[tuple[float, float]] = set()
            moment = self.now
            while moment < self._end + 7 * DAY:
                for window in hours.windows:
                    found.update(window.spans(moment))
                moment += 7 * DAY
            self._spans[hours] = _merged(
                (max(begins, self.now), min(ends, self._end))
                for begins, ends in found
                if begins < self._end and ends > self.now
            )
        return self._spans[hours]

    def moment(self, held: Iterable[Hours], lacking: Iterable[Hours]) -> float | None:
        """The first moment at which all of `held` are open and none of `lacking` is; None if there is none."""
        key = frozenset(held), frozenset(lacking)
        if key not in self._moments:
            spans: Spans = ((self.now, self._end),)
            for hours in key[0]:
                spans = _common(spans, self.spans(hours))
            for hours in key[1]:
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
