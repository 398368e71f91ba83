"""What the policy's commands are given: topologies, policies, services; and how they end when that is wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from zethane.app.topology import Topology, load_policy, load_topology
from zethane.cli.ending import EXIT_INPUT, told_problems
from zethane.cli.policy.text import print_json, problem_view
from zethane.document import closest, quote
from zethane.errors import InputError, Problem
from zethane.policy.check import Report
from zethane.policy.load import or_a_name
from zethane.policy.model import Policy
from zethane.policy.moment import parse_moment
from zethane.policy.service import Service

TopologyArgument = Annotated[str, typer.Argument(help="A topology's folder, or the name of one in ./topologies.")]
AtOption = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help="When, as 2026-11-23T22:00+01:00 (RFC 3339); now if not given."),
]
SinceOption = Annotated[str | None, typer.Option("--since", metavar="TIME", help="Leave out what was before.")]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Leave out what was from then on.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def find_topology(name: str) -> Topology:
    """The topology in the folder `name`, or in ./topologies/NAME. Raises InputError."""
    return load_topology(name if Path(name).is_dir() else shipped(name))


def find_report(name: str, at: str | None) -> tuple[Topology, Report]:
    """A topology and what its check at a moment comes to. Raises InputError, as for a policy with errors."""
    found = find_topology(name)
    report = found.check(now=moment_or_now(at))
    if report.errors:
        raise InputError(report.errors)
    return found, report


def find_service(topology: Topology, text: str, option: str = "--service") -> tuple[Service, ...]:
    """What `text` stands for: a service, or a name from the policy's services. Raises InputError."""
    named = topology.policy.services.get(text)
    if named is not None:
        return named.services
    try:
        return (Service.parse(text),)
    except ValueError as error:
        near = closest(text, topology.policy.services)
        message = f"{error}{or_a_name(error)}, found {quote(text)}{near}"
        raise InputError([Problem(option, message)]) from None


def moment_or_now(text: str | None) -> float:
    """Seconds since the epoch of a moment, or of now. Raises InputError."""
    return time.time() if text is None else moment(text)


def moment(text: str, option: str = "--at") -> float:
    """Seconds since the epoch of a moment such as 2026-11-23T22:00+01:00. Raises InputError."""
    try:
        return parse_moment(text)
    except ValueError as error:
        raise InputError([Problem(option, f"{error}, found {quote(text)}")]) from None


def period(since: str | None, until: str | None) -> tuple[float, float]:
    """From when to when, without end where nothing is given. Raises InputError."""
    return moment(since, "--since") if since else -math.inf, moment(until, "--until") if until else math.inf


def find_policy(name: str) -> Policy:
    """The policy in the file `name`, in the folder `name`, or in ./topologies/NAME. Raises InputError.

    Nothing but policy.yaml is read: it need not fit any identities.
    """
    if Path(name).exists():
        return load_policy(name)
    return load_policy(shipped(name, "no file, no folder"))


def shipped(name: str, missing: str = "no folder") -> Path:
    """The folder of a topology that comes with Zethane."""
    shipped = Path("topologies")
    if (shipped / name).is_dir():
        return shipped / name
    known = sorted(folder.name for folder in shipped.iterdir() if folder.is_dir()) if shipped.is_dir() else []
    message = f"{missing}, and no topology in ./topologies{closest(name, known)}"
    raise InputError([Problem(quote(name), message)])


@contextmanager
def problems_exit(as_json: bool) -> Iterator[None]:
    """End with status 2 and one line per problem when the input is wrong."""
    with told_problems():
        try:
            yield
        except InputError as error:
            if not as_json:
                raise
            print_json({"errors": [problem_view(problem) for problem in error.problems]})
            raise typer.Exit(EXIT_INPUT) from None
