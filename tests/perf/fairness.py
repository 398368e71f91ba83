"""`fairness`: how long hosts wait for their flows while one port of the same switch floods the controller."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perf import wire
from perf.controllers import pinned, python, run_program, zethane
from perf.measures import Measure, Turn
from perf.setups import places
from perf.switch import Side

TIMEOUT = 60.0
"""Seconds that a turn may take."""


@dataclass(frozen=True, slots=True)
class FairnessLoad:
    """Bystanders' flows and the seconds between them; new flows of a burst and the seconds between bursts."""

    flows: int = 600
    interval: float = 0.003
    burst: int = 500
    every: float = 0.1


class Fairness:
    """Turns of the benchmark: Zethane with and without the flood, each time a process of its own."""

    name = "fairness"
    title = "Flow set-ups of other ports while one port opens 5,000 flows a second in bursts, with a fake switch"
    sides: tuple[Side, ...] = ("flood", "quiet")
    compared: tuple[Side, Side] = ("flood", "quiet")
    measures: tuple[Measure, ...] = (
        Measure("p50", "set-up of a bystander, p50", "µs"),
        Measure("p99", "set-up of a bystander, p99", "µs"),
    )

    def __init__(self, folder: Path, tagged: Mapping[str, str], load: FairnessLoad) -> None:
        self.parameters: Mapping[str, Any] = asdict(load)
        self._load = load
        self._folder = folder
        self._tagged = tagged

    def turn(self, side: Side, number: int) -> Turn:
        """Measure one side once. Raises LabError."""
        load = self._load
        with pinned(first=True):
            controller = zethane(self._folder / f"fairness-{side}-{number}", self._tagged, wire.DPID, places())
            with controller as running, pinned(first=False):
                options = {
                    "--port": running.openflow.rpartition(":")[2],
                    "--flows": load.flows,
                    "--interval": load.interval,
                    "--burst": load.burst if side == "flood" else 0,
                    "--every": load.every,
                }
                command = python("perf.bystander", *(part for option in options.items() for part in option))
                told: Turn = json.loads(run_program(command, self._tagged, TIMEOUT))
                return told
