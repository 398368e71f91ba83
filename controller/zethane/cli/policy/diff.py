"""`zethane policy diff`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from zethane.cli.policy.given import EXIT_DONE, EXIT_NO, JsonOption, find_policy, problems_exit
from zethane.cli.policy.text import print_json
from zethane.errors import CapacityError, InputError, Problem
from zethane.policy.diff import diff
from zethane.policy.difference import Cause, Change, Difference, example_text

MANY = "in several segments)"

MAX_CAUSES = 5
"""Rules that are named for one change."""


def diff_command(
    old: Annotated[str, typer.Argument(help="A policy file, a topology's folder, or the name of one in ./topologies.")],
    new: Annotated[str, typer.Argument(help="The same for the policy that it is compared with.")],
    as_json: JsonOption = False,
) -> None:
    """Say who gains and who loses what, however the two policies are written."""
    with problems_exit(as_json):
        policies = find_policy(old), find_policy(new)
        try:
            found = diff(*policies, time.time())
        except CapacityError as error:
            raise InputError([Problem(policies[1].file, str(error))]) from None
    if as_json:
        print_json(found.view())
    else:
        print_difference(found)
    raise typer.Exit(EXIT_NO if found else EXIT_DONE)


def print_difference(found: Difference) -> None:
    """Each change with its rules and an example, then what is no change, and a last line that sums up."""
    console = Console(soft_wrap=True, highlight=False)
    for change in (*found.gained, *found.lost):
        console.print(Text(str(change), style="green" if change.gained else "red"))
        console.print(Text(f"    {_reason(change)}", style="dim"))
        console.print(Text(f"    example: {example_text(change.example)}", style="dim"))
    for changes, when in (
        (found.freed, "gains, who was in several segments before"),
        (found.caught, "loses, who is in several segments now"),
    ):
        if changes:
            console.print(Text(f"~ {when}: {_several(changes)}", style="yellow"))
            console.print(Text(f"    example: {example_text(changes[0].example)}", style="dim"))
    for note in found.notes:
        console.print(Text(f"note  {note}", style="yellow"))
    counts = _count(len(found.gained), "gain"), _count(len(found.lost), "loss", "losses")
    console.print(Text(", ".join(counts) if found else "no difference in who may open what"))


def _several(changes: Iterable[Change]) -> str:
    """The segments that they are in, in that policy which lets them."""
    names = {name for change in changes for name in (*change.sources, *change.targets) if name.endswith(MANY)}
    return ", ".join(sorted(name.partition(" ")[0] for name in names))


def _reason(change: Change) -> str:
    allowing, denying = _causes(change.allowing), _causes(change.denying)
    if change.gained:
        before = f"was denied by {denying}" if denying else "no rule allowed it before"
        return f"allowed by {allowing}; {before}"
    now = f"is denied by {denying}" if denying else "no rule allows it now"
    return f"was allowed by {allowing}; {now}"


def _causes(causes: Iterable[Cause]) -> str:
    words = [f"{cause.rule.id} ({cause.place})" for cause in causes]
    more = len(words) - MAX_CAUSES
    return ", ".join([*words[:MAX_CAUSES], *([f"{more} more"] if more > 0 else [])])


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
