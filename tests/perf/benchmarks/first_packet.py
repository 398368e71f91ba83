"""`first-packet`: how long the first packet of a flow takes through Open vSwitch, when a controller has to allow it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from perf.controllers import peer, python, run_program, zethane
from perf.network import BenchNetwork, bench_network
from perf.topology import UDP_SERVICE

TIMEOUT = 60.0
"""Seconds that a turn may take."""


@dataclass(frozen=True, slots=True)
class PacketLoad:
    """New flows per turn, and the seconds between two packets."""

    count: int = 300
    interval: float = 0.003


@registered
class FirstPackets(Benchmark):
    """Turns of the benchmark: on the same bridge, each with a new controller and empty tables."""

    name = "first-packet"
    title = "Packets through Open vSwitch, one host to another"
    sides: ClassVar = {"zethane": "Zethane", "os-ken": "os-ken"}
    pairs = (("zethane", "os-ken"),)
    measures = (
        Measure("new_p50", "first packet, p50", "µs"),
        Measure("new_p99", "first packet, p99", "µs"),
        Measure("old_p50", "later packets, p50", "µs"),
        Measure("old_p99", "later packets, p99", "µs"),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = PacketLoad(count=10) if run.is_quick else PacketLoad()
        self.parameters = asdict(self._load)
        self._network: BenchNetwork

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """The same bridge for all turns. Raises LabError."""
        with bench_network(self.run.ledger, self.run.interrupts) as self._network:
            yield

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # no axis
        """Measure one side once. Raises LabError."""
        with self._controlled(side, self.run.folder / f"first-packet-{side}-{number}"):
            return self._probe()

    @contextmanager
    def _controlled(self, side: str, folder: Path) -> Iterator[None]:
        network = self._network
        try:
            if side == "zethane":
                places = [end.place for end in network.ends]
                with zethane(folder, self.run.tagged, network.dpid, places) as controller:
                    network.control(int(controller.openflow.rpartition(":")[2]))
                    controller.wait_switches(["s1"])
                    yield
            else:
                with peer(folder, self.run.tagged, deliver=True) as port:
                    network.control(port)
                    yield
        finally:
            network.release()

    def _probe(self) -> Turn:
        client, server = self._network.ends
        options = {
            "--sender": client.pid,
            "--receiver": server.pid,
            "--src": client.ip,
            "--dst": server.ip,
            "--port": UDP_SERVICE,
            "--count": self._load.count,
            "--interval": self._load.interval,
        }
        command = python("perf.prober", *(part for option in options.items() for part in option))
        told: Turn = json.loads(run_program(command, self.run.tagged, TIMEOUT))
        return told
