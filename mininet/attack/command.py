"""`./run attack`: attacks on a running network, watched with captures, and what came of them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from attack.arena import Arena
from attack.cast import Cast, choose
from attack.runner import Result, run_scenario
from attack.scenario import NotHereError, Scenario
from attack.scenarios import ATTACKS
from attack.view import output, print_results, print_summary, report, scenarios_table
from lab.command import load, require_writable
from lab.ending import EXIT_DONE, EXIT_NO, status_of
from lab.granted import ENFORCE_HELP, Enforce, enforced_by
from lab.interrupts import Interrupts
from lab.network import LabNetwork
from lab.progress import bar_of
from zethane.app.topology import Topology
from zethane.errors import InputError, Problem

DEFAULT_TOPOLOGY = "campus"
"""Several switches, and both IP versions on every host."""

app = typer.Typer(add_completion=False)


@app.command()
def attack(
    topology: Annotated[str, typer.Argument(help="A topology's folder, or a name in topologies/.")] = DEFAULT_TOPOLOGY,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="This attack; repeatable.")] = None,
    group: Annotated[list[str] | None, typer.Option("--group", help="The attacks of a group; repeatable.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The attacks that take no time.")] = False,
    unprotected: Annotated[
        bool,
        typer.Option("--unprotected", help="Without Zethane: every attack has to succeed, else it proves nothing."),
    ] = False,
    enforce: Annotated[Enforce, typer.Option("--enforce", help=ENFORCE_HELP)] = "flow",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results here.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show the attacks and try none.")] = False,
) -> None:
    """Attack a network from its hosts; exit status 0 only if nothing got through."""
    console = output()
    interrupts = Interrupts()

    def work() -> int:
        with interrupts.installed():
            scenarios = _select(only or (), group or (), quick=quick)
            if listing:
                console.print(scenarios_table(scenarios))
                return EXIT_DONE
            if json_file is not None:
                require_writable(json_file)
            with enforced_by(load(topology), enforce) as attacked:
                return Run(console, interrupts, attacked, json_file, unprotected=unprotected).go(scenarios)

    raise typer.Exit(status_of(work, "The attacks"))


def _select(only: Sequence[str], groups: Sequence[str], *, quick: bool) -> list[Scenario]:
    """The scenarios asked for. Raises InputError."""
    try:
        selected = ATTACKS.select(only, groups, quick=quick)
    except LookupError as error:
        raise InputError([Problem("attack", str(error.args[0]))]) from None
    if not selected:
        raise InputError([Problem("attack", "none of these attacks is quick")])
    return selected


def _cast(topology: Topology) -> Cast:
    """Who plays which part. Raises InputError for a topology in which nothing can be attacked."""
    try:
        return choose(topology)
    except NotHereError as missing:
        raise InputError([Problem(str(topology.folder), f"nothing to attack here: {missing}")]) from None


class Run:
    """One network, and attacks on it one after the other."""

    def __init__(
        self, console: Console, interrupts: Interrupts, topology: Topology, json_file: Path | None, *, unprotected: bool
    ) -> None:
        self._console = console
        self._interrupts = interrupts
        self._topology = topology
        self._json_file = json_file
        self._protected = not unprotected
        self._cast = _cast(topology)

    def go(self, scenarios: Sequence[Scenario]) -> int:
        """Build, attack, show; the exit status."""
        started = time.monotonic()
        results = self._attack(scenarios)
        print_results(self._console, results, protected=self._protected)
        self._console.print()
        print_summary(self._console, results, time.monotonic() - started, protected=self._protected)
        if self._json_file is not None:
            told = report(results, self._topology.folder.name, protected=self._protected)
            self._json_file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        good = all(result.as_wanted(protected=self._protected) for result in results)
        return EXIT_DONE if good else EXIT_NO

    def _attack(self, scenarios: Sequence[Scenario]) -> list[Result]:
        assert self._topology.network is not None  # noqa: S101 - go() has looked
        how = "" if self._protected else ", without Zethane"
        with bar_of(self._console) as bar:
            task = bar.add_task(f"{self._topology.folder.name}: building the network{how}", total=len(scenarios))
            results = []
            with self._network() as network, Arena(network, self._topology, self._cast) as arena:
                for scenario in scenarios:
                    bar.update(task, description=scenario.name)
                    results.append(run_scenario(arena, scenario))
                    bar.advance(task)
                bar.update(task, description=f"{self._topology.folder.name}: taking the network down")
            bar.update(task, description=f"{self._topology.folder.name}{how}")
        return results

    def _network(self) -> LabNetwork:
        assert self._topology.network is not None  # noqa: S101 - go() has looked
        return LabNetwork(
            self._topology.network,
            self._topology.folder,
            unprotected=not self._protected,
            interrupts=self._interrupts,
        )
