"""What a benchmark measures, and the numbers of its turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

from perf.switch import Side

Turn = Mapping[str, float]
"""The numbers of one turn of one side, by the measure's key."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure: the key that turns have it under, what it is, and its unit."""

    key: str
    text: str
    unit: str


class Benchmark(Protocol):
    """Something that can be measured turn by turn, a side at a time."""

    name: str
    title: str
    sides: tuple[Side, ...]
    compared: tuple[Side, Side]
    measures: tuple[Measure, ...]
    parameters: Mapping[str, Any]

    def turn(self, side: Side, number: int) -> Turn:
        """Measure one side once. Raises LabError."""


@dataclass(frozen=True, slots=True)
class Result:
    """All turns of a benchmark: per side one of each round, in the order of the rounds."""

    benchmark: Benchmark
    turns: dict[Side, list[Turn]] = field(default_factory=dict)

    def series(self, side: Side, measure: Measure) -> list[float]:
        """The measure's values of one side, by round."""
        return [turn[measure.key] for turn in self.turns.get(side, [])]

    def ratios(self, measure: Measure) -> list[float]:
        """The first side's value over the second's of the two that are compared, round by round."""
        first, second = self.benchmark.compared
        pairs = zip(self.series(first, measure), self.series(second, measure), strict=True)
        return [one / other for one, other in pairs]

    def as_json(self) -> dict[str, Any]:
        """Everything that was measured, with the medians."""
        return {
            "parameters": dict(self.benchmark.parameters),
            "rounds": {side: [dict(turn) for turn in turns] for side, turns in self.turns.items()},
            "median": {
                side: {measure.key: median(self.series(side, measure)) for measure in self.benchmark.measures}
                for side in self.turns
            },
            "ratio": {measure.key: median(self.ratios(measure)) for measure in self.benchmark.measures},
        }


def run_rounds(benchmark: Benchmark, rounds: int, progress: Any) -> Result:
    """Let the sides take turns, in the opposite order in every other round. Raises LabError."""
    result = Result(benchmark, {side: [] for side in benchmark.sides})
    for number in range(rounds):
        order = benchmark.sides if number % 2 == 0 else benchmark.sides[::-1]
        for side in order:
            result.turns[side].append(benchmark.turn(side, number))
            progress(f"{benchmark.name}: round {number + 1} of {rounds}, {side}")
    return result
