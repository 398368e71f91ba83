"""`fairness`: how long hosts wait for their flows while one port of the same switch floods the controller."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import ClassVar

from perf import wire
from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from perf.controllers import pinned, python, run_program, zethane
from perf.goals import TIMES, at_most, ratio
from perf.topology import places

TIMEOUT = 60.0
"""Seconds that a turn may take."""


@dataclass(frozen=True, slots=True)
class FairnessLoad:
    """Bystanders' flows and the seconds between them; new flows of a burst and the seconds between bursts."""

    flows: int = 600
    interval: float = 0.003
    burst: int = 500
    every: float = 0.1


@registered
class Fairness(Benchmark):
    """Turns of the benchmark: Zethane with and without the flood, each time a process of its own."""

    name = "fairness"
    title = "Flow set-ups of other ports while one port opens 5,000 flows a second in bursts, with a fake switch"
    sides: ClassVar = {"flood": "one port floods", "quiet": "quiet"}
    pairs = (("flood", "quiet"),)
    measures = (
        Measure("p50", "set-up of a bystander, p50", "µs"),
        Measure("p99", "set-up of a bystander, p99", "µs"),
    )

    goals = (at_most("p99 of other ports while one floods, flood / quiet", ratio("p99", "flood", "quiet"), 2, TIMES),)

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = FairnessLoad(flows=20, burst=50) if run.is_quick else FairnessLoad()
        self.parameters = asdict(self._load)

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # no axis
        """Measure one side once. Raises LabError."""
        load = self._load
        with pinned(first=True):
            controller = zethane(self.run.folder / f"fairness-{side}-{number}", self.run.tagged, wire.DPID, places())
            with controller as running, pinned(first=False):
                options = {
                    "--port": running.openflow.rpartition(":")[2],
                    "--flows": load.flows,
                    "--interval": load.interval,
                    "--burst": load.burst if side == "flood" else 0,
                    "--every": load.every,
                }
                command = python("perf.bystander", *(part for option in options.items() for part in option))
                told: Turn = json.loads(run_program(command, self.run.tagged, TIMEOUT).splitlines()[-1])
                return told
