"""`zethane policy explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from zethane.cli.ending import EXIT_DONE, EXIT_NO
from zethane.cli.policy.given import (
    AtOption,
    JsonOption,
    TopologyArgument,
    find_service,
    find_topology,
    moment_or_now,
    problems_exit,
)
from zethane.cli.policy.text import print_explanation, print_json
from zethane.policy.explain import explain as explain_flow


def explain_command(
    topology: TopologyArgument,
    source: Annotated[str, typer.Option("--from", help="The host that opens the flow, or an address.")],
    target: Annotated[str, typer.Option("--to", help="The host that it is opened to, or an address.")],
    service: Annotated[str, typer.Option(help="tcp/443, icmp, …, or a name from services.")],
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether a host may open a flow to another, and why."""
    with problems_exit(as_json):
        found = find_topology(topology)
        now = moment_or_now(at)
        subject, obj = found.party(source, now), found.party(target, now)
        explanations = [explain_flow(found.policy, subject, obj, one, now) for one in find_service(found, service)]
    # A name that stands for several services is allowed when each of them is.
    answer = next((one for one in explanations if not one.decision.allowed), explanations[0])
    if as_json:
        print_json({**answer.view(), "hosts": {"from": source, "to": target}})
    else:
        print_explanation(answer, source, target)
    raise typer.Exit(EXIT_DONE if answer.decision.allowed else EXIT_NO)
