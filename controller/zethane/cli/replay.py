"""`zethane replay`: recorded traffic held against a policy."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from zethane.cli.ending import EXIT_DONE, EXIT_NO
from zethane.cli.policy.given import JsonOption, TopologyArgument, find_policy, find_topology, moment, problems_exit
from zethane.cli.policy.output import writing
from zethane.cli.policy.text import print_json
from zethane.cli.replay_options import (
    Assumed,
    CaptureArgument,
    CapturedAt,
    FailOnDeny,
    FlowsFile,
    Limit,
    LiveInLab,
    MapFile,
    PolicyOption,
    Room,
    ScenarioInLab,
    Staged,
)
from zethane.cli.replay_text import print_replay
from zethane.replay.capture import Capture
from zethane.replay.flow import Flow
from zethane.replay.given import attribution_of
from zethane.replay.replay import MAX_LISTED, replay
from zethane.replay.source import Source, open_source
from zethane.replay.table import MAX_FLOWS
from zethane.replay.view import flow_view, replay_view


def replay_command(
    capture: CaptureArgument,
    topology: TopologyArgument,
    policy: PolicyOption = None,
    map_file: MapFile = None,
    assume: Assumed = None,
    staged: Staged = False,
    at: CapturedAt = None,
    flows_file: FlowsFile = None,
    limit: Limit = MAX_LISTED,
    table: Room = MAX_FLOWS,
    fail_on_deny: FailOnDeny = False,
    as_json: JsonOption = False,
    live: LiveInLab = False,  # noqa: ARG001 - its callback has answered
    scenario: ScenarioInLab = None,  # noqa: ARG001 - its callback has answered
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
