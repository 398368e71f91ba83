"""`./run lab`: build a topology, log its hosts in, measure it and hold it against its policy."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from lab.ending import EXIT_DONE, EXIT_INPUT, EXIT_NO, tell_problems
from lab.errors import LabError, Terminated
from lab.granted import ENFORCE_HELP, Enforce, enforced_by
from lab.host import RunningHost
from lab.interrupts import Interrupts
from lab.ledger import Ledger
from lab.login import LoginResult, login_all
from lab.network import PORTAL, LabNetwork
from lab.prober import Prober
from lab.processes import tail
from lab.progress import bar_of
from lab.prompt import LabPrompt
from lab.tables import logins_table, table
from lab.verdicts import Address, Verdict, report
from lab.view import OUTSIDE, matrix_view, mismatch_line, mismatch_text, print_summary
from zethane.app.topology import Topology, load_topology
from zethane.document import count
from zethane.errors import InputError, Problem
from zethane.policy.decide import decide_service
from zethane.policy.explain import explain
from zethane.policy.matrix import Cell, matrix, services_of
from zethane.policy.principal import External, Parties, Principal

TOPOLOGIES = Path(__file__).resolve().parents[2] / "topologies"
DEFAULT_TOPOLOGY = "three-tier"

EXPLAINED = 12
"""Mismatches that are shown with their whole reason."""

app = typer.Typer(add_completion=False)


@app.command()
def lab(
    topology: Annotated[str, typer.Argument(help="A topology's folder, or a name in topologies/.")] = DEFAULT_TOPOLOGY,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the cells and the summary here.")] = None,
    cli: Annotated[bool, typer.Option("--cli", help="Open Mininet's prompt afterwards.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show every step, and the controller's log.")] = False,
    unprotected: Annotated[bool, typer.Option("--unprotected", help="Do without Zethane: what passes then?")] = False,
    enforce: Annotated[Enforce, typer.Option("--enforce", help=ENFORCE_HELP)] = "flow",
    down: Annotated[str | None, typer.Option("--down", metavar="ID", help="Take a kept run down.")] = None,
) -> None:
    """Build a network, log every host in, probe every pair on every service, compare with the policy."""
    console = Console()
    interrupts = Interrupts()
    try:
        with interrupts.installed():
            if down is not None:
                status = take_down(console, down)
            else:
                if json_file is not None:
                    require_writable(json_file)
                _require_kept(keep=keep, enforce=enforce)
                with enforced_by(load(topology), enforce) as running:
                    run = Run(console, interrupts, running, json_file, verbose=verbose)
                    status = run.go(cli=cli, keep=keep, unprotected=unprotected)
    except InputError as error:
        tell_problems(error.problems)
        status = EXIT_INPUT
    except (LabError, OSError) as error:
        Console(stderr=True).print(f"[bold red]The lab stopped:[/] {_plain(error)}", highlight=False)
        status = EXIT_NO
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except Terminated as terminated:
        status = 128 + terminated.signum
    raise typer.Exit(status)


def _require_kept(*, keep: bool, enforce: Enforce) -> None:
    """Raises InputError for a network that would go on without its policy."""
    if keep and enforce != "flow":
        message = "expected --enforce flow with --keep: the policy with grants is gone at the end"
        raise InputError([Problem("lab", message)])


def _plain(error: Exception) -> str:
    """An error's text with no meaning for rich's markup."""
    return str(error).replace("[", "\\[")


def load(name: str) -> Topology:
    """The topology in a folder, or the shipped one of that name. Raises InputError, also for a failed check."""
    folder = Path(name)
    if not folder.is_dir() and (TOPOLOGIES / name).is_dir():
        folder = TOPOLOGIES / name
    topology = load_topology(folder)
    errors = topology.check().errors
    if errors:
        raise InputError(errors)
    return topology


def require_writable(file: Path) -> None:
    """Raises InputError before minutes are spent on a result that nobody can have."""
    folder = file.absolute().parent
    if file.is_dir() or not os.access(folder, os.W_OK):
        raise InputError([Problem(str(file), "expected a file in a folder that is there and can be written to")])


def take_down(console: Console, run_id: str) -> int:
    """Take an earlier run down."""
    failed = Ledger.open_old(run_id).take_down()
    if failed:
        raise LabError(f"run {run_id} is not down completely: {'; '.join(failed)}")
    console.print(f"Run {run_id} is down.")
    return EXIT_DONE


class Run:
    """One run of the lab, from the network to the verdict."""

    def __init__(
        self, console: Console, interrupts: Interrupts, topology: Topology, json_file: Path | None, *, verbose: bool
    ) -> None:
        self._console = console
        self._interrupts = interrupts
        self._topology = topology
        self._json_file = json_file
        self._verbose = verbose
        self._failures: dict[str, LabError] = {}
        self._now = time.time()

    def go(self, *, cli: bool, keep: bool, unprotected: bool) -> int:
        """Build, log in, measure, show; the exit status."""
        if self._topology.network is None or not self._topology.hosts:
            raise LabError(f"{self._topology.folder} has no hosts: there is nothing to build")
        with (
            self._console.status("Building the network …") as status,
            self._network(status, unprotected=unprotected) as network,
        ):
            status.stop()
            if network.started_daemons:
                self._console.print("Open vSwitch was not running; it is now.")
            logins = [] if unprotected else self._log_in(network)
            started = time.monotonic()
            verdicts = self._measure(network)
            self._show(verdicts, logins, time.monotonic() - started)
            if self._verbose and network.controller:
                self._console.print(tail(network.controller.log), markup=False)
            if cli:
                self._prompt(network)
            if keep:
                network.keep()
                self._tell_how_to_reach(network)
        good = not self._failures and not any(verdict.mismatch for verdict in verdicts)
        return EXIT_DONE if good else EXIT_NO

    def _network(self, status: Status, *, unprotected: bool) -> LabNetwork:
        network = self._topology.network
        assert network is not None  # noqa: S101 - go() has looked
        counts = {"switch": network.switches, "host": network.hosts, "link": network.links, "uplink": network.uplinks}
        text = ", ".join(count(len(listed), noun) for noun, listed in counts.items() if listed)
        self._console.print(f"[bold]{self._topology.folder.name}[/]: {text}")

        def progress(step: str) -> None:
            status.update(f"Building the network: {step}")
            self._step(step)

        return LabNetwork(
            network,
            self._topology.folder,
            unprotected=unprotected,
            interrupts=self._interrupts,
            progress=progress,
        )

    def _step(self, text: str) -> None:
        if self._verbose:
            self._console.log(text)

    def _log_in(self, network: LabNetwork) -> list[LoginResult]:
        self._step("starting the controller")
        with self._console.status("Starting the controller …"):
            controller = network.start_controller()
        self._console.print(f"The controller listens at {controller.openflow}; every switch is connected.")
        self._step("starting the portal")
        with self._console.status("Starting the portal …"):
            network.start_portal()
        self._console.print(f"The portal is at {', '.join(network.portal_urls)}.")
        self._step("logging in")
        hosts = [host for host in network.hosts.values() if host.login]
        with bar_of(self._console) as bar:
            task = bar.add_task("Logging in", total=len(hosts))

            def done(host: RunningHost, result: LoginResult | LabError) -> None:
                bar.advance(task)
                if isinstance(result, LabError):
                    self._failures[host.name] = result

            results = login_all(hosts, network.login_host, done)
        self._console.print(logins_table(self._topology.hosts, results, self._failures))
        self._tell_failures()
        return results

    def _tell_failures(self) -> None:
        for failure in self._failures.values():
            self._console.print(f"[bold red]Login failed:[/] {_plain(failure)}", highlight=False)

    def _measure(self, network: LabNetwork) -> list[Verdict]:
        self._step("probing")
        self._now = time.time()
        cells = matrix(self._topology.policy, self._topology.parties(self._now), self._now)
        hosts = [host for name, host in (network.hosts | network.outside).items() if name != PORTAL]
        with Prober(hosts, services_of(self._topology.policy), self._concerns) as prober, bar_of(self._console) as bar:
            task = bar.add_task("Probing", total=prober.count(cells))
            return prober.measure(cells, lambda: bar.advance(task))

    def _concerns(self, cell: Cell, source: Address, target: Address) -> bool:
        """Whether the decision for these addresses is the cell's: something outside may have several in different
        networks, and a cell is allowed only if all of them are; a host's cell is about its first address."""
        ends = tuple(self._topology.party(name, self._now) for name in (cell.source, cell.target))
        one, other = map(_at, ends, (source, target))
        if ends == (one, other):
            return True
        decided = decide_service(self._topology.policy, one, other, cell.service, self._now)
        return decided.allowed == cell.decision.allowed

    def _show(self, verdicts: Sequence[Verdict], logins: Sequence[LoginResult], seconds: float) -> None:
        segments = self._segments() | {result.host: result.segment for result in logins}
        self._console.print(matrix_view(verdicts, list(self._topology.parties()), segments, self._console.width))
        self._console.print()
        self._show_mismatches([verdict for verdict in verdicts if verdict.mismatch])
        print_summary(self._console, verdicts, seconds)
        if self._failures:
            names = ", ".join(self._failures)
            self._console.print(f"[bold red]{count(len(self._failures), 'login')} failed: {names}")
        if self._json_file is not None:
            self._json_file.write_text(json.dumps(report(verdicts), indent=1) + "\n", encoding="utf-8")

    def _segments(self) -> dict[str, str]:
        """The segment that the policy has for every host that can log in."""
        principals = self._topology.principals().items()
        segments_of = self._topology.policy.segments_of
        inside = {name: segments_of(principal)[0] for name, principal in principals if principal}
        return inside | dict.fromkeys(self._topology.external_hosts, OUTSIDE)

    def _show_mismatches(self, mismatches: Sequence[Verdict]) -> None:
        """The first with their whole reason, the others in a line each."""
        for verdict in mismatches[:EXPLAINED]:
            cell = verdict.cell
            ends = self._topology.party(cell.source, self._now), self._topology.party(cell.target, self._now)
            reason = explain(self._topology.policy, *ends, cell.service, self._now)
            self._console.print(mismatch_text(verdict, reason))
        for verdict in mismatches[EXPLAINED:]:
            self._console.print(mismatch_line(verdict), markup=False, highlight=False)

    def _prompt(self, network: LabNetwork) -> None:
        self._console.print("Mininet's prompt; help lists the commands, exit takes the lab down.")
        LabPrompt(network)

    def _tell_how_to_reach(self, network: LabNetwork) -> None:
        run_id = network.ledger.run_id
        self._console.print(f"\nRun [bold]{run_id}[/] goes on. Take it down with: ./run lab --down {run_id}")
        if network.controller:
            self._console.print(f"Controller: export ZETHANE_SOCKET={network.controller.socket}", soft_wrap=True)
            self._console.print(f"Log:        {network.controller.decisions}", soft_wrap=True)
        shells = table("host", "a shell in it")
        for name, keeper in network.keepers.items():
            shells.add_row(name, f"mnexec -a {keeper.pid} bash")
        self._console.print(shells)


def _at(party: Parties, address: Address) -> Parties:
    """Who is at one of the addresses of a host, or what is outside there."""
    if isinstance(party, tuple):
        return External(address)
    return replace(party, address=address) if isinstance(party, Principal) else party
