"""`first-packet`: how long the first packet of a flow takes through Open vSwitch, when a controller has to allow it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perf.controllers import peer, python, run_program, zethane
from perf.measures import Measure, Turn
from perf.network import BenchNetwork
from perf.switch import Side
from perf.topology import UDP_SERVICE

TIMEOUT = 60.0
"""Seconds that a turn may take."""


@dataclass(frozen=True, slots=True)
class PacketLoad:
    """New flows per turn, and the seconds between two packets."""

    count: int = 300
    interval: float = 0.003


class FirstPackets:
    """Turns of the benchmark: on the same bridge, each with a new controller and empty tables."""

    name = "first-packet"
    title = "Packets through Open vSwitch, one host to another"
    sides: tuple[Side, ...] = ("zethane", "os-ken")
    compared: tuple[Side, Side] = ("zethane", "os-ken")
    measures: tuple[Measure, ...] = (
        Measure("new_p50", "first packet, p50", "µs"),
        Measure("new_p99", "first packet, p99", "µs"),
        Measure("old_p50", "later packets, p50", "µs"),
        Measure("old_p99", "later packets, p99", "µs"),
    )

    def __init__(self, folder: Path, tagged: Mapping[str, str], network: BenchNetwork, load: PacketLoad) -> None:
        self.parameters: Mapping[str, Any] = asdict(load)
        self._load = load
        self._folder = folder
        self._tagged = tagged
        self._network = network

    def turn(self, side: Side, number: int) -> Turn:
        """Measure one side once. Raises LabError."""
        with self._controlled(side, self._folder / f"first-packet-{side}-{number}"):
            return self._probe()

    @contextmanager
    def _controlled(self, side: Side, folder: Path) -> Iterator[None]:
        network = self._network
        try:
            if side == "zethane":
                places = [end.place for end in network.ends]
                with zethane(folder, self._tagged, network.dpid, places) as controller:
                    network.control(int(controller.openflow.rpartition(":")[2]))
                    controller.wait_switches(["s1"])
                    yield
            else:
                with peer(folder, self._tagged, deliver=True) as port:
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
        told: Turn = json.loads(run_program(command, self._tagged, TIMEOUT))
        return told
