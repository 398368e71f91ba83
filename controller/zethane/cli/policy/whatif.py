"""`zethane policy whatif`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from zethane.app.decision_log import DecisionLog, known_by
from zethane.app.topology import IDENTITIES_FILE, load_directory
from zethane.cli.ending import EXIT_DONE, EXIT_NO
from zethane.cli.policy.account import account_lines, account_view
from zethane.cli.policy.given import (
    JsonOption,
    SinceOption,
    UntilOption,
    find_policy,
    find_topology,
    period,
    problems_exit,
    shipped,
)
from zethane.cli.policy.text import print_json
from zethane.document import count
from zethane.errors import InputError, Problem
from zethane.identity.directory import Directory
from zethane.policy.whatif import Between, Change, Effect, WhatIf, whatif

PAIRS = 5
"""Pairs of principals that are shown of one change."""

_TITLES: dict[Effect, tuple[str, str]] = {
    "ends": ("Would end", "red"),
    "cut": ("Would be cut before they ended, by time", "red"),
    "passes": ("Were denied, and would pass", "yellow"),
}


def whatif_command(
    new: Annotated[str, typer.Argument(help="The new policy: a file, a folder, or the name of one in ./topologies.")],
    topology: Annotated[
        str | None, typer.Argument(help="Whose identities.yaml tells who is meant by a name; that of NEW if not given.")
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A decision log, or several with *; - is standard input. May be repeated."),
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    staged: Annotated[bool, typer.Option("--staged", help="With everything in force that is staged in NEW.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Show so many changes at the most.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold recorded decisions and flows against a new policy. Exit status 1 if any would be otherwise."""
    with problems_exit(as_json):
        policy = find_policy(new)
        if not log:
            raise InputError([Problem("--log", "expected a decision log")])
        first, last = period(since, until)
        records = DecisionLog(log, known_by(_directory(new, topology)), first, last)
        answer = whatif(policy.as_if_enforced() if staged else policy, records)
    shown = answer if limit is None else replace(answer, changes=answer.changes[:limit])
    if as_json:
        totals = {**answer.view(), "changes": shown.view()["changes"], "changes_found": len(answer.changes)}
        print_json({**totals, "log": account_view(records.account)})
    else:
        _print(answer, shown.changes)
        for line in account_lines(records.account):
            typer.echo(line)
    raise typer.Exit(EXIT_NO if answer.changed else EXIT_DONE)


def _directory(new: str, topology: str | None) -> Directory | None:
    """The identities of the topology or, if none is named, of the folder of the new policy; None if it has none."""
    if topology is not None:
        return find_topology(topology).directory
    folder = Path(new) if Path(new).exists() else shipped(new)
    return load_directory(folder) if (folder / IDENTITIES_FILE).is_file() else None


def _print(answer: WhatIf, changes: tuple[Change, ...]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    before: Effect | None = None
    for change in changes:
        if change.effect != before:
            before = change.effect
            title, style = _TITLES[before]
            console.print(Text(f"{title}:", style=f"bold {style}"))
        for line in _lines(change):
            console.print(Text(f"  {line}"))
    if len(changes) < len(answer.changes):
        console.print(Text(f"and {count(len(answer.changes) - len(changes), 'more change')}"))
    console.print(Text(_total(answer), style="yellow" if answer.changed else "green"))


def _lines(change: Change) -> Iterator[str]:
    ends = f"{change.source or '(nowhere)'} -> {change.target or '(nowhere)'}"
    yield f"{ends}  {change.service}  {_amount(change)}"
    for one in change.between[:PAIRS]:
        yield f"  {one.source} -> {one.target}  {_amount(one)}; was {one.rule or 'no rule'}, then: {one.why}"
    if len(change.between) > PAIRS:
        yield f"  and {count(len(change.between) - PAIRS, 'more pair')}"


def _amount(one: Change | Between) -> str:
    view = one.view()
    carried = f", {count(one.packets, 'packet')}, {count(one.octets, 'byte')}" if one.packets else ""
    period = view["first"] if view["first"] == view["last"] else f"{view['first']} to {view['last']}"
    return f"{count(one.flows, 'flow')}{carried}, {period}"


def _total(answer: WhatIf) -> str:
    cut = f", {answer.flows('cut'):,} would be cut" if answer.flows("cut") else ""
    more = f", and {count(answer.left_out, 'flow')} of further kinds would change" if answer.left_out else ""
    ends, passes = count(answer.flows("ends"), "flow"), count(answer.flows("passes"), "denial")
    return (
        f"{ends} would end{cut}, {passes} would pass{more}; "
        f"{answer.allowed:,} stay allowed, {answer.denied:,} stay denied"
    )
