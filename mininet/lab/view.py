"""The matrix for people: what was expected, what was observed, and where the two differ."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from lab.verdicts import Verdict
from zethane.policy.explain import Explanation
from zethane.policy.service import Service

LETTERS = [letter for letter in string.ascii_lowercase if letter != "x"]
WRONGLY_ALLOWED, WRONGLY_DENIED, DENIED, MIXED = "!", "x", "·", "*"
UNAUTHENTICATED = "not logged in"
OUTSIDE = "outside"


def letters_of(services: Iterable[Service]) -> dict[Service, str]:
    """A letter for every service; after the alphabet, `?`, whose meaning is in the list of mismatches only."""
    listed = list(services)
    return dict(zip(listed, LETTERS + ["?"] * len(listed), strict=False))


def matrix_view(
    verdicts: Sequence[Verdict], hosts: Sequence[str], segments: Mapping[str, str], width: int
) -> RenderableType:
    """The matrix of hosts if it fits into `width` columns, that of segments otherwise, with its legend."""
    services = list(dict.fromkeys(verdict.cell.service for verdict in verdicts))
    letters = letters_of(services)
    column = max(len(services), 4) + 1
    longest = max((len(name) + len(segments.get(name, UNAUTHENTICATED)) for name in hosts), default=0)
    fits = longest + 4 + column * len(hosts) <= width
    table = _hosts_table(verdicts, hosts, segments) if fits else _segments_table(verdicts, hosts, segments)
    return Group(table, _legend(letters, mixed=not fits))


def _mark(verdict: Verdict, letter: str) -> tuple[str, str]:
    """A character and its style."""
    if verdict.mismatch:
        return (WRONGLY_ALLOWED if verdict.observed == "allow" else WRONGLY_DENIED), "bold white on red"
    if verdict.observed == "allow":
        return letter, "bold yellow" if verdict.flaky else "bold green"
    return DENIED, "dim"


def _hosts_table(verdicts: Sequence[Verdict], hosts: Sequence[str], segments: Mapping[str, str]) -> Table:
    letters = letters_of(dict.fromkeys(verdict.cell.service for verdict in verdicts))
    cells: dict[tuple[str, str], Text] = {}
    for verdict in verdicts:
        text = cells.setdefault((verdict.cell.source, verdict.cell.target), Text())
        text.append(*_mark(verdict, letters[verdict.cell.service]))
    table = Table(title="Who reaches what (from the left, to the top)", box=None, padding=(0, 1, 0, 0))
    table.add_column("from", no_wrap=True)
    for name in hosts:
        table.add_column(name, overflow="fold")
    for source in hosts:
        label = Text(source + " ").append(segments.get(source, UNAUTHENTICATED), style="cyan")
        table.add_row(label, *[cells.get((source, target), Text("")) for target in hosts])
    return table


def _segments_table(verdicts: Sequence[Verdict], hosts: Sequence[str], segments: Mapping[str, str]) -> Table:
    """A row for every pair of segments: a service has one mark if all pairs of hosts agree on it."""
    services = list(dict.fromkeys(verdict.cell.service for verdict in verdicts))
    letters = letters_of(services)
    marks: dict[tuple[str, str], dict[Service, set[tuple[str, str]]]] = {}
    pairs: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for verdict in verdicts:
        cell = verdict.cell
        row = segments.get(cell.source, UNAUTHENTICATED), segments.get(cell.target, UNAUTHENTICATED)
        pairs.setdefault(row, set()).add((cell.source, cell.target))
        mark = _mark(verdict, letters[cell.service])
        marks.setdefault(row, {}).setdefault(cell.service, set()).add(mark)
    table = Table(title="Which segment reaches what", box=None, padding=(0, 2, 0, 0))
    for heading in ("from", "to", "pairs of hosts", "services"):
        table.add_column(heading)
    order = list(dict.fromkeys(segments.get(name, UNAUTHENTICATED) for name in hosts))
    for row in ((a, b) for a in order for b in order if (a, b) in marks):
        text = Text()
        for service in services:
            text.append(*_joined(marks[row].get(service, set())))
        table.add_row(Text(row[0], style="cyan"), Text(row[1], style="cyan"), str(len(pairs[row])), text)
    return table


def _joined(marks: set[tuple[str, str]]) -> tuple[str, str]:
    """One mark for many pairs of hosts; one that is wrong outweighs all that are right."""
    for mark, style in sorted(marks):
        if mark in (WRONGLY_ALLOWED, WRONGLY_DENIED):
            return mark, style
    return next(iter(marks)) if len(marks) == 1 else (MIXED, "yellow")


def _legend(letters: Mapping[Service, str], *, mixed: bool) -> Text:
    text = Text("\n")
    for service, letter in letters.items():
        text.append(letter, style="bold green").append(f"={service}  ")
    text.append(f"\n{DENIED} denied, as the policy says   ")
    text.append(WRONGLY_ALLOWED, style="bold white on red").append(" passed, against the policy   ")
    text.append(WRONGLY_DENIED, style="bold white on red").append(" blocked, against the policy")
    if mixed:
        text.append(f"\n{MIXED} differs between hosts of the segments, as the policy says")
    return text


def mismatch_text(verdict: Verdict, explanation: Explanation) -> Text:
    """A mismatch with the decision, the rule and where it stands, and what was observed."""
    cell = verdict.cell
    text = Text(f"{cell.source} → {cell.target} {cell.service}: ", style="bold")
    text.append(f"expected {verdict.expected}, observed {verdict.observed}\n", style="bold red")
    rule = f"rule {cell.decision.rule}" if cell.decision.rule else "no rule"
    place = f" ({explanation.place})" if explanation.place else ""
    text.append(f"  policy: {rule}{place}: {explanation.decision.reason}\n")
    text.append(f"  from:   {explanation.subject}\n  to:     {explanation.object}\n")
    for detail in verdict.details[:6]:
        text.append(f"  seen:   {detail}\n")
    if len(verdict.details) > 6:
        text.append(f"  seen:   and {len(verdict.details) - 6} more\n")
    return text


def mismatch_line(verdict: Verdict) -> str:
    """A mismatch in one line."""
    cell = verdict.cell
    rule = f"rule {cell.decision.rule}" if cell.decision.rule else "no rule"
    pair = f"{cell.source} → {cell.target} {cell.service}"
    return f"{pair}: expected {verdict.expected} ({rule}), observed {verdict.observed}"


def print_summary(console: Console, verdicts: Sequence[Verdict], seconds: float) -> None:
    """The last line."""
    wrong = sum(verdict.mismatch for verdict in verdicts)
    allowed = sum(verdict.observed == "allow" for verdict in verdicts)
    flaky = [verdict for verdict in verdicts if verdict.flaky]
    for verdict in flaky:
        cell = verdict.cell
        console.print(f"flaky: {cell.source} → {cell.target} {cell.service} passed at the second attempt only")
    count = f"{len(verdicts)} cells in {seconds:.1f} s: {allowed} allowed, {len(verdicts) - allowed} denied"
    if wrong:
        console.print(f"[bold red]{count}; {wrong} not as the policy says")
    else:
        console.print(f"[bold green]{count}; every one as the policy says")
