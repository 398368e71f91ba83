"""`zethane policy matrix`."""

from __future__ import annotations

from zethane.cli.policy.given import JsonOption, TopologyArgument, find_topology, problems_exit
from zethane.cli.policy.text import print_json, print_matrix
from zethane.policy.matrix import matrix as build_matrix


def matrix_command(topology: TopologyArgument, as_json: JsonOption = False) -> None:
    """Print what every host may open to every other."""
    with problems_exit(as_json):
        found = find_topology(topology)
    parties = found.parties()
    cells = build_matrix(found.policy, parties)
    if as_json:
        print_json({"cells": [cell.view() for cell in cells]})
    else:
        print_matrix(cells, list(parties))
