"""When each of many has to be looked at next: the soonest first, whatever else is planned."""

from __future__ import annotations

import heapq
import math

SPARE = 1024
"""Moments that are not in force any more and are kept, besides as many as there are in force."""


class Moments:
    """One moment for each number, in seconds of any clock."""

    def __init__(self) -> None:
        self._of: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._of)

    def plan(self, number: int, when: float) -> None:
        """Look at it then; no later than it was planned already, and never for an infinite moment."""
        if when < self._of.get(number, math.inf):
            self._of[number] = when
            heapq.heappush(self._heap, (when, number))
            if len(self._heap) > 2 * len(self._of) + SPARE:  # hours may pass until it is the others' turn
                self._heap = [(moment, one) for one, moment in self._of.items()]
                heapq.heapify(self._heap)

    def take(self, now: float) -> int | None:
        """One whose moment has come, and which has none any more; None if there is none."""
        while self._heap and self._heap[0][0] <= now:
            when, number = heapq.heappop(self._heap)
            if self._of.get(number) == when:
                del self._of[number]
                return number
        return None

    def forget(self, number: int) -> None:
        """Do not look at it."""
        self._of.pop(number, None)
