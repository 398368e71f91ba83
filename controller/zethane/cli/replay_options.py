"""What `zethane replay` may be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MAX_TABLE = 2_000_000


def _needs_lab(value: bool | str | None) -> None:
    """Say where traffic can be sent, for this command only reads it."""
    if value:
        raise typer.BadParameter("this needs the lab (root, Mininet, scapy): ./run replay in a checkout has it")


CaptureArgument = Annotated[str, typer.Argument(help="A pcap or pcapng file, compressed by gzip or not; - is stdin.")]

PolicyOption = Annotated[str | None, typer.Option(help="Another policy.yaml, or its folder, to decide by.")]

MapFile = Annotated[
    Path | None, typer.Option("--map", help="YAML: address, prefix or MAC to user:alice, segment:web, outside …")
]

Assumed = Annotated[
    list[str] | None,
    typer.Option(help="For addresses that nothing else knows: 10.0.0.0/8=segment:office, outside. Repeatable."),
]

Staged = Annotated[bool, typer.Option("--staged", help="With everything in force that is staged.")]

CapturedAt = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        help="When, as 2026-11-23T22:00+01:00 (RFC 3339); when it was captured if not given.",
    ),
]

FlowsFile = Annotated[Path | None, typer.Option("--flows", help="Write every flow here, as JSON lines.")]

Limit = Annotated[int, typer.Option(min=0, max=10_000, help="How many flows and rows to show.")]

Room = Annotated[
    int, typer.Option(min=1_000, max=MAX_TABLE, help="Flows that may be under way at once; each takes about 1 KB.")
]

FailOnDeny = Annotated[
    bool, typer.Option("--fail-on-deny", help="Status 1 if any flow is denied or cannot be attributed.")
]

LiveInLab = Annotated[
    bool, typer.Option("--live", callback=_needs_lab, is_eager=True, help="In the lab: ./run replay --live.")
]

ScenarioInLab = Annotated[
    str | None, typer.Option(callback=_needs_lab, is_eager=True, help="In the lab: ./run replay --scenario FILE.")
]
