"""The figures as tables for people, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from perf.measures import Measure, Result
from perf.switch import Side

_HEADINGS: dict[Side, str] = {
    "zethane": "Zethane",
    "os-ken": "os-ken",
    "limit": "generator alone",
    "flood": "one port floods",
    "quiet": "quiet",
    "scapy": "scapy",
    "pairwise": "pair by pair",
    "reading": "reading the file",
}


def table(result: Result) -> Table:
    """One row per measure: the median of the rounds and, in brackets, the lowest and the highest of them."""
    benchmark = result.benchmark
    shown = Table(title=benchmark.title, title_justify="left")
    shown.add_column("measure")
    for side in benchmark.sides:
        shown.add_column(_HEADINGS[side], justify="right")
    shown.add_column(" / ".join(_HEADINGS[side] for side in benchmark.compared), justify="right")
    for measure in benchmark.measures:
        cells = [_cell(result.series(side, measure)) for side in benchmark.sides]
        shown.add_row(f"{measure.text}, {measure.unit}", *cells, _ratio(result, measure))
    return shown


def _cell(values: Sequence[float]) -> str:
    return f"{median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def _ratio(result: Result, measure: Measure) -> str:
    ratios = result.ratios(measure)
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def show(console: Console, results: Iterable[Result], about: Mapping[str, Any], rounds: int) -> None:
    """Print everything."""
    for result in results:
        console.print(table(result))
        lost = {side: sum(turn.get("lost", 0) for turn in turns) for side, turns in result.turns.items()}
        if any(lost.values()):
            console.print(f"First packets lost: {lost}", markup=False)
    console.print(f"Median of {rounds} rounds (lowest to highest); the ratio is that of each round.")
    console.print(", ".join(f"{name} {value}" for name, value in about.items()), markup=False)


def write_json(file: Path, results: Iterable[Result], about: Mapping[str, Any], rounds: int) -> None:
    """Write everything that was measured. Raises OSError."""
    told = {
        "machine": dict(about),
        "rounds": rounds,
        "benchmarks": {result.benchmark.name: result.as_json() for result in results},
    }
    file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
