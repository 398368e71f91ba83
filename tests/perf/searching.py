"""The highest rate that holds, with few tries: each of them takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Search:
    """Between two rates per second; `holds` tries one.

    It goes up or down until it has a rate that holds and one that does not, and then halves the gap. From a guess these
    are twice as much from each other, and the gap is halved three times; from what is known, half as much more, and
    twice. Either way one that does not hold is at most an eighth above what is found.
    """

    lowest: int
    highest: int
    holds: Callable[[int], bool]

    def found(self, guess: int, known: int = 0) -> int:
        """The highest rate that holds of those that are tried; 0 if none does. `known` is what was found before."""
        holds, fails = self._bracket(known or guess, 1.5 if known else 2.0)
        for _ in range(2 if known else 3):
            if holds in (0, self.highest):
                break
            rate = (holds + fails) // 2
            if self.holds(rate):
                holds = rate
            else:
                fails = rate
        return holds

    def _bracket(self, start: int, factor: float) -> tuple[int, int]:
        """A rate that holds, 0 for none, and one above it that does not; nothing is above the highest."""
        rate = min(max(start, self.lowest), self.highest)
        if self.holds(rate):
            while rate < self.highest:
                higher = min(round(rate * factor), self.highest)
                if not self.holds(higher):
                    return rate, higher
                rate = higher
            return rate, rate
        while rate > self.lowest:
            lower = max(round(rate / factor), self.lowest)
            if self.holds(lower):
                return lower, rate
            rate = lower
        return 0, rate
