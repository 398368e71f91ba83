"""`setup`: how many flows per second a controller sets up, and how long one takes, with a switch that costs nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.processes import stop
from perf import wire
from perf.controllers import allowed_flows, environment, peer, pinned, python, run_program, zethane
from perf.measures import Measure, Turn
from perf.switch import Side
from perf.topology import Place

TIMEOUT = 60.0
"""Seconds that a turn may take."""


@dataclass(frozen=True, slots=True)
class SetupLoad:
    """Flows one at a time, flows at once, and how many of the latter are outstanding."""

    single: int = 2000
    many: int = 15_000
    window: int = 64


class Setups:
    """Turns of the benchmark, each with processes of its own: the controller on one core, the load on the others."""

    name = "setup"
    title = "Flow set-ups, with a fake switch on loopback"
    sides: tuple[Side, ...] = ("zethane", "os-ken", "limit")
    compared: tuple[Side, Side] = ("zethane", "os-ken")
    measures: tuple[Measure, ...] = (
        Measure("rate", "set-ups, many at once", "per second"),
        Measure("p50", "one at a time, p50", "µs"),
        Measure("p99", "one at a time, p99", "µs"),
    )

    def __init__(self, folder: Path, tagged: Mapping[str, str], load: SetupLoad) -> None:
        self.parameters: Mapping[str, Any] = asdict(load)
        self._load = load
        self._folder = folder
        self._tagged = tagged

    def turn(self, side: Side, number: int) -> Turn:
        """Measure one side once. Raises LabError."""
        folder = self._folder / f"setup-{side}-{number}"
        with self._controller(side, folder) as port, pinned(first=False):
            turn = self._generate(side, port)
        if side == "zethane" and (logged := allowed_flows(folder)) != turn["flows"]:
            raise LabError(f"{turn['flows']} flows were set up and {logged} are in the decision log")
        return turn

    @contextmanager
    def _controller(self, side: Side, folder: Path) -> Iterator[int]:
        """One of the controllers, on the first core; its port."""
        with pinned(first=True):
            if side == "zethane":
                with zethane(folder, self._tagged, wire.DPID, places()) as controller:
                    yield int(controller.openflow.rpartition(":")[2])
            elif side == "os-ken":
                with peer(folder, self._tagged, deliver=False) as port:
                    yield port
            else:
                with self._reflector() as port:
                    yield port

    @contextmanager
    def _reflector(self) -> Iterator[int]:
        process = subprocess.Popen(
            python("perf.reflector"), stdout=subprocess.PIPE, text=True, env=environment(self._tagged)
        )
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.strip().isdecimal():
                raise LabError("the reflector did not start")
            yield int(line)
        finally:
            stop(process)

    def _generate(self, side: Side, port: int) -> Turn:
        load = self._load
        options = {
            "--port": port,
            "--side": side,
            "--single": load.single,
            "--many": load.many,
            "--window": load.window,
        }
        command = python("perf.generator", *(part for option in options.items() for part in option))
        told: Turn = json.loads(run_program(command, self._tagged, TIMEOUT))
        return told


def places() -> list[Place]:
    """Where the hosts of the load are."""
    return [
        Place("client" if host.number <= wire.CLIENTS else "server", host.port, host.mac, host.ip)
        for host in wire.stations()
    ]
