"""`zethane policy recommend`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from zethane.app.decision_log import DecisionLog, known_by
from zethane.app.files import read_text
from zethane.app.topology import Topology
from zethane.cli.policy.account import account_lines, account_view
from zethane.cli.policy.given import (
    JsonOption,
    SinceOption,
    TopologyArgument,
    UntilOption,
    find_topology,
    period,
    problems_exit,
)
from zethane.cli.policy.output import write_new
from zethane.cli.policy.text import print_json
from zethane.document import count, parse, quote
from zethane.errors import CapacityError, InputError, Problem
from zethane.policy.load import parse_policy
from zethane.policy.recommend import Grain, ServiceGrain, recommend
from zethane.policy.recommendation import Recommendation
from zethane.policy.schema import PolicyFile
from zethane.policy.seen import Seen, summarise
from zethane.replay.attribution import Attribution
from zethane.replay.capture import Capture
from zethane.replay.given import attribution_of
from zethane.replay.replay import seen_in
from zethane.replay.source import open_source

MAX_SHOWN = 20
"""Flows that are left out, and rules that are unused, of which people are told."""


def recommend_command(
    topology: TopologyArgument,
    log: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A decision log; - is standard input.")] = None,
    pcap: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="A capture: all of its flows, whoever let them pass.")
    ] = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", help="Who addresses of a capture are, as for replay.")
    ] = None,
    assume: Annotated[list[str] | None, typer.Option(help="The same for those nothing else knows.")] = None,
    answered: Annotated[
        bool, typer.Option("--answered", help="Of captures, only the flows that the other end took up.")
    ] = False,
    services: Annotated[
        str, typer.Option(metavar="GRAIN", help="port: as seen; named: the policy's services; protocol: all ports.")
    ] = "port",
    prefix4: Annotated[int | None, typer.Option(min=1, max=32, help="Length of prefixes outside, IPv4.")] = None,
    prefix6: Annotated[int | None, typer.Option(min=1, max=128, help="The same for IPv6.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the policy to a new file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the least policy that allows what was seen, with the evidence for each rule."""
    with problems_exit(as_json):
        found = find_topology(topology)
        grain = Grain(_service_grain(services), prefix4, prefix6)
        if bool(log) == bool(pcap):
            raise InputError([Problem("--log", "expected decision logs, or captures (--pcap)")])
        first, last = period(since, until)
        records = DecisionLog(log, known_by(found.directory), first, last) if log else None
        seen = records or _captured(
            found, pcap or (), attribution_of(found, found.policy, map_file, assume or ()), answered=answered
        )
        file = parse(read_text(Path(found.policy.file)), found.policy.file, PolicyFile).value
        made = _recommended(
            found, file, summarise(one for one in seen if one.first < last and one.last >= first), grain
        )
        text = _checked(found, file, made)
        if output is not None:
            write_new({output: text})
    if as_json:
        print_json(
            {**made.view(found.policy), "log": account_view(records.account) if records else None, "policy": text}
        )
        return
    if output is None:
        typer.echo(text, nl=False)
    for line in (*(account_lines(records.account) if records else ()), *_told(found, made, output)):
        typer.echo(line, err=True)


def _captured(found: Topology, files: Sequence[str], attribution: Attribution, *, answered: bool) -> Iterator[Seen]:
    for file in files:
        with open_source(file) as source:
            capture = Capture(source)
            yield from seen_in(capture, found.policy, attribution, answered=answered)
            if capture.broken is not None:
                typer.echo(f"{file}: {capture.broken}", err=True)


def _service_grain(text: str) -> ServiceGrain:
    if text not in get_args(ServiceGrain):
        raise InputError([Problem("--services", f"expected port, named or protocol, found {quote(text)}")])
    return cast(ServiceGrain, text)


def _recommended(found: Topology, file: PolicyFile, seen: Iterable[Seen], grain: Grain) -> Recommendation:
    try:
        return recommend(found.policy, file, seen, grain)
    except CapacityError as error:
        raise InputError([Problem(found.policy.file, str(error))]) from error


def _checked(found: Topology, file: PolicyFile, made: Recommendation) -> str:
    """The file with those of the present tests that hold for it. Raises InputError if it is no good otherwise."""
    name = found.policy.file
    whole = made.text(file, name, range(len(file.tests)))
    report = found.check(parse_policy(whole, "the recommended policy"))
    if report.errors:
        raise InputError(report.errors)
    return made.text(file, name, [number for number, outcome in enumerate(report.outcomes) if outcome.passed])


def _told(found: Topology, made: Recommendation, output: Path | None) -> Iterable[str]:
    """What was made of it, for people."""
    where = f" in {output}" if output else ""
    rules = count(len(made.proposals), "rule")
    yield f"{count(made.flows, 'flow')}: {rules}{where}, and {count(len(made.kept), 'deny rule')} kept"
    unused = [f"{rule.id} ({found.policy.file}:{rule.line}, {rule.action})" for rule in made.unused]
    yield from _listed(
        "Look at these before you allow them: many services", [one.id for one in made.proposals if one.is_strange]
    )
    yield from _listed("Never used", unused)
    left = [
        f"{count(one.flows, 'flow')} of {one.source} to {one.target}, {one.service}: {one.why}" for one in made.left_out
    ]
    yield from _listed("Not allowed by the recommended policy", left)


def _listed(title: str, lines: Sequence[Any]) -> Iterable[str]:
    if lines:
        yield f"{title}:"
        yield from (f"  {line}" for line in lines[:MAX_SHOWN])
    if len(lines) > MAX_SHOWN:
        yield f"  and {len(lines) - MAX_SHOWN} more; --json has all"
