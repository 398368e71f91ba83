"""Results for people, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from attack.runner import Result
from attack.scenario import Scenario

_STYLES = {
    "held": "green",
    "limited": "yellow",
    "passed": "bold red",
    "unproven": "bold yellow",
    "harmed": "bold red",
    "failed": "bold red",
    "skipped": "dim",
}
_WORDS = {
    "held": "held",
    "limited": "known limit of grants",
    "passed": "got through",
    "unproven": "unproven",
    "harmed": "did harm",
    "failed": "could not be run",
    "skipped": "skipped",
}


WIDE = 140
"""Columns that the table needs to be readable; below it every attack is a short paragraph."""
UNSEEN_WIDTH = 160
"""Columns of what goes to a file or another program."""


def output() -> Console:
    """Where results go: as wide as the terminal, and wide enough where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=UNSEEN_WIDTH)


def print_results(console: Console, results: Iterable[Result], *, protected: bool) -> None:
    """Attack, reference, what was tried, what got through, what the controller logged, as the console has room."""
    if console.width >= WIDE:
        console.print(results_table(results, protected=protected))
        return
    for result in results:
        console.print(*_paragraph(result, protected=protected), sep="\n")


def _style(result: Result, *, protected: bool) -> str:
    return _STYLES[result.status] if protected or result.status != "passed" else "green"


def _paragraph(result: Result, *, protected: bool) -> Iterator[Text | Padding]:
    """Attack, reference and what got through in the first line; what was tried, and what was logged, below it."""
    style = _style(result, protected=protected)
    head = Text(result.scenario.name, style)
    head.append(f"  {result.scenario.reference}  ", "dim")
    yield head.append_text(_got_through(result, style))
    yield _below("tried", result.scenario.tried)
    if protected and result.logged:
        yield _below("logged", result.logged)


def _below(label: str, text: str) -> Padding:
    return Padding(Text.assemble((f"{label}: ", "dim"), text), (0, 0, 0, 2))


def results_table(results: Iterable[Result], *, protected: bool) -> Table:
    """One line for each attack, or a few."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("attack", no_wrap=True)
    for heading in ("reference", "tried"):
        table.add_column(heading, overflow="fold")
    table.add_column("got through", overflow="fold", min_width=16)
    if protected:
        table.add_column("logged", overflow="fold")
    for result in results:
        style = _style(result, protected=protected)
        cells = [
            Text(result.scenario.name, style),
            Text(result.scenario.reference, "dim"),
            Text(result.scenario.tried),
            _got_through(result, style),
        ]
        table.add_row(*cells, *([Text(result.logged)] if protected else []))
    return table


def _got_through(result: Result, style: str) -> Text:
    parts = [f"{label}: {text}" for label, text in result.passed.items() if text]
    parts += list(result.faults)
    if not parts:
        return Text("nothing", style)
    if result.status in ("held", "passed"):
        return Text("; ".join(parts), style)
    return Text(f"{_WORDS[result.status]}: {'; '.join(parts)}", style)


def scenarios_table(scenarios: Iterable[Scenario]) -> Table:
    """What there is, for --list."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("attack", "group", "quick", "reference", "tried", "success would be"):
        table.add_column(heading, overflow="fold")
    for one in scenarios:
        row = (one.name, one.group, "quick" if one.quick else "", one.reference, one.tried, one.success)
        table.add_row(*map(Text, row))
    return table


def summary(results: Sequence[Result]) -> Mapping[str, int]:
    """How many of each status."""
    counts: Counter[str] = Counter(result.status for result in results)
    return {"attacks": len(results), **{status: counts[status] for status in _STYLES}}


def report(results: Sequence[Result], topology: str, *, protected: bool) -> Mapping[str, Any]:
    """The JSON file."""
    return {
        "topology": topology,
        "protected": protected,
        "results": [result.view() for result in results],
        "summary": summary(results),
    }


def print_summary(console: Console, results: Sequence[Result], seconds: float, *, protected: bool) -> None:
    """The last line."""
    counts = summary(results)
    parts = [f"{counts[status]} {_WORDS[status]}" for status in _STYLES if counts[status]]
    good = all(result.as_wanted(protected=protected) for result in results)
    verdict = (
        ("nothing got through" if protected else "every attack succeeds without Zethane")
        if good
        else ("not every attack was held" if protected else "some attacks prove nothing: they fail without Zethane too")
    )
    style = "bold green" if good else "bold red"
    text = f"{counts['attacks']} attacks in {seconds:.0f} s: {', '.join(parts)}; {verdict}"
    console.print(Text(text, style))
