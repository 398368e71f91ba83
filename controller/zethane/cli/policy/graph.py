"""`zethane policy graph`."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from zethane.cli.policy.given import JsonOption, TopologyArgument, find_policy, find_topology, problems_exit
from zethane.cli.policy.output import write
from zethane.cli.policy.text import print_json
from zethane.policy.decide import each, place_of
from zethane.policy.graph import Graph, graph
from zethane.policy.matrix import Hosts
from zethane.policy.model import Policy
from zethane.render.graph_svg import Style, graph_svg

SvgOption = Annotated[str | None, typer.Option("--svg", metavar="FILE|-", help="Write a picture.")]


def graph_command(
    topology: TopologyArgument,
    svg: SvgOption = None,
    against: Annotated[str | None, typer.Option(metavar="NEW", help="Another policy: what would change.")] = None,
    denies: Annotated[bool, typer.Option("--denies", help="Show rules that deny as well.")] = False,
    merge: Annotated[
        bool | None,
        typer.Option("--merge/--no-merge", help="One node for segments with the same edges; where there are many."),
    ] = None,
    style: Annotated[
        Style, typer.Option(help="How the picture is drawn: columns with lines between, a grid, or what is legible.")
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Show the segments as a graph: who may open what to whom."""
    with problems_exit(as_json):
        found = find_topology(topology)
        new = find_policy(against) if against else None
        counts = host_counts(new or found.policy, found.parties())
        drawn = graph(found.policy, counts, against=new, denies=denies, merge=merge)
        if svg is not None:
            heading = f"Policy of {found.folder.name}" + (f", changed to {against}" if against else "")
            write(svg, graph_svg(drawn, heading, style))
    if as_json:
        print_json(drawn.view())
    elif svg is None:
        _print(drawn)


def host_counts(policy: Policy, hosts: Hosts) -> dict[str, int]:
    """How many hosts are in each place, by its name."""
    places = ({place_of(policy, party, "host")[0] for party in each(parties)} for parties in hosts.values())
    return Counter(str(place) for one in places for place in one if place is not None)


def _print(drawn: Graph) -> None:
    sign = {"same": "", "gained": "+ ", "lost": "- "}
    for edge in drawn.edges:
        kind = "" if edge.kind == "always" else f" [{edge.kind}]"
        for mark in edge.marks:
            asked = f" if {', '.join(mark.conditions)}" if mark.conditions else ""
            what = f"{', '.join(mark.services)} ({', '.join(mark.rules)}{asked})"
            typer.echo(f"{sign[edge.change]}{edge.source} -> {', '.join(edge.targets)}: {what}{kind}")
