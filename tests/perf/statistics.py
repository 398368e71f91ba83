"""What is said about a series of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TypeVar

Key = TypeVar("Key")


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed. Raises ValueError for none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def evened(series: Mapping[Key, Sequence[float]]) -> dict[Key, float]:
    """The median of each of several series that were measured side by side, without what all had in common.

    The k-th values of all series were measured one after the other, on a machine that is slower at times. What the k-th
    values are above or below the medians of their series, in the median of the series, is the machine's doing and is
    divided out (a step of Tukey's median polish, on ratios). Values are above 0. Raises ValueError for series that are
    empty or not as long as each other.
    """
    logs = {key: [math.log(value) for value in values] for key, values in series.items()}
    middles = {key: median(values) for key, values in logs.items()}
    moods = [
        median(value - middle for value, middle in zip(values, middles.values(), strict=True))
        for values in zip(*logs.values(), strict=True)
    ]
    return {
        key: math.exp(median(value - mood for value, mood in zip(values, moods, strict=True)))
        for key, values in logs.items()
    }
