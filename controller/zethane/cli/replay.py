"""`zethane replay`: recorded traffic held against a policy."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from zethane.cli.policy.given import (
    EXIT_DONE,
    EXIT_NO,
    JsonOption,
    TopologyArgument,
    find_policy,
    find_topology,
    moment,
    problems_exit,
)
from zethane.cli.policy.output import writing
from zethane.cli.policy.text import print_json
from zethane.cli.replay_text import print_replay
from zethane.replay.capture import Capture
from zethane.replay.flow import Flow
from zethane.replay.given import attribution_of
from zethane.replay.replay import MAX_LISTED, replay
from zethane.replay.source import Source, open_source
from zethane.replay.table import MAX_FLOWS
from zethane.replay.view import flow_view, replay_view

MAX_TABLE = 2_000_000


def _needs_lab(value: bool | str | None) -> None:
    """Say where traffic can be sent, for this command only reads it."""
    if value:
        raise typer.BadParameter("this needs the lab (root, Mininet, scapy): ./run replay in a checkout has it")


def replay_command(
    capture: Annotated[str, typer.Argument(help="A pcap or pcapng file, compressed by gzip or not; - is stdin.")],
    topology: TopologyArgument,
    policy: Annotated[str | None, typer.Option(help="Another policy.yaml, or its folder, to decide by.")] = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", help="YAML: address, prefix or MAC to user:alice, segment:web, outside …")
    ] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(help="For addresses that nothing else knows: 10.0.0.0/8=segment:office, outside. Repeatable."),
    ] = None,
    staged: Annotated[bool, typer.Option("--staged", help="With everything in force that is staged.")] = False,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="When, as 2026-11-23T22:00+01:00 (RFC 3339); when it was captured if not given.",
        ),
    ] = None,
    flows_file: Annotated[Path | None, typer.Option("--flows", help="Write every flow here, as JSON lines.")] = None,
    limit: Annotated[int, typer.Option(min=0, max=10_000, help="How many flows and rows to show.")] = MAX_LISTED,
    table: Annotated[
        int, typer.Option(min=1_000, max=MAX_TABLE, help="Flows that may be under way at once; each takes about 1 KB.")
    ] = MAX_FLOWS,
    fail_on_deny: Annotated[
        bool, typer.Option("--fail-on-deny", help="Status 1 if any flow is denied or cannot be attributed.")
    ] = False,
    as_json: JsonOption = False,
    live: Annotated[  # noqa: ARG001 - its callback has answered
        bool, typer.Option("--live", callback=_needs_lab, is_eager=True, help="In the lab: ./run replay --live.")
    ] = False,
    scenario: Annotated[  # noqa: ARG001 - its callback has answered
        str | None,
        typer.Option(callback=_needs_lab, is_eager=True, help="In the lab: ./run replay --scenario FILE."),
    ] = None,
) -> None:
    """Decide recorded traffic: which flows the policy lets pass, which not, and why."""
    with problems_exit(as_json), _uncollected():
        found = find_topology(topology)
        wanted = find_policy(policy) if policy is not None else found.policy
        if staged:
            wanted = wanted.as_if_enforced()
        attribution = attribution_of(found, wanted, map_file, assume or ())
        now = None if at is None else moment(at)
        with open_source(capture) as source, _progress(source) as advance:
            opened = Capture(source, advance)
            with _written(flows_file) as tell:
                result = replay(opened, wanted, attribution, now=now, room=table, listed=limit, tell=tell)
    if as_json:
        print_json(replay_view(result, capture))
    else:
        print_replay(result, capture, limit)
    outcomes = result.totals.outcomes
    failed = fail_on_deny and (outcomes["deny"].flows or outcomes["unattributed"].flows)
    raise typer.Exit(EXIT_NO if failed else EXIT_DONE)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector: nothing here makes circles, and looking for them takes a quarter of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _written(file: Path | None) -> Iterator[Callable[[Flow], None] | None]:
    """What writes each flow to a file; None without one."""
    if file is None:
        yield None
        return
    with writing(str(file)):
        opened: IO[str] = file.open("w", encoding="utf-8")
    with opened:
        yield lambda flow: print(json.dumps(flow_view(flow), ensure_ascii=False), file=opened)


@contextmanager
def _progress(source: Source) -> Iterator[Callable[[], None]]:
    """A bar on the terminal, if standard error is one; what is called after each piece that was read."""
    console = Console(stderr=True)
    if not console.is_terminal:
        with nullcontext():
            yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(f"Reading {source.name}", total=source.size)
        yield lambda: progress.update(task, completed=source.position())
