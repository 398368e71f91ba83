"""The figures as tables, for people and for a page in Markdown, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from perf.benchmark import Measure
from perf.results import Outcome, Result

_DASH = "\N{EN DASH}"
_LEGEND = "Median of the rounds (lowest to highest); a ratio is that of the two turns of each round."


@dataclass(frozen=True, slots=True)
class Report:
    """What a run is told by: its results, what went wrong, and what it ran on."""

    results: Sequence[Result]
    failed: Mapping[str, str]
    """Benchmarks that gave no figures, or not all of them, and why."""
    about: Mapping[str, Any]
    rounds: int
    is_quick: bool


def rows(result: Result) -> Iterator[list[str]]:
    """The table of a benchmark, its heading first: for each measure a row, or one for each point of the axis."""
    benchmark = result.benchmark
    axis = benchmark.axis
    headings = [f"{benchmark.sides[first]} / {benchmark.sides[second]}" for first, second in benchmark.pairs]
    yield ["measure", *([axis.text] if axis else []), *benchmark.sides.values(), *headings]
    for measure in benchmark.measures:
        for point in result.points:
            cells = [_cell(result.series(side, measure.key, point), measure) for side in benchmark.sides]
            ratios = [_ratio(result.ratios(*pair, measure.key, point)) for pair in benchmark.pairs]
            unit = f", {measure.unit}" if measure.unit else ""
            yield [f"{measure.text}{unit}", *([f"{point:,}"] if axis else []), *cells, *ratios]


def _cell(values: Sequence[float], measure: Measure) -> str:
    if not values:
        return _DASH
    middle, low, high = (f"{value:,.{measure.digits}f}" for value in (median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}{_DASH}{high})"


def _ratio(ratios: Sequence[float]) -> str:
    if not ratios:
        return _DASH
    return f"{_short(median(ratios))} ({_short(min(ratios))}{_DASH}{_short(max(ratios))})"


def _short(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"


def goal_line(outcome: Outcome) -> str:
    """One goal in a sentence."""
    if not outcome.is_measured:
        return f"not measured: {outcome.goal.text} {outcome.goal.wanted}"
    told = f"{outcome.figure:,.3g}" if abs(outcome.figure) < 1000 else f"{outcome.figure:,.0f}"
    return f"{'met' if outcome.is_met else 'MISSED'}: {outcome.goal.text} {outcome.goal.wanted}: {told}"


def table(result: Result) -> Table:
    """The table for a terminal."""
    heading, *body = rows(result)
    shown = Table(title=result.benchmark.title, title_justify="left")
    for number, text in enumerate(heading):
        shown.add_column(text, justify="right" if number else "left")
    for row in body:
        shown.add_row(*row)
    return shown


def show(console: Console, report: Report) -> None:
    """Print everything."""
    for result in report.results:
        console.print(table(result))
        for outcome in result.outcomes():
            console.print(goal_line(outcome), markup=False, highlight=False, soft_wrap=True)
    for name, why in report.failed.items():
        console.print(f"{name} FAILED: {why}", markup=False, soft_wrap=True)
    console.print(f"{_rounds(report)}. {_LEGEND}", soft_wrap=True)
    if report.is_quick:
        console.print("A quick run shows that the benchmarks work, and nothing about speed.")
    console.print(", ".join(f"{name} {value}" for name, value in report.about.items()), markup=False, soft_wrap=True)


def _rounds(report: Report) -> str:
    return "1 round" if report.rounds == 1 else f"{report.rounds} rounds"


def write_json(file: Path, report: Report) -> None:
    """Write everything that was measured. Raises OSError."""
    told = {
        "machine": dict(report.about),
        "rounds": report.rounds,
        "is_quick": report.is_quick,
        "benchmarks": {result.benchmark.name: result.as_json() for result in report.results},
        "failed": dict(report.failed),
    }
    file.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_markdown(file: Path, report: Report, pictures: Iterable[Path] = ()) -> None:
    """Write the tables as a page. Raises OSError."""
    drawn = {picture.stem: picture for picture in pictures}
    lines: list[str] = []
    for result in report.results:
        name = result.benchmark.name
        lines += [f"## `./run bench {name}`", "", _escaped(result.benchmark.title), ""]
        heading, *body = (list(map(_escaped, row)) for row in rows(result))
        lines += [_line(heading), _line(["---", *["--:"] * (len(heading) - 1)]), *map(_line, body), ""]
        lines += [f"- {_escaped(goal_line(outcome))}" for outcome in result.outcomes()]
        lines += [f"\n![{name}]({drawn[name].name})"] if name in drawn else []
        lines.append("")
    lines += [f"- {name} failed: {_escaped(why)}" for name, why in report.failed.items()]
    lines += [f"{_rounds(report)}. {_LEGEND}", ""]
    lines += [f"- {name}: {_escaped(str(value))}" for name, value in report.about.items()]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text in which Markdown finds neither cells nor elements."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
