"""Results for people, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from attack.runner import Result
from attack.scenario import Scenario

_STYLES = {
    "held": "green",
    "passed": "bold red",
    "unproven": "bold yellow",
    "harmed": "bold red",
    "failed": "bold red",
    "skipped": "dim",
}
_WORDS = {
    "held": "held",
    "passed": "got through",
    "unproven": "unproven",
    "harmed": "did harm",
    "failed": "could not be run",
    "skipped": "skipped",
}


def results_table(results: Iterable[Result], *, protected: bool) -> Table:
    """Attack, reference, what was tried, what got through, what the controller logged."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("attack", "reference", "tried"):
        table.add_column(heading, overflow="fold")
    table.add_column("got through", overflow="fold", min_width=16)
    if protected:
        table.add_column("logged", overflow="fold")
    for result in results:
        style = _STYLES[result.status] if protected or result.status != "passed" else "green"
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
