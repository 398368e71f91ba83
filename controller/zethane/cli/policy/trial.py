"""`zethane policy test`."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.console import Console
from rich.text import Text

from zethane.cli.ending import EXIT_DONE, EXIT_NO
from zethane.cli.policy.given import AtOption, JsonOption, TopologyArgument, find_report, problems_exit
from zethane.cli.policy.text import passed_of, print_json
from zethane.policy.outcome import Outcome


def run_tests_command(topology: TopologyArgument, at: AtOption = None, as_json: JsonOption = False) -> None:
    """Run the policy's own tests, and show for each that fails somebody for whom it does."""
    with problems_exit(as_json):
        found, report = find_report(topology, at)
    if as_json:
        print_json({"passed": report.passed, "tests": [outcome.view() for outcome in report.outcomes]})
    else:
        print_outcomes(found.policy.file, report.outcomes)
    raise typer.Exit(EXIT_DONE if report.passed else EXIT_NO)


def print_outcomes(file: str, outcomes: Sequence[Outcome]) -> None:
    """A line for each test, and a last one that sums up."""
    console = Console(soft_wrap=True, highlight=False)
    for outcome in outcomes:
        word, style = ("passed", "green") if outcome.passed else ("failed", "red")
        console.print(Text(f"{word}  {file}:{outcome.test.line}: {outcome.text}", style=style))
    passed = sum(outcome.passed for outcome in outcomes)
    total = passed_of(passed, len(outcomes))
    console.print(Text(total, style="green" if passed == len(outcomes) else "red"))
