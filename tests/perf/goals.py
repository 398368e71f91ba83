"""Goals: a sentence, a figure of the medians, and the limit that it is held against."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perf.results import Result

TIMES = "\N{MULTIPLICATION SIGN}"
"""The unit of a ratio."""

Figure = Callable[["Result"], float]
"""Something that is read off the medians of a result."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What was wanted of a figure."""

    text: str
    figure: Figure
    limit: float
    is_least: bool
    """Whether the figure must be at least the limit; at most, if not."""
    unit: str = ""

    def is_met(self, figure: float) -> bool:
        """Whether a figure is good enough. One that is not a number never is."""
        return figure >= self.limit if self.is_least else figure <= self.limit

    @property
    def wanted(self) -> str:
        """The limit in words, such as `≥ 3 MiB`."""
        unit = f" {self.unit}" if self.unit else ""
        return f"{'≥' if self.is_least else '≤'} {self.limit:,g}{unit}"


def at_least(text: str, figure: Figure, limit: float, unit: str = "") -> Goal:
    """The figure must be at least this."""
    return Goal(text, figure, limit, True, unit)


def at_most(text: str, figure: Figure, limit: float, unit: str = "") -> Goal:
    """The figure must be at most this."""
    return Goal(text, figure, limit, False, unit)


def within(text: str, figure: Figure, percent: float) -> Goal:
    """Some medians must be within so many percent of each other; `apart` is the figure for that."""
    return Goal(text, figure, percent, False, "%")


def median_of(measure: str, side: str, point: int = 0) -> Figure:
    """The median of all rounds."""
    return lambda result: median(result.series(side, measure, point))


def worst_of(measure: str, side: str, point: int = 0) -> Figure:
    """The highest of all rounds."""
    return lambda result: max(result.series(side, measure, point))


def ratio(measure: str, first: str, second: str, point: int = 0) -> Figure:
    """The median of the rounds' ratios of one side to another."""
    return lambda result: median(result.ratios(first, second, measure, point))


def growth(measure: str, side: str, low: int, high: int) -> Figure:
    """How many times the median at one point of the axis is that at another."""
    return lambda result: median(result.series(side, measure, high)) / median(result.series(side, measure, low))


def apart(measure: str, sides: Collection[str] | None = None) -> Figure:
    """By how many percent of the highest the lowest is below it, of the medians at all points of some or all sides."""

    def figure(result: Result) -> float:
        medians = [median(values) for side, _, values in result.every(measure) if sides is None or side in sides]
        return 100 * (1 - min(medians) / max(medians))

    return figure
