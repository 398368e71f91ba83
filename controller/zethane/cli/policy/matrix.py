"""`zethane policy matrix`."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated

import typer

from zethane.app.topology import Topology
from zethane.cli.policy.given import AtOption, JsonOption, TopologyArgument, find_topology, moment_or_now, problems_exit
from zethane.cli.policy.graph import host_counts
from zethane.cli.policy.output import write
from zethane.cli.policy.text import print_json, print_matrix
from zethane.document import count
from zethane.policy.graph import graph
from zethane.policy.matrix import matrix as build_matrix
from zethane.policy.tables import tables
from zethane.render.graph_svg import graph_svg
from zethane.render.matrix_page import matrix_page


def matrix_command(
    topology: TopologyArgument,
    html: Annotated[
        str | None,
        typer.Option("--html", metavar="FILE|-", help="Write a page for the browser: segments, hosts and the graph."),
    ] = None,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what every host may open to every other."""
    with problems_exit(as_json):
        found = find_topology(topology)
        now = moment_or_now(at)
        if html is not None:
            write(html, _page(found, now))
    if html is not None and not as_json:
        return
    parties = found.parties(now)
    cells = build_matrix(found.policy, parties, now)
    if as_json:
        print_json({"cells": [cell.view() for cell in cells]})
    else:
        print_matrix(cells, list(parties))


def _page(found: Topology, now: float) -> str:
    parties, name = found.parties(now), found.folder.resolve().name
    counts = host_counts(found.policy, parties)
    heading = f"Policy of {name}"
    plain, denials = (graph_svg(graph(found.policy, counts, denies=denies), heading) for denies in (False, True))
    made = tables(found.policy, parties, now)
    hosts = count(len(parties), "host")
    shown = f"the first {count(len(made.hosts.names), 'address')} of {hosts}" if made.left_out else hosts
    when = datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return matrix_page(found.policy, made, heading, (plain, denials), f"{shown}, as of {when}")
