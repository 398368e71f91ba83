"""`first-packet`: how long the first packet of a flow takes through Open vSwitch, when a controller has to allow it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import ClassVar

from lab.shell import run
from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from perf.flow_network import FlowNetwork, Sizes, flow_network
from perf.flows_program import Flows, compile_flows
from perf.goals import at_most, ratio
from perf.switched import controlled
from perf.topology import UDP_SERVICE


@dataclass(frozen=True, slots=True)
class PacketLoad:
    """New flows per turn, and the seconds between two packets."""

    count: int = 1000
    interval: float = 0.003


@registered
class FirstPackets(Benchmark):
    """Turns of the benchmark: on the same bridge, each with a new controller and empty tables."""

    name = "first-packet"
    title = "Packets through Open vSwitch, one host to another"
    sides: ClassVar = {
        "zethane": "Zethane",
        "testcontroller": "ovs-testcontroller",
        "same-job": "os-ken, same job",
        "os-ken": "os-ken, minimal",
        "normal": "Open vSwitch alone",
    }
    pairs = (("zethane", "testcontroller"), ("zethane", "same-job"))
    measures = (
        Measure("new_p50", "first packet, p50", "µs"),
        Measure("new_p99", "first packet, p99", "µs"),
        Measure("old_p50", "later packets, p50", "µs"),
        Measure("old_p99", "later packets, p99", "µs"),
    )
    goals = (
        at_most("first packet, p50", ratio("new_p50", "zethane", "testcontroller"), 1.2, "times ovs-testcontroller"),
        at_most("first packet, p99", ratio("new_p99", "zethane", "testcontroller"), 1.5, "times ovs-testcontroller"),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = PacketLoad(count=10) if run.is_quick else PacketLoad()
        self.parameters = asdict(self._load)
        self._network: FlowNetwork

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """The same bridge for all turns. Raises LabError."""
        self._program = compile_flows(self.run.folder)
        with flow_network(self.run.ledger, self.run.interrupts, Sizes(1, 1, 1, 1), "f") as self._network:
            yield

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # no axis
        """Measure one side once. Raises LabError."""
        with controlled(side, self._network, self.run, self.run.folder / f"first-packet-{side}-{number}"):
            # What the daemon has cached for the side before is translated anew until it has aged.
            run(["ovs-appctl", "revalidator/purge"])
            flows = Flows(self._program, self._network, self.run.tagged, UDP_SERVICE)
            return flows.first(self._load.count, self._load.interval, hello=True)
