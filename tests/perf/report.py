"""The figures as tables for people, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from perf.measures import Measure, Result
from perf.switch import Side

_HEADINGS: dict[Side, str] = {"zethane": "Zethane", "os-ken": "os-ken application", "limit": "generator's limit"}


def table(result: Result) -> Table:
    """One row per measure: the median of the rounds and, in brackets, the lowest and the highest of them."""
    benchmark = result.benchmark
    shown = Table(title=benchmark.title, title_justify="left")
    shown.add_column("measure")
    for side in benchmark.sides:
        shown.add_column(_HEADINGS[side], justify="right")
    shown.add_column("Zethane : os-ken", justify="right")
    for measure in benchmark.measures:
        cells = [_cell(result.series(side, measure), measure.unit) for side in benchmark.sides]
        shown.add_row(measure.text, *cells, _ratio(result, measure))
    return shown


def _cell(values: list[float], unit: str) -> str:
    return f"{median(values):,.0f} {unit} ({min(values):,.0f}–{max(values):,.0f})"  # noqa: RUF001  # a range


def _ratio(result: Result, measure: Measure) -> str:
    ratios = result.ratios(measure)
    return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"  # noqa: RUF001  # a range


def show(console: Console, results: Iterable[Result], about: Mapping[str, Any], rounds: int) -> None:
    """Print everything."""
    for result in results:
        console.print(table(result))
        lost = {side: sum(turn.get("lost", 0) for turn in turns) for side, turns in result.turns.items()}
        if any(lost.values()):
            console.print(f"first packets lost: {lost}")
    console.print(
        f"Median of {rounds} rounds (lowest to highest round). " + ", ".join(f"{k} {v}" for k, v in about.items())
    )


def write_json(file: Path, results: Iterable[Result], about: Mapping[str, Any], rounds: int) -> None:
    """Write everything that was measured. Raises OSError."""
    told = {
        "machine": dict(about),
        "rounds": rounds,
        "benchmarks": {result.benchmark.name: result.as_json() for result in results},
    }
    file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
