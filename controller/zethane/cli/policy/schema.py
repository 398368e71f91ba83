"""`zethane policy schema`."""

from __future__ import annotations

from typing import Annotated

import typer

from zethane.cli.policy.text import print_json
from zethane.policy.schema import json_schema


def schema_command(
    as_json: Annotated[bool, typer.Option("--json", help="JSON is all that there is: changes nothing.")] = False,  # noqa: ARG001 - every command takes --json
) -> None:
    """Print the JSON Schema of policy.yaml, for editors."""
    print_json(json_schema())
