"""`zethane policy diff`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from zethane.app.topology import IDENTITIES_FILE, load_directory
from zethane.cli.ending import EXIT_DONE, EXIT_NO
from zethane.cli.policy.given import JsonOption, find_policy, problems_exit
from zethane.cli.policy.text import print_json
from zethane.document import count, some
from zethane.errors import CapacityError, InputError, Problem
from zethane.policy.diff import diff
from zethane.policy.difference import Cause, Change, Concerned, Difference, concerned, example_text
from zethane.policy.principal import Principal

MANY = "in several segments)"

MAX_CAUSES = 5
"""Rules, or members of one end, that are named for one change."""

Who = Callable[[Change], Concerned] | None
"""Who is concerned, where that is asked for."""


def diff_command(
    old: Annotated[str, typer.Argument(help="A policy file, a topology's folder, or the name of one in ./topologies.")],
    new: Annotated[str, typer.Argument(help="The same for the policy that it is compared with.")],
    members: Annotated[bool, typer.Option("--members", help="List who is concerned, by identities.yaml.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say who gains and who loses what, however the two policies are written."""
    with problems_exit(as_json):
        policies = find_policy(old), find_policy(new)
        try:
            found = diff(*policies, time.time())
        except CapacityError as error:
            raise InputError([Problem(policies[1].file, str(error))]) from None
        who = concerned(found, _population(new, old)) if members else None
    if as_json:
        print_json(_view(found, who))
    else:
        print_difference(found, who)
    raise typer.Exit(EXIT_NO if found else EXIT_DONE)


def _population(*names: str) -> list[Principal]:
    """Everybody in the first identities.yaml that is beside one of the policies. Raises InputError."""
    for name in names:
        for folder in (Path(name), Path("topologies") / name):
            if (folder / IDENTITIES_FILE).exists():
                return [principal for principal, _ in load_directory(folder).population()]
    raise InputError(
        [Problem("--members", f"expected the folder of a topology, with {IDENTITIES_FILE}, as OLD or NEW")]
    )


def _view(found: Difference, who: Who) -> Mapping[str, Any]:
    """JSON-ready, with the members of each change where they are asked for."""
    view = dict(found.view())
    if who is not None:
        for word, changes in (("gained", found.gained), ("lost", found.lost)):
            view[word] = [{**change.view(), "members": who(change).view()} for change in changes]
    return view


def print_difference(found: Difference, who: Who) -> None:
    """Each change with its rules and an example, then what is no change, and a last line that sums up."""
    console = Console(soft_wrap=True, highlight=False)
    for change in (*found.gained, *found.lost):
        console.print(Text(str(change), style="green" if change.gained else "red"))
        console.print(Text(f"    {_reason(change)}", style="dim"))
        console.print(Text(f"    example: {example_text(change.example)}", style="dim"))
        if who is not None:
            console.print(Text(f"    members: {_members(who(change))}"))
    for changes, when in (
        (found.freed, "gains, who was in several segments before"),
        (found.caught, "loses, who is in several segments now"),
    ):
        if changes:
            console.print(Text(f"~ {when}: {_several(changes)}", style="yellow"))
            console.print(Text(f"    example: {example_text(changes[0].example)}", style="dim"))
    for note in found.notes:
        console.print(Text(f"note  {note}", style="yellow"))
    counts = count(len(found.gained), "gain"), count(len(found.lost), "loss")
    console.print(Text(", ".join(counts) if found else "no difference in who may open what"))
    if who is not None and found:
        gaining, losing = (
            {name for one in changes for name in who(one).sources} for changes in (found.gained, found.lost)
        )
        console.print(Text(f"of those known {len(gaining)} may gain, {len(losing)} may lose something"))


def _members(who: Concerned) -> str:
    return " -> ".join(some(names, MAX_CAUSES) if names else "nobody known" for names in (who.sources, who.targets))


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
    return some([f"{cause.rule.id} ({cause.place})" for cause in causes], MAX_CAUSES)
