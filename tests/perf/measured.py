"""The figures of runs that were written with `--json`, several files as one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lab.errors import LabError


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians by benchmark, side, point of the axis (0 without one) and key."""

    figures: Mapping[str, Mapping[tuple[str, int], Mapping[str, float]]]
    about: Sequence[Mapping[str, Any]]
    """The machines, one for each file."""

    def get(self, benchmark: str, side: str, key: str, point: int = 0) -> float | None:
        """One median; None where nothing was measured."""
        return self.figures.get(benchmark, {}).get((side, point), {}).get(key)

    def series(self, benchmark: str, side: str, key: str) -> list[tuple[int, float]]:
        """Points and medians, in the order of the axis."""
        found = self.figures.get(benchmark, {})
        return sorted((point, turn[key]) for (one, point), turn in found.items() if one == side and key in turn)


def read_runs(files: Sequence[Path]) -> Measured:
    """Read files of `--json`; of a benchmark that is in several, the last has all.

    Raises LabError for a file that is none, and for a quick run: its figures mean nothing.
    """
    if not files:
        raise LabError("--model needs files that --json has written")
    figures: dict[str, Mapping[tuple[str, int], Mapping[str, float]]] = {}
    about: list[Mapping[str, Any]] = []
    for file in files:
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            if told["is_quick"]:
                raise LabError(f"{file}: a quick run says nothing about cost")
            found = {name: _medians(one["rounds"]) for name, one in told["benchmarks"].items()}
            about.append({**told["machine"], "rounds": told["rounds"]})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise LabError(
                f"{file}: expected what ./run bench --json writes ({type(error).__name__}: {error})"
            ) from None
        figures |= {name: medians for name, medians in found.items() if medians}
    return Measured(figures, about)


def _medians(rounds: Sequence[Mapping[str, Any]]) -> Mapping[tuple[str, int], Mapping[str, float]]:
    turns: dict[tuple[str, int], dict[str, list[float]]] = {}
    for turn in rounds:
        place = turns.setdefault((turn["side"], turn.get("at", 0)), {})
        for key, value in turn.items():
            if key not in ("side", "at", "round") and isinstance(value, int | float):
                place.setdefault(key, []).append(value)
    return {place: {key: median(values) for key, values in found.items()} for place, found in turns.items()}
