"""How `policy blast-radius` prints for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zethane.cli.console import wide_console
from zethane.document import some
from zethane.policy.access import asks
from zethane.policy.blast_radius import BlastRadius, Change, Reached, Way, compare
from zethane.policy.model import Rule
from zethane.policy.reach import Step

SHOWN = 6
"""Names in one cell of a table."""
_WAYS: dict[Way, str] = {
    "hop": "conditions met",
    "hop_unconditional": "without conditions",
    "hop_now": "now",
}


def print_table(before: Sequence[BlastRadius], after: Sequence[BlastRadius] | None = None) -> None:
    """Every start, the worst first, with its score and, of a change, the new one."""
    console = wide_console()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0))
    scores = ("score", "now") if after is None else ("score", "new", "now", "new now")
    for name in ("segment", *scores, "1 hop", "all hops", "critical"):
        table.add_column(name, justify="left" if name in ("segment", "critical") else "right", no_wrap=True)
    old, new = ({one.start: one for one in some or ()} for some in (before, after))
    for start in {**old, **new}:
        was, will = old.get(start), new.get(start)
        later = will or old[start]
        row: list[str | Text] = [Text(f"{start} *" if later.critical else start), f"{was.score:.1f}" if was else "-"]
        if after is not None:
            row.append(_score_change(was.score if was else 0.0, will.score) if will else "gone")
        row.append(f"{was.score_now:.1f}" if was else "-")
        if after is not None:
            row.append(_score_change(was.score_now if was else 0.0, will.score_now) if will else "gone")
        near = sum(place.hop == 1 for place in later.reached)
        row += [str(near), str(len(later.reached))]
        table.add_row(*row, Text(some(later.critical_places, SHOWN, " "), style="red"))
    console.print(table)
    console.print(Text("score: share of the other endpoints within reach, 0 to 100; * critical itself", style="dim"))


def _score_change(old: float, new: float) -> Text:
    style = "" if abs(old - new) < 0.05 else "red" if new > old else "green"
    return Text(f"{new:.1f}", style=style)


def print_radius(before: BlastRadius, after: BlastRadius | None = None) -> None:
    """What is reached from one start, hop by hop, the ways to what is critical, and what a change does to that."""
    console = wide_console()
    found = before if after is None else after
    where = ", ".join(found.places) or "nowhere: not authenticated, or in no one segment"
    console.print(Text.assemble((found.start, "bold"), f" in {where}" if found.host else ""))
    scores = f"score {found.score:.1f}, now {found.score_now:.1f}"
    if after is not None:
        scores += f" (before: {before.score:.1f}, now {before.score_now:.1f})"
    console.print(Text(scores))
    if found.reached:
        console.print(_reached_table(found))
    else:
        console.print(Text("nothing can be reached"))
    for path in found.paths:
        style = "red" if path.now else "yellow"
        console.print(Text(f"{'now' if path.now else 'if conditions are met'}: to {path.target}", style=style))
        for step in path.steps:
            console.print(Text(f"  {step.source} -> {step.target}: {_step(step)}"))
    if after is not None:
        _print_changes(console, compare(before, after))


def _print_changes(console: Console, changes: Sequence[Change]) -> None:
    console.print(Text("changes" if changes else "no change in what is reached", style="bold"))
    ways: dict[tuple[str, int | None, int | None], list[Change]] = {}
    for one in changes:
        ways.setdefault((one.place, one.before, one.after), []).append(one)
    for (place, *ends), alike in ways.items():
        hops = " -> ".join("not" if hop is None else f"hop {hop}" for hop in ends)
        word = alike[0].word
        style = "red" if word in ("gained", "nearer") else "green"
        how = ", ".join(_WAYS[one.way] for one in alike)
        console.print(Text(f"  {word:8} {place}: {hops} ({how})", style=style))


def _reached_table(found: BlastRadius) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0))
    for column in ("hop", "reaches", "now", "hosts", "from", "by"):
        table.add_column(column, no_wrap=column != "by")
    for one in found.reached:
        name = Text(f"{one.place} *", style="red") if one.critical else Text(one.place)
        table.add_row(
            str(one.hop), name, _now(one), Text(some(one.hosts, SHOWN, " ")), Text(one.via.source), Text(_step(one.via))
        )
    return table


def _now(one: Reached) -> Text:
    if one.hop_now is None:
        return Text("no", style="green")
    return Text("yes" if one.hop_now == one.hop else f"hop {one.hop_now}")


def _step(step: Step) -> str:
    """`tcp/443 (web-https), tcp/22 (web-ssh if mfa)`."""
    parts = []
    for piece in step.pieces:
        rules = " or ".join(map(_rule, piece.rules))
        unless = "".join(f" unless {_rule(rule)}" for rule in piece.denies)
        parts.append(f"{piece} ({rules}{unless})")
    return some(parts, SHOWN)


def _rule(rule: Rule) -> str:
    return rule.id + (f" if {' and '.join(asks(rule))}" if rule.is_conditional else "")
