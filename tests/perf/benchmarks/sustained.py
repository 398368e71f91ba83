"""`sustained`: new flows at a steady rate through Open vSwitch, and the highest rate that holds.

A flow is one UDP datagram that no entry takes, from one of many hosts to one of a few. It is delivered if it comes out
within half a second of being sent.

The steady rate comes first, on a switch that has done nothing before, so that what the search overloads does not cost
it anything. The search begins when the entries of those flows have gone, or after a while. Within the ten seconds of a
run without `--full` few of the flows end; within its minute as many end as begin.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import monotonic, sleep
from typing import ClassVar

from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from perf.flow_network import FlowNetwork, Sizes, flow_network
from perf.flows_program import Flows, Load, compile_flows
from perf.goals import at_least, median_of, ratio
from perf.switched import controlled
from perf.topology import UDP_SERVICE

SHARE = 0.999
"""Of the packets that have to be delivered for a rate to hold."""

LEFT = 1000
"""Entries of flows that have not ended yet, with which a switch is at rest."""


@dataclass(frozen=True, slots=True)
class Sustained:
    """The rate that is tried for long, and the search for the highest: per second, and in seconds.

    The search doubles the rate from the lowest on until it does not hold, and then halves the gap so many times.
    """

    rate: int = 10_000
    seconds: float = 10.0
    lowest: int = 1000
    highest: int = 64_000
    step_seconds: float = 1.5
    halvings: int = 3
    pause: float = 0.5
    rest: float = 20.0
    """At the most, between the two."""


HOSTS = Sizes(senders=80, receivers=4, sender_ports=16, receiver_ports=4)
"""So many that neither a session's quota of flows nor a port's meter is what is measured."""


@registered
class SustainedFlows(Benchmark):
    """Turns of the benchmark: on the same bridge, each with a new controller and empty tables."""

    name = "sustained"
    title = "New flows through Open vSwitch, at a steady rate"
    sides: ClassVar = {
        "zethane": "Zethane",
        "testcontroller": "ovs-testcontroller",
        "same-job": "os-ken, same job",
        "normal": "generator alone, Open vSwitch by itself",
    }
    pairs = (("zethane", "testcontroller"), ("zethane", "same-job"))
    measures = (
        Measure("delivered", "delivered in time at 10,000 per second", "%", digits=3),
        Measure("p50", "first packet at 10,000 per second, p50", "µs"),
        Measure("p99", "first packet at 10,000 per second, p99", "µs"),
        Measure("highest", "highest rate that holds", "per second"),
    )
    goals = (
        at_least("new flows delivered at 10,000 per second", median_of("delivered", "zethane"), 100 * SHARE, "%"),
        at_least("highest rate of new flows that holds", median_of("highest", "zethane"), 10_000, "per second"),
        at_least("highest rate of new flows", ratio("highest", "zethane", "same-job"), 5, "times os-ken, same job"),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = Sustained(seconds=60.0, step_seconds=5.0) if run.is_full else Sustained()
        if run.is_quick:
            self._load = Sustained(500, 0.2, 200, 400, 0.2, 1, 0.1, 0.1)
        self.parameters = {**asdict(self._load), **asdict(HOSTS)}
        self._network: FlowNetwork

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """The same bridge for all turns. Raises LabError."""
        self._program = compile_flows(self.run.folder)
        with flow_network(self.run.ledger, self.run.interrupts, HOSTS, "n") as self._network:
            yield

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # no axis
        """Measure one side once. Raises LabError."""
        load = self._load
        with controlled(side, self._network, self.run, self.run.folder / f"sustained-{side}-{number}"):
            flows = Flows(self._program, self._network, self.run.tagged, UDP_SERVICE)
            flows.first(len(self._network.senders), 0.001, hello=True)
            before = self._network.entries
            long = flows.load(load.rate, load.seconds)
            self._rest(before)
            highest = self._search(flows)
        return {"delivered": 100 * long.delivered, "highest": highest, **_times(long)}

    def _rest(self, entries: int) -> None:
        """Until the switch has hardly more entries than it had."""
        end = monotonic() + self._load.rest
        while monotonic() < end and self._network.entries > entries + LEFT:
            sleep(self._load.pause)

    def _search(self, flows: Flows) -> float:
        """The highest rate that holds; 0 if not even the lowest does."""
        load = self._load
        holds, fails = 0, load.lowest
        while fails <= load.highest and self._holds(flows, fails):
            holds, fails = fails, 2 * fails
        for _ in range(load.halvings):
            rate = (holds + fails) // 2
            if self._holds(flows, rate):
                holds = rate
            else:
                fails = rate
        return float(holds)

    def _holds(self, flows: Flows, rate: int) -> bool:
        found = flows.load(rate, self._load.step_seconds)
        sleep(self._load.pause)  # what is left of a rate that was too much goes first
        return found.holds(rate, SHARE)


def _times(load: Load) -> dict[str, float]:
    return {"p50": load.p50, "p99": load.p99, "sent_per_second": load.rate}
