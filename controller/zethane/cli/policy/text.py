"""How the policy's commands print: JSON for programs, tables and short sentences for people."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zethane.cli.console import wide_console
from zethane.document import count
from zethane.errors import Problem
from zethane.policy.check import Report
from zethane.policy.explain import Explanation
from zethane.policy.matrix import Cell

_MARKS = string.ascii_letters + string.digits


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def problem_view(problem: Problem) -> Mapping[str, Any]:
    """JSON-ready."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "key": problem.key,
        "message": problem.message,
    }


def report_view(report: Report) -> Mapping[str, Any]:
    """JSON-ready."""
    return {
        "passed": report.passed,
        "errors": [problem_view(problem) for problem in report.errors],
        "remarks": [{"code": one.code, **problem_view(one.problem)} for one in report.findings],
        "tests": [outcome.view() for outcome in report.outcomes],
    }


def print_report(file: str, report: Report) -> None:
    """Remarks, the tests that failed, and a last line that sums up."""
    console = Console(soft_wrap=True, highlight=False)
    for finding in report.findings:
        console.print(Text(f"remark  {finding}", style="yellow"))
    failed = [outcome for outcome in report.outcomes if not outcome.passed]
    for outcome in failed:
        console.print(Text(f"failed  {file}:{outcome.test.line}: {outcome.text}", style="red"))
    passed = len(report.outcomes) - len(failed)
    total = f"{passed_of(passed, len(report.outcomes))}, {count(len(report.findings), 'remark')}"
    console.print(Text(total, style="red" if failed else "green"))


def passed_of(passed: int, tests: int) -> str:
    """`3 of 4 tests passed`; `no tests`."""
    return f"{passed:,} of {count(tests, 'test')} passed" if tests else "no tests"


def print_explanation(explanation: Explanation, source: str, target: str) -> None:
    """The decision, both parties, and each rule with why it applies or does not."""
    console = Console(soft_wrap=True, highlight=False)
    decision = explanation.decision
    style = "bold green" if decision.allowed else "bold red"
    console.print(Text.assemble(("allow" if decision.allowed else "deny", style), f": {decision.reason}"))
    if explanation.place:
        console.print(Text(f"rule at {explanation.place}"))
    if explanation.enforced == "switch":
        console.print(Text("the switch lets it in by itself"))
    if explanation.lack:
        needs = " and ".join(explanation.lack.needs)
        console.print(Text(f"rule {explanation.lack.rule} would allow it with {needs}"))
    if explanation.staged:
        staged = "allow" if explanation.staged.allowed else "deny"
        console.print(Text(f"with what is staged: {staged}: {explanation.staged.reason}"))
    console.print(Text(f"{source}: {explanation.subject}"))
    console.print(Text(f"{target}: {explanation.object}"))
    for rule in explanation.considered:
        mark = "applies" if rule.applies else "not"
        line = f"  {mark:7} {rule.rule} ({rule.action}, {rule.place}): {rule.because}"
        console.print(Text(line, style="" if rule.applies else "dim"))


def print_matrix(cells: Sequence[Cell], hosts: Sequence[str]) -> None:
    """Rows open flows to columns; each allowed service is a letter that the legend below explains.

    Columns are named by the numbers of the rows where their names would not fit.
    """
    console = wide_console()
    services = list(dict.fromkeys(cell.service for cell in cells))
    marks = {service: _MARKS[index] if index < len(_MARKS) else "?" for index, service in enumerate(services)}
    asked = {(cell.source, cell.target) for cell in cells}
    allowed: dict[tuple[str, str], str] = {}
    for cell in cells:
        if cell.decision.allowed:
            pair = (cell.source, cell.target)
            allowed[pair] = allowed.get(pair, "") + marks[cell.service]
    fits = sum(len(host) + 2 for host in hosts) + 16 < console.width
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("from \\ to", no_wrap=True)
    for number, host in enumerate(hosts, 1):
        table.add_column(host if fits else str(number), no_wrap=True)
    for number, source in enumerate(hosts, 1):
        row = [_mark((source, target) in asked, allowed.get((source, target), "")) for target in hosts]
        table.add_row(Text(source if fits else f"{number} {source}", style="bold"), *row)
    console.print(table)
    legend = [*(f"{mark} {service}" for service, mark in marks.items()), "· nothing"]
    console.print(Text("  ".join(legend)), soft_wrap=True)


def _mark(asked: bool, letters: str) -> Text:
    if not asked:
        return Text("")
    return Text(letters, style="green") if letters else Text("·", style="red")
