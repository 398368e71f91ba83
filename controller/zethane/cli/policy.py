"""`zethane policy`: check, explain, matrix and schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from zethane.app.topology import Topology, load_topology
from zethane.cli.policy_text import (
    print_explanation,
    print_json,
    print_matrix,
    print_report,
    problem_view,
    report_view,
)
from zethane.document import closest, quote
from zethane.errors import InputError, Problem
from zethane.policy.explain import explain as explain_flow
from zethane.policy.load import or_a_name
from zethane.policy.matrix import matrix as build_matrix
from zethane.policy.schema import json_schema
from zethane.policy.service import Service

EXIT_DONE, EXIT_NO, EXIT_INPUT = 0, 1, 2

app = typer.Typer(no_args_is_help=True, help="Check, explain and print a policy.")

TopologyArgument = Annotated[str, typer.Argument(help="A topology's folder, or the name of one in ./topologies.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command("check")
def check_command(topology: TopologyArgument, as_json: JsonOption = False) -> None:
    """Report errors and remarks, and run the policy's own tests."""
    with _problems_exit(as_json):
        report = find_topology(topology).check()
        if report.errors:
            raise InputError(report.errors)
    if as_json:
        print_json(report_view(report))
    else:
        print_report(report)
    raise typer.Exit(EXIT_DONE if report.passed else EXIT_NO)


@app.command("explain")
def explain_command(
    topology: TopologyArgument,
    source: Annotated[str, typer.Option("--from", help="The host that opens the flow, or an address.")],
    target: Annotated[str, typer.Option("--to", help="The host that it is opened to, or an address.")],
    service: Annotated[str, typer.Option(help="tcp/443, icmp, …, or a name from services.")],
    as_json: JsonOption = False,
) -> None:
    """Say whether a host may open a flow to another, and why."""
    with _problems_exit(as_json):
        found = find_topology(topology)
        subject, obj = found.party(source), found.party(target)
        explanations = [explain_flow(found.policy, subject, obj, one) for one in find_service(found, service)]
    # A name that stands for several services is allowed when each of them is.
    answer = next((one for one in explanations if not one.decision.allowed), explanations[0])
    if as_json:
        print_json({**answer.view(), "hosts": {"from": source, "to": target}})
    else:
        print_explanation(answer, source, target)
    raise typer.Exit(EXIT_DONE if answer.decision.allowed else EXIT_NO)


@app.command("matrix")
def matrix_command(topology: TopologyArgument, as_json: JsonOption = False) -> None:
    """Print what every host may open to every other."""
    with _problems_exit(as_json):
        found = find_topology(topology)
    parties = found.parties()
    cells = build_matrix(found.policy, parties)
    if as_json:
        print_json({"cells": [cell.view() for cell in cells]})
    else:
        print_matrix(cells, list(parties))


@app.command("schema")
def schema_command(
    as_json: Annotated[bool, typer.Option("--json", help="JSON is all that there is: changes nothing.")] = False,  # noqa: ARG001 - every command takes --json
) -> None:
    """Print the JSON Schema of policy.yaml, for editors."""
    print_json(json_schema())


def find_topology(name: str) -> Topology:
    """The topology in the folder `name`, or in ./topologies/NAME. Raises InputError."""
    shipped = Path("topologies")
    if Path(name).is_dir():
        return load_topology(name)
    if (shipped / name).is_dir():
        return load_topology(shipped / name)
    known = sorted(folder.name for folder in shipped.iterdir() if folder.is_dir()) if shipped.is_dir() else []
    message = f"no folder, and no topology in ./topologies{closest(name, known)}"
    raise InputError([Problem(quote(name), message)])


def find_service(topology: Topology, text: str) -> tuple[Service, ...]:
    """What `text` stands for: a service, or a name from the policy's services. Raises InputError."""
    named = topology.policy.services.get(text)
    if named is not None:
        return named.services
    try:
        return (Service.parse(text),)
    except ValueError as error:
        near = closest(text, topology.policy.services)
        message = f"{error}{or_a_name(error)}, found {quote(text)}{near}"
        raise InputError([Problem("--service", message)]) from None


@contextmanager
def _problems_exit(as_json: bool) -> Iterator[None]:
    """End with status 2 and one line per problem when the input is wrong."""
    try:
        yield
    except InputError as error:
        if as_json:
            print_json({"errors": [problem_view(problem) for problem in error.problems]})
        else:
            for problem in error.problems:
                typer.echo(str(problem), err=True)
        raise typer.Exit(EXIT_INPUT) from None
