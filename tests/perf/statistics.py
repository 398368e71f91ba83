"""What is said about a series of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed. Raises ValueError for none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def ratio_in_turns(measured: Sequence[float], reference: Sequence[float]) -> float:
    """How many times the reference something is, of which the k-th values were measured one after the other.

    A machine that is slower at times is as slow for both then. The median of the ratios: a moment that only one of them
    met moves it little. Values are above 0. Raises ValueError for series that are empty or not as long as each other.
    """
    return median(ours / theirs for ours, theirs in zip(measured, reference, strict=True))
