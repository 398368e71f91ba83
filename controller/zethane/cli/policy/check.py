"""`zethane policy check`."""

from __future__ import annotations

import typer

from zethane.cli.ending import EXIT_DONE, EXIT_NO
from zethane.cli.policy.given import AtOption, JsonOption, TopologyArgument, find_report, problems_exit
from zethane.cli.policy.text import print_json, print_report, report_view


def check_command(topology: TopologyArgument, at: AtOption = None, as_json: JsonOption = False) -> None:
    """Report errors and remarks, and run the policy's own tests."""
    with problems_exit(as_json):
        found, report = find_report(topology, at)
    if as_json:
        print_json(report_view(report))
    else:
        print_report(found.policy.file, report)
    raise typer.Exit(EXIT_DONE if report.passed else EXIT_NO)
