"""`setup`: how many flows per second a controller sets up, and how long one takes, with a switch that costs nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from lab.errors import LabError
from lab.processes import stop
from perf import wire
from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from perf.controllers import allowed_flows, environment, peer, pinned, python, run_program, zethane
from perf.topology import places

TIMEOUT = 60.0
"""Seconds that a turn may take."""


@dataclass(frozen=True, slots=True)
class SetupLoad:
    """Flows one at a time, flows at once, and how many of the latter are outstanding."""

    single: int = 2000
    many: int = 15_000
    window: int = 64


@registered
class Setups(Benchmark):
    """Turns of the benchmark, each with processes of its own: the controller on one core, the load on the others."""

    name = "setup"
    title = "Flow set-ups, with a fake switch on loopback"
    sides: ClassVar = {"zethane": "Zethane", "os-ken": "os-ken", "limit": "generator alone"}
    pairs = (("zethane", "os-ken"),)
    measures = (
        Measure("rate", "set-ups, many at once", "per second"),
        Measure("p50", "one at a time, p50", "µs"),
        Measure("p99", "one at a time, p99", "µs"),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = SetupLoad(single=20, many=200, window=8) if run.is_quick else SetupLoad()
        self.parameters = asdict(self._load)

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # no axis
        """Measure one side once. Raises LabError."""
        folder = self.run.folder / f"setup-{side}-{number}"
        with self._controller(side, folder) as port, pinned(first=False):
            turn = self._generate(side, port)
        if side == "zethane" and (logged := allowed_flows(folder)) != turn["flows"]:
            raise LabError(f"{turn['flows']} flows were set up and {logged} are in the decision log")
        return turn

    @contextmanager
    def _controller(self, side: str, folder: Path) -> Iterator[int]:
        """One of the controllers, on the first core; its port."""
        with pinned(first=True):
            if side == "zethane":
                with zethane(folder, self.run.tagged, wire.DPID, places()) as controller:
                    yield int(controller.openflow.rpartition(":")[2])
            elif side == "os-ken":
                with peer(folder, self.run.tagged, deliver=False) as port:
                    yield port
            else:
                with self._reflector() as port:
                    yield port

    @contextmanager
    def _reflector(self) -> Iterator[int]:
        process = subprocess.Popen(
            python("perf.reflector"), stdout=subprocess.PIPE, text=True, env=environment(self.run.tagged)
        )
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.strip().isdecimal():
                raise LabError("the reflector did not start")
            yield int(line)
        finally:
            stop(process)

    def _generate(self, side: str, port: int) -> Turn:
        load = self._load
        options = {
            "--port": port,
            "--side": side,
            "--single": load.single,
            "--many": load.many,
            "--window": load.window,
        }
        command = python("perf.generator", *(part for option in options.items() for part in option))
        told: Turn = json.loads(run_program(command, self.run.tagged, TIMEOUT))
        return told
