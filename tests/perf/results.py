"""The figures of a benchmark's turns, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from statistics import StatisticsError, median
from typing import Any

from perf.benchmark import Benchmark, Turn
from perf.goals import Goal


@dataclass(frozen=True, slots=True)
class Outcome:
    """A goal and what came of it."""

    goal: Goal
    figure: float

    @property
    def is_met(self) -> bool:
        """Whether the figure is good enough."""
        return self.goal.is_met(self.figure)

    @property
    def is_measured(self) -> bool:
        """Whether there is a figure at all: a quick run leaves points out, and a benchmark may fail halfway."""
        return not math.isnan(self.figure)


@dataclass(frozen=True, slots=True)
class Result:
    """All turns of a benchmark: per side and point of the axis one of each round, in the order of the rounds."""

    benchmark: Benchmark
    turns: dict[tuple[str, int], list[Turn]] = field(default_factory=dict)

    def add(self, side: str, point: int, turn: Turn) -> None:
        """Take in one turn."""
        self.turns.setdefault((side, point), []).append(turn)

    @property
    def points(self) -> tuple[int, ...]:
        """The points of the axis; 0 alone without one."""
        axis = self.benchmark.axis
        return axis.points if axis else (0,)

    def series(self, side: str, measure: str, point: int = 0) -> list[float]:
        """The measure's values of one side at a point, by round; a side that does not have the measure has none."""
        return [turn[measure] for turn in self.turns.get((side, point), []) if measure in turn]

    def ratios(self, first: str, second: str, measure: str, point: int = 0) -> list[float]:
        """The first side's value over the second's, round by round."""
        pairs = zip(self.series(first, measure, point), self.series(second, measure, point), strict=False)
        return [one / other if other else float("nan") for one, other in pairs]

    def every(self, measure: str) -> Iterator[tuple[str, int, list[float]]]:
        """Side, point and values of a measure, wherever there are some."""
        for point in self.points:
            for side in self.benchmark.sides:
                if values := self.series(side, measure, point):
                    yield side, point, values

    def outcomes(self) -> list[Outcome]:
        """What came of the goals."""
        return [Outcome(goal, self._figure(goal)) for goal in self.benchmark.goals]

    def _figure(self, goal: Goal) -> float:
        try:
            return goal.figure(self)
        except (StatisticsError, ValueError):  # of no values
            return math.nan

    def as_json(self) -> dict[str, Any]:
        """Everything that was measured, the medians and the spread, the goals and whether they were met."""
        benchmark = self.benchmark
        return {
            "title": benchmark.title,
            "sides": dict(benchmark.sides),
            "measures": [asdict(measure) for measure in benchmark.measures],
            "parameters": dict(benchmark.parameters),
            "axis": asdict(benchmark.axis) if benchmark.axis else None,
            "rounds": [
                {"side": side, **({"at": point} if benchmark.axis else {}), "round": number, **turn}
                for (side, point), turns in self.turns.items()
                for number, turn in enumerate(turns, 1)
            ],
            "figures": [
                {
                    "measure": measure.key,
                    "side": side,
                    **({"at": point} if benchmark.axis else {}),
                    "median": median(values),
                    "lowest": min(values),
                    "highest": max(values),
                }
                for measure in benchmark.measures
                for side, point, values in self.every(measure.key)
            ],
            "ratios": [
                {
                    "measure": measure.key,
                    "of": [first, second],
                    **({"at": point} if benchmark.axis else {}),
                    "median": median(ratios),
                    "rounds": ratios,
                }
                for measure in benchmark.measures
                for point in self.points
                for first, second in benchmark.pairs
                if (ratios := self.ratios(first, second, measure.key, point))
            ],
            "goals": [
                {
                    "text": one.goal.text,
                    "wanted": one.goal.wanted,
                    "measured": one.figure if one.is_measured else None,
                    "is_met": one.is_met,
                }
                for one in self.outcomes()
            ],
        }
