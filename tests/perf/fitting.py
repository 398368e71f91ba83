"""Least squares: what is added for each of something, and how far the points are from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[tuple[float, ...], float]
"""What there was of each thing, and what came of it."""

_LEAST_PIVOT = 1e-9


@dataclass(frozen=True, slots=True)
class Fit:
    """A figure as a constant and a slope for each of the things that it depends on."""

    constant: float
    slopes: tuple[float, ...]
    residual: float
    """Of all points the greatest distance from the fit, over the greatest figure."""
    points: int
    largest: tuple[float, ...]
    """The most of each thing that was measured; beyond it, the fit is continued."""

    def at(self, *things: float) -> float:
        """The figure for so much of each thing."""
        return self.constant + sum(slope * thing for slope, thing in zip(self.slopes, things, strict=True))

    def is_beyond(self, *things: float) -> bool:
        """Whether that is more of something than was measured."""
        return any(thing > most for thing, most in zip(things, self.largest, strict=True))

    @property
    def is_held(self) -> bool:
        """Whether there were more points than numbers to be found: else the fit goes through all of them."""
        return self.points > len(self.slopes) + 1


def fit(points: Sequence[Point]) -> Fit:
    """The constant and the slopes with the least sum of squares.

    Raises ValueError if the points do not say what each thing adds: there are too few, or they lie on a line.
    """
    if not points:
        raise ValueError("no points")
    scales = [max(abs(things[number]) for things, _ in points) or 1.0 for number in range(len(points[0][0]))]
    rows = [(1.0, *(thing / scale for thing, scale in zip(things, scales, strict=True))) for things, _ in points]
    size = len(scales) + 1
    matrix = [
        [sum(row[i] * row[j] for row in rows) for j in range(size)]
        + [sum(row[i] * figure for row, (_, figure) in zip(rows, points, strict=True))]
        for i in range(size)
    ]
    constant, *scaled = _solved(matrix)
    slopes = tuple(slope / scale for slope, scale in zip(scaled, scales, strict=True))
    found = [constant + sum(s * t for s, t in zip(slopes, things, strict=True)) for things, _ in points]
    highest = max(abs(figure) for _, figure in points) or 1.0
    residual = max(abs(one - figure) for one, (_, figure) in zip(found, points, strict=True)) / highest
    largest = tuple(max(things[number] for things, _ in points) for number in range(len(scales)))
    return Fit(constant, slopes, residual, len(points), largest)


def _solved(matrix: list[list[float]]) -> list[float]:
    """Gauss and Jordan, with the largest pivot of each column."""
    size = len(matrix)
    for column in range(size):
        best = max(range(column, size), key=lambda row: abs(matrix[row][column]))
        if abs(matrix[best][column]) < _LEAST_PIVOT:
            raise ValueError("the points do not tell the things apart")
        matrix[column], matrix[best] = matrix[best], matrix[column]
        pivot = matrix[column]
        for row in range(size):
            if row != column:
                factor = matrix[row][column] / pivot[column]
                matrix[row] = [one - factor * other for one, other in zip(matrix[row], pivot, strict=True)]
    return [matrix[row][size] / matrix[row][row] for row in range(size)]
