"""`./run bench`: the product beside its peers, turn by turn in the same run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lab.errors import LabError, Terminated
from lab.interrupts import Interrupts
from lab.ledger import Ledger
from lab.names import new_run_id
from perf.benchmark import Benchmark, Run, benchmarks, run_rounds
from perf.machine import load, machine, stolen
from perf.measured import read_runs
from perf.model import Scenario
from perf.model_page import page
from perf.pictures import can_draw, draw
from perf.report import Report, show, write_json, write_markdown
from perf.results import Result
from perf.watch import watched

DEFAULT_ROUNDS = 5
MAX_ROUNDS = 100
WIDTH = 200
"""Columns where the output is no terminal: a table with broken rows is of no use in a file."""

EXIT_NO, EXIT_INPUT = 1, 2

app = typer.Typer(add_completion=False)

Progress = Callable[[str], None]


@app.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME …]", help="Which; all without one.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, max=MAX_ROUNDS, help=f"Turns of each side: {DEFAULT_ROUNDS}, quick 1.")
    ] = None,
    is_quick: Annotated[bool, typer.Option("--quick", help="The least load: only to see that it works.")] = False,
    is_full: Annotated[bool, typer.Option("--full", help="All sizes and the whole length: it takes long.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure of every round here.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--pictures", help="Draw how costs grow into this folder; as a rule beside --json.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the tables as a page here.")] = None,
    need_goals: Annotated[bool, typer.Option("--goals", help="Exit status 1 if a goal is missed.")] = False,
    is_model: Annotated[
        bool, typer.Option("--model", help="Reckon the cost of a large site from JSON files that are named instead.")
    ] = False,
    only_list: Annotated[bool, typer.Option("--list", help="Name the benchmarks and their goals.")] = False,
) -> None:
    """Measure Zethane beside others that do the same job, or a part of it."""
    if is_model:
        write_model([Path(name) for name in names or ()], markdown)
        return
    known = benchmarks()
    if unknown := [name for name in names or () if name not in known]:
        typer.echo(f"bench: expected some of {', '.join(known)}, not {unknown[0]!r}", err=True)
        raise typer.Exit(EXIT_INPUT)
    # Before anything is measured, which may take hours.
    if wrong := _wrong(is_quick=is_quick, is_full=is_full, files=(json_file, markdown), folder=folder):
        typer.echo(f"bench: {wrong}", err=True)
        raise typer.Exit(EXIT_INPUT)
    if only_list:
        list_all(list(known.values()))
        return
    if folder is not None and not can_draw():
        typer.echo("bench: no pictures without matplotlib, which ./run bench installs", err=True)
        raise typer.Exit(EXIT_INPUT)
    chosen = [known[name] for name in names or known]
    try:
        report = reported(chosen, rounds or (1 if is_quick else DEFAULT_ROUNDS), is_quick=is_quick, is_full=is_full)
        write(report, json_file, folder, markdown)
    except (LabError, OSError) as error:
        typer.echo(f"bench: {error}", err=True)
        raise typer.Exit(EXIT_NO) from None
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None
    except Terminated as terminated:
        raise typer.Exit(128 + terminated.signum) from None
    console = Console()
    show(console if console.is_terminal else Console(width=WIDTH), report)
    missed = any(not outcome.is_met for result in report.results for outcome in result.outcomes())
    if report.failed or (need_goals and missed):
        raise typer.Exit(EXIT_NO)


def reported(chosen: Sequence[type[Benchmark]], rounds: int, *, is_quick: bool, is_full: bool) -> Report:
    """Run benchmarks; the report tells of the machine, too. Raises LabError."""
    about, stolen_before = machine(), stolen()
    with watched() as lateness:
        report = measure(chosen, rounds, Console(stderr=True).print, is_quick=is_quick, is_full=is_full)
    about |= {"load_after": load(), "stolen_s": round(stolen() - stolen_before, 2), **lateness.told}
    return replace(report, about=about)


def _wrong(*, is_quick: bool, is_full: bool, files: Sequence[Path | None], folder: Path | None) -> str:
    """What is wrong with what was asked for; empty if nothing is."""
    if is_quick and is_full:
        return "expected --quick or --full, not both"
    for file in files:
        if file is not None and (file.is_dir() or not file.parent.is_dir() or not os.access(file.parent, os.W_OK)):
            return f"{file} cannot be written: expected a file in a folder that is there"
    if folder is not None and any(one.exists() and not one.is_dir() for one in (folder, *folder.parents)):
        return f"{folder} cannot be made: expected a folder"
    return ""


def write_model(files: Sequence[Path], markdown: Path | None) -> None:
    """Write the model of cost that follows from runs, or print it."""
    try:
        text = page(read_runs(files), Scenario())
        if markdown is not None:
            markdown.write_text(text, encoding="utf-8")
    except (LabError, OSError) as error:
        typer.echo(f"bench: {error}", err=True)
        raise typer.Exit(EXIT_INPUT) from None
    if markdown is None:
        typer.echo(text)


def list_all(known: Sequence[type[Benchmark]]) -> None:
    """Print what there is, and the goals of a run without options."""
    run = Run(Ledger(new_run_id()), Interrupts())  # of which nothing is made
    for benchmark in (kind(run) for kind in known):
        typer.echo(f"{benchmark.name}: {benchmark.title}")
        for goal in benchmark.goals:
            typer.echo(f"    goal: {goal.text} {goal.wanted}")


def measure(
    chosen: Sequence[type[Benchmark]], rounds: int, progress: Progress, *, is_quick: bool = False, is_full: bool = False
) -> Report:
    """Run benchmarks; what they made on the machine is gone afterwards. One that fails does not keep others from it."""
    interrupts = Interrupts()
    results: list[Result] = []
    failed: dict[str, str] = {}
    with interrupts.installed(), _ledger(interrupts, failed) as ledger:
        progress(f"run {ledger.run_id}")
        run = Run(ledger, interrupts, is_quick=is_quick, is_full=is_full)
        for kind in chosen:
            try:
                benchmark = kind(run)
                result = Result(benchmark)
                results.append(result)
                with benchmark.prepared():
                    run_rounds(benchmark, rounds, progress, result.add)
            # ValueError: what a program has told is no JSON, or has no figures.
            except (LabError, OSError, ValueError) as error:  # noqa: PERF203  # each takes a minute
                failed[kind.name] = str(error)
                progress(f"{kind.name}: FAILED: {error}")
    return Report(results, failed, {}, rounds, is_quick)


def write(report: Report, json_file: Path | None, folder: Path | None, markdown: Path | None) -> None:
    """Write the files that were asked for. Raises OSError."""
    if json_file is not None:
        write_json(json_file, report)
    beside = markdown or json_file
    if folder is None and beside is not None and can_draw():
        folder = beside.parent
    pictures = [] if folder is None else draw(report.results, folder)
    if markdown is not None:
        write_markdown(markdown, report, pictures)


@contextmanager
def _ledger(interrupts: Interrupts, failed: dict[str, str]) -> Iterator[Ledger]:
    """The record of the run, and its end: Ctrl-C included. What cannot be taken down does not cost the figures."""
    with interrupts.shielded():
        ledger = Ledger.open_new()
    try:
        yield ledger
    finally:
        with interrupts.ignored():
            left = ledger.take_down()
        if left:
            failed[f"taking down run {ledger.run_id}"] = "; ".join(left)
