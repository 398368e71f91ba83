"""A scenario's verdict for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from replay.judge import ContainmentVerdict, StepVerdict, Verdict, reach_text
from replay.scenario import Answer
from replay.schema import SENDING
from zethane.document import count

SHOWN = 6
"""Who was reached against a statement, one by one."""


def print_verdict(console: Console, verdict: Verdict) -> None:
    """Steps, statements, and the last line."""
    how = "" if verdict.protected else ", without Zethane"
    console.print(
        Text(f"{verdict.scenario.name} on {verdict.scenario.topology.folder.resolve().name}{how}", style="bold")
    )
    console.print(Text(" ".join(verdict.scenario.document.value.about.split()), style="dim"))
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("step", "what", "expected", "seen"):
        table.add_column(heading, overflow="fold")
    for step in verdict.steps:
        table.add_row(*_row(step, protected=verdict.protected))
    console.print(table)
    for one in verdict.contained:
        console.print(_statement(one, protected=verdict.protected))
    console.print(_summary(verdict))


def _row(verdict: StepVerdict, *, protected: bool) -> tuple[Text, Text, Text, Text]:
    step = verdict.result.step
    if step.file.action not in SENDING:
        seen = Text("\n".join(verdict.faults), style="bold red") if verdict.faults else Text("done", style="dim")
        if not protected and step.file.action not in ("wait", "at"):
            seen = Text("without a meaning here", style="dim")
        return Text(str(step.number)), Text(step.title), Text(""), seen
    wanted = Counter(step.expected.values())
    seen = Text("\n".join(verdict.faults), style="bold red") if verdict.faults else Text(_seen(verdict), style="green")
    return Text(str(step.number)), Text(step.title), Text(_mixed(wanted)), seen


def _mixed(answers: Mapping[Answer, int]) -> str:
    if len(answers) == 1:
        return next(iter(answers))
    return ", ".join(f"{answer} {number}" for answer, number in sorted(answers.items()))


def _seen(verdict: StepVerdict) -> str:
    """What arrived, in a few words, and what the log has on it."""
    outcomes = verdict.result.outcomes
    arrived = sum(bool(one.reached) for one in outcomes)
    told = Counter(text.rsplit(" x", 1)[0] for one in outcomes for text in one.told)
    what = (
        f"{arrived} of {len(outcomes)} arrived" if len(outcomes) > 1 else ("arrived" if arrived else "nothing arrived")
    )
    log = ", ".join(name for name, _ in told.most_common(3))
    return f"{what}; the log: {log}" if log else what


def _statement(verdict: ContainmentVerdict, *, protected: bool) -> Text:
    held = not verdict.reached
    text = Text("✓ " if held == protected else "✗ ", style="bold green" if held == protected else "bold red")
    text.append(verdict.statement.text, style="bold")
    if held:
        return text.append(": held" if protected else ": held, with nobody to hold it: it proves nothing")
    text.append(": broken" if protected else ": broken, as it has to be here")
    for reach in verdict.reached[:SHOWN]:
        text.append(f"\n    {reach_text(reach)}")
    if len(verdict.reached) > SHOWN:
        text.append(f"\n    and {len(verdict.reached) - SHOWN} more")
    return text


def _summary(verdict: Verdict) -> Text:
    steps = count(len(verdict.steps), "step")
    took = f"{steps} in {verdict.seconds:.0f} s"
    if not verdict.protected:
        said = "it succeeds where nobody stops it" if verdict.ok else "it does not succeed even here: it proves nothing"
        return Text(f"{took}: {said}\n", style="bold green" if verdict.ok else "bold red")
    wrong = sum(not step.ok for step in verdict.steps)
    broken = sum(bool(one.reached) for one in verdict.contained)
    if verdict.ok:
        return Text(f"{took}: every one as expected, all contained\n", style="bold green")
    return Text(
        f"{took}: {wrong} not as expected, {broken} of {len(verdict.contained)} statements broken\n", style="bold red"
    )
