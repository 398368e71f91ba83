"""`sustained`: new flows at a steady rate through Open vSwitch, and the highest rate that holds.

A flow is one UDP datagram that no entry takes, from one of many hosts to one of a few. It is delivered if it comes out
within half a second of being sent. The highest rate is looked for with TCP connections as well, of which only a SYN is
sent, and with datagrams that are answered, where the answer has to be back in time.

The steady rate and each search have a controller of their own and empty tables, so that none has to bear what another
has left. A search begins low, and goes on when what it has sent too much has been worked off. Within the ten seconds of
a run without `--full` few of the flows end; within its minute as many end as begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import ClassVar

from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from perf.daemon import Daemon
from perf.flow_network import FlowNetwork, Sizes, flow_network
from perf.flows_program import Flows, Load, compile_flows
from perf.goals import at_least, median_of, ratio
from perf.switched import controlled
from perf.topology import TCP_SERVICE, UDP_SERVICE

SHARE = 0.999
"""Of the packets that have to be delivered for a rate to hold."""

STAYING = 1.5
"""Seconds of a step with connections: they stay live, and a switch holds a bounded number of flows."""


@dataclass(frozen=True, slots=True)
class Sustained:
    """The rate that is tried for long, and the search for the highest: per second, and in seconds.

    The search doubles the rate from the lowest on until it does not hold, and then halves the gap so many times.
    """

    rate: int = 10_000
    seconds: float = 10.0
    lowest: int = 125
    highest: int = 64_000
    step_seconds: float = 1.5
    halvings: int = 3
    pause: float = 0.5
    rest: float = 30.0
    """At the most, after a rate that was too much."""


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
        Measure("main", "processor time of Open vSwitch's main thread then, per packet that came out", "µs", digits=1),
        Measure("others", "the same of its other threads, which take what others leave", "µs", digits=1),
        Measure("highest", "highest rate that holds", "per second"),
        Measure("tcp", "the same of TCP connections", "per second"),
        Measure("answered", "the same of datagrams with their answers", "per second"),
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
        load, folder = self._load, self.run.folder / f"sustained-{side}-{number}"
        with self._flows(side, folder, "steady") as flows:
            daemon = Daemon()
            long = flows.load(load.rate, load.seconds)
            used = daemon.used()
        with self._flows(side, folder, "search") as flows:
            found = {"highest": self._search(load.lowest, partial(flows.load, seconds=load.step_seconds))}
        if side != "normal":
            lowest = max(load.lowest, int(found["highest"]) // 4)
            with self._flows(side, folder, "tcp") as flows:
                seconds = min(load.step_seconds, STAYING)
                found["tcp"] = self._search(lowest, partial(flows.load, seconds=seconds, tcp=True))
            with self._flows(side, folder, "answered") as flows:
                found["answered"] = self._search(lowest, partial(flows.load, seconds=load.step_seconds, answer=True))
        return {
            "delivered": 100 * long.delivered,
            "p50": long.p50,
            "p99": long.p99,
            "sent_per_second": long.rate,
            "main": 1e6 * used.main / max(long.arrived, 1),
            "others": 1e6 * used.others / max(long.arrived, 1),
            **found,
        }

    @contextmanager
    def _flows(self, side: str, folder: Path, what: str) -> Iterator[Flows]:
        """The hosts, with a controller that has only had one packet of each of them so far. Raises LabError."""
        service, tcp = (TCP_SERVICE, True) if what == "tcp" else (UDP_SERVICE, False)
        with controlled(side, self._network, self.run, folder.with_name(f"{folder.name}-{what}")):
            flows = Flows(self._program, self._network, self.run.tagged, service)
            flows.first(len(self._network.senders), 0.001, hello=True, tcp=tcp)
            yield flows

    def _search(self, lowest: int, send: Callable[[int], Load]) -> float:
        """The highest rate that holds, from `lowest` on; 0 if none does that is tried."""
        load = self._load
        holds, fails = 0, lowest
        while fails <= load.highest and self._holds(send, fails):
            holds, fails = fails, 2 * fails
        for _ in range(load.halvings):
            rate = (holds + fails) // 2
            if self._holds(send, rate):
                holds = rate
            else:
                fails = rate
        return float(holds)

    def _holds(self, send: Callable[[int], Load], rate: int) -> bool:
        found = send(rate)
        holds = found.holds(rate, SHARE)
        sleep(self._load.pause)
        if not holds:
            self._work_off()
        return holds

    def _work_off(self) -> None:
        """Until no new entries come: what a controller has waiting of a rate that was too much goes first."""
        end, entries = monotonic() + self._load.rest, self._network.entries
        while monotonic() < end:
            sleep(self._load.pause)
            before, entries = entries, self._network.entries
            if entries <= before:
                return
