"""`./run replay --scenario` and `./run replay --live`."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from attack.view import UNSEEN_WIDTH
from lab.command import EXIT_DONE, EXIT_INPUT, EXIT_NO
from lab.errors import LabError, Terminated
from lab.interrupts import Interrupts
from replay.judge import report
from replay.play import play
from replay.scenario import Scenario, load_scenario, scenario_files
from replay.schema import json_schema
from replay.view import print_verdict
from zethane.errors import InputError, Problem

app = typer.Typer(add_completion=False)


@app.command()
def replay(
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
    try:
        with interrupts.installed():
            scenarios = [load_scenario(file) for file in scenario_files(_required(scenario))]
            status = play_all(scenarios, interrupts, unprotected=unprotected, as_json=as_json)
    except InputError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        status = EXIT_INPUT
    except (LabError, OSError) as error:
        typer.echo(f"The replay stopped: {error}", err=True)
        status = EXIT_NO
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except Terminated as terminated:
        status = 128 + terminated.signum
    raise typer.Exit(status)


def _required(files: list[Path] | None) -> list[Path]:
    """Raises InputError if there is nothing to do."""
    if not files:
        raise InputError([Problem("replay", "expected --live, a capture and a topology, or --scenario and a file")])
    return files


def output() -> Console:
    """Where results go: as wide as the terminal, and wide enough where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=UNSEEN_WIDTH)


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
