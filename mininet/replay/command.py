"""`./run replay --scenario` and `./run replay --live`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from attack.view import output
from lab.command import DEFAULT_TOPOLOGY, load
from lab.ending import EXIT_DONE, EXIT_NO, status_of, tell_problems
from lab.interrupts import Interrupts
from replay.compare import live_view
from replay.judge import report
from replay.live import DEFAULT_PACKETS, DEFAULT_SECONDS, MAX_PACKETS, Order, live
from replay.live_text import print_live
from replay.play import play
from replay.read import load_scenario, scenario_files
from replay.scenario import Scenario
from replay.schema import json_schema
from replay.view import print_verdict
from zethane.app.topology import Topology
from zethane.cli.policy.text import problem_view
from zethane.document import quote
from zethane.errors import InputError, Problem

app = typer.Typer(add_completion=False)


@app.command()
def replay(
    capture: Annotated[str | None, typer.Argument(help="With --live: a pcap or pcapng file, or - for stdin.")] = None,
    topology: Annotated[
        str, typer.Argument(help="With --live: a topology's folder, or a name in topologies/.")
    ] = DEFAULT_TOPOLOGY,
    is_live: Annotated[bool, typer.Option("--live", help="Send the capture's packets from hosts of the lab.")] = False,
    map_file: Annotated[
        Path | None,
        typer.Option("--map", help="YAML: address, prefix or MAC to host:web1, user:alice, segment:web, outside …"),
    ] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(help="For addresses that nothing else knows: 10.0.0.0/8=segment:office, outside. Repeatable."),
    ] = None,
    speed: Annotated[str, typer.Option(help="How many times as fast as captured, or max.")] = "1",
    packets: Annotated[
        int, typer.Option(min=1, max=MAX_PACKETS, help="How many packets are sent at the most.")
    ] = DEFAULT_PACKETS,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="For how long, at the most.")] = DEFAULT_SECONDS,
    scenario: Annotated[
        list[Path] | None,
        typer.Option("--scenario", metavar="FILE", help="Play this scenario, or those in this folder; repeatable."),
    ] = None,
    unprotected: Annotated[
        bool, typer.Option("--unprotected", help="Without Zethane: every scenario has to succeed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a scenario's file.")] = False,
) -> None:
    """Send traffic through the lab and hold what arrives against what should."""
    if schema:
        typer.echo(json.dumps(json_schema(), indent=2))
        raise typer.Exit(EXIT_DONE)
    interrupts = Interrupts()

    def work() -> int:
        with interrupts.installed():
            if is_live:
                order = Order(_given(capture, scenario), map_file, tuple(assume or ()), _speed(speed), packets, seconds)
                return send(order, load(topology), interrupts, as_json=as_json)
            scenarios = [load_scenario(file) for file in scenario_files(_required(scenario))]
            return play_all(scenarios, interrupts, unprotected=unprotected, as_json=as_json)

    raise typer.Exit(status_of(work, "The replay", _tell_json if as_json else tell_problems))


def _tell_json(problems: Sequence[Problem]) -> None:
    """What is wrong with the input, for programs."""
    typer.echo(json.dumps({"errors": [problem_view(problem) for problem in problems]}, indent=1))


def _required(files: list[Path] | None) -> list[Path]:
    """Raises InputError if there is nothing to do."""
    if not files:
        raise InputError([Problem("replay", "expected --live, a capture and a topology, or --scenario and a file")])
    return files


def _given(capture: str | None, scenario: list[Path] | None) -> str:
    """The capture's name. Raises InputError."""
    if capture is None or scenario:
        raise InputError([Problem("--live", "expected a capture and a topology, and no scenario")])
    return capture


def _speed(text: str) -> float | None:
    """How many times as fast; None for as fast as may be. Raises InputError."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.01 <= speed <= 1_000_000:
        raise InputError([Problem("--speed", f"expected max, or a number from 0.01 to 1000000, found {quote(text)}")])
    return speed


def send(order: Order, topology: Topology, interrupts: Interrupts, *, as_json: bool) -> int:
    """Replay a capture in a lab; the exit status."""
    with _status() as status:

        def progress(what: str, done: int, of: int) -> None:
            status.update(f"{topology.folder.name}: {what}{f' {done}/{of}' if of else ''}")

        result = live(order, topology, progress=progress, interrupts=interrupts)
    if as_json:
        typer.echo(json.dumps(live_view(result), indent=1))
    else:
        print_live(output(), result)
    return EXIT_DONE if result.ok else EXIT_NO


def play_all(scenarios: list[Scenario], interrupts: Interrupts, *, unprotected: bool, as_json: bool) -> int:
    """Play one after the other, each in a network of its own; the exit status."""
    console = output()
    verdicts = []
    for one in scenarios:
        with _status() as status:
            verdict = play(one, unprotected=unprotected, progress=status.update, interrupts=interrupts)
        verdicts.append(verdict)
        if not as_json:
            print_verdict(console, verdict)
    if as_json:
        typer.echo(json.dumps({"scenarios": [report(verdict) for verdict in verdicts]}, indent=1))
    return EXIT_DONE if all(verdict.ok for verdict in verdicts) else EXIT_NO


def _status() -> Status:
    """What is going on, on standard error: standard output may be for a program."""
    return Console(stderr=True).status("Reading the files …")
