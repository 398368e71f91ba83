"""`live`: how long the first packet of a new flow takes when many verified flows are live on the switch already.

The flows are TCP connections whose SYN has passed, from 64 sessions to 4. They stay: nothing of them is sent any more,
and no time of theirs runs out within a turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import ClassVar

from lab.errors import LabError
from lab.processes import wait_for
from perf.benchmark import Axis, Benchmark, Measure, Run, Turn, registered
from perf.flow_network import FlowNetwork, Sizes, flow_network
from perf.flows_program import Flows, compile_flows
from perf.goals import at_most, growth
from perf.switched import Control, controlled
from perf.topology import TCP_SERVICE

MANY = 100_000
"""Live flows at which the goal is held against an empty switch."""

HOSTS = Sizes(senders=64, receivers=4, sender_ports=8, receiver_ports=2)
"""So many that no session's quota of flows is used up."""

ATTEMPTS = 4
"""To make flows: on a machine that has much else to do, some packets are lost at the first."""

SETTLING = 20.0
"""Seconds that the last flows may take to be there."""


@dataclass(frozen=True, slots=True)
class LiveLoad:
    """How fast the flows are made, per second; how many set-ups are timed then, and the seconds between two."""

    rate: int = 6_000
    count: int = 500
    interval: float = 0.003


@registered
class LiveFlows(Benchmark):
    """Turns of the benchmark: on the same bridge, each with a new controller and empty tables."""

    name = "live"
    title = "First packets through Open vSwitch, with many flows live already"
    sides: ClassVar = {"zethane": "Zethane"}
    measures = (
        Measure("new_p50", "first packet, p50", "µs"),
        Measure("new_p99", "first packet, p99", "µs"),
    )
    goals = (
        at_most("first packet, p50, at 100,000 live flows", growth("new_p50", "zethane", 0, MANY), 2, "times at none"),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        points: tuple[int, ...] = (
            (0, 10_000, 25_000, 50_000, MANY, 150_000) if run.is_full else (0, 25_000, 50_000, MANY)
        )
        self._load = LiveLoad()
        if run.is_quick:
            points, self._load = (0, MANY), LiveLoad(count=10)
        self.axis = Axis("live", "live flows", points, is_log=False)
        self.parameters = {**asdict(self._load), **asdict(HOSTS)}
        self._is_quick = run.is_quick
        self._network: FlowNetwork

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """The same bridge for all turns. Raises LabError."""
        self._program = compile_flows(self.run.folder)
        with flow_network(self.run.ledger, self.run.interrupts, HOSTS, "l") as self._network:
            yield

    def turn(self, side: str, number: int, point: int) -> Turn:
        """Measure one side once. Raises LabError."""
        load = self._load
        wanted = point // 1000 if self._is_quick else point  # to see that it works, a hundred are enough
        folder = self.run.folder / f"live-{side}-{point}-{number}"
        with controlled(side, self._network, self.run, folder) as control:
            flows = Flows(self._program, self._network, self.run.tagged, TCP_SERVICE)
            flows.first(10, load.interval, tcp=True)  # the controller has seen one before it counts
            fill(flows, control, wanted, load.rate)
            return {**flows.first(load.count, load.interval, tcp=True), "live": control.live_flows}


def fill(flows: Flows, control: Control, wanted: int, rate: int, only: int | None = None) -> None:
    """Make so many more flows, and see that they are live. Raises LabError."""
    if not wanted:
        return
    before, missing = control.live_flows, wanted
    for slower in range(1, ATTEMPTS + 1):
        made = flows.load(rate // slower, missing / (rate // slower), tcp=True, only=only)
        missing -= made.arrived
        if missing <= 0.01 * wanted:
            break
    else:
        raise LabError(f"{wanted - missing} of {wanted} flows were let through")
    wait_for(
        f"{wanted - missing} flows more did not become live",
        lambda: control.live_flows >= before + wanted - missing or None,
        SETTLING,
        lambda: f"There are {control.live_flows}, and were {before}.",
    )
