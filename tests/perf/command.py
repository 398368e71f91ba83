"""`./run bench`: Zethane and a minimal os-ken application, turn by turn in the same run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lab.errors import LabError, Terminated
from lab.interrupts import Interrupts
from lab.ledger import Ledger
from perf.fairness import Fairness, FairnessLoad
from perf.first_packets import FirstPackets, PacketLoad
from perf.machine import machine
from perf.measures import Result, run_rounds
from perf.network import bench_network
from perf.policies import LargePolicy, PolicyChanges, PolicyLoad
from perf.replays import ReplayLoad, Replays
from perf.report import show, write_json
from perf.setups import SetupLoad, Setups

NAMES = ("setup", "fairness", "first-packet", "replay", "policy")
DEFAULT_ROUNDS = 5
MAX_ROUNDS = 100
WIDTH = 140
"""Columns where the output is no terminal: a table with broken rows is of no use in a file."""

EXIT_NO, EXIT_INPUT = 1, 2

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class Loads:
    """How much each benchmark does in a turn."""

    setup: SetupLoad = field(default_factory=SetupLoad)
    fairness: FairnessLoad = field(default_factory=FairnessLoad)
    packets: PacketLoad = field(default_factory=PacketLoad)
    replay: ReplayLoad = field(default_factory=ReplayLoad)
    policy: PolicyLoad = field(default_factory=PolicyLoad)


@app.command()
def bench(
    name: Annotated[str | None, typer.Argument(help=f"{', '.join(NAMES)}; all without it.")] = None,
    rounds: Annotated[int, typer.Option(min=1, max=MAX_ROUNDS, help="Turns of each side.")] = DEFAULT_ROUNDS,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure here.")] = None,
) -> None:
    """Measure Zethane beside a minimal os-ken application, and its replay beside scapy."""
    if name is not None and name not in NAMES:
        typer.echo(f"bench: expected one of {', '.join(NAMES)}, not {name!r}", err=True)
        raise typer.Exit(EXIT_INPUT)
    about = machine()
    try:
        results = measure((name,) if name else NAMES, rounds, Loads(), Console(stderr=True).print)
        if json_file is not None:
            write_json(json_file, results, about, rounds)
    except (LabError, OSError) as error:
        typer.echo(f"bench: {error}", err=True)
        raise typer.Exit(EXIT_NO) from None
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None
    except Terminated as terminated:
        raise typer.Exit(128 + terminated.signum) from None
    console = Console()
    show(console if console.is_terminal else Console(width=WIDTH), results, about, rounds)


def measure(names: Sequence[str], rounds: int, loads: Loads, progress: Callable[[str], None]) -> list[Result]:
    """Run the benchmarks of these names; what they made on the machine is gone afterwards. Raises LabError."""
    interrupts = Interrupts()
    with interrupts.installed(), _ledger(interrupts) as ledger:
        progress(f"run {ledger.run_id}")
        results = []
        if "setup" in names:
            results.append(run_rounds(Setups(ledger.directory, ledger.environment, loads.setup), rounds, progress))
        if "fairness" in names:
            fairness = Fairness(ledger.directory, ledger.environment, loads.fairness)
            results.append(run_rounds(fairness, rounds, progress))
        if "first-packet" in names:
            with bench_network(ledger, interrupts) as network:
                packets = FirstPackets(ledger.directory, ledger.environment, network, loads.packets)
                results.append(run_rounds(packets, rounds, progress))
        if "replay" in names:
            replays = Replays(ledger.directory, ledger.environment, loads.replay)
            results.append(run_rounds(replays, rounds, progress))
        if "policy" in names:
            results.append(run_rounds(PolicyChanges(loads.policy), rounds, progress))
            results.append(run_rounds(LargePolicy(loads.policy), rounds, progress))
        return results


@contextmanager
def _ledger(interrupts: Interrupts) -> Iterator[Ledger]:
    """The record of the run, and its end: Ctrl-C included."""
    with interrupts.shielded():
        ledger = Ledger.open_new()
    failed: list[str] = []
    try:
        yield ledger
    finally:
        with interrupts.ignored():
            failed = ledger.take_down()
    if failed:
        raise LabError(f"run {ledger.run_id} is not down completely: {'; '.join(failed)}")
