"""`sustained`: new flows at a steady rate through Open vSwitch, and the highest rate that holds.

A flow is one UDP datagram that no entry takes, from one of many hosts to one of a few. It is delivered if it comes out
within half a second of being sent. The highest rate is looked for with TCP connections as well, of which only a SYN is
sent, and with datagrams that are answered, where the answer has to be back in time.

The steady rate and each search have a controller of their own and empty tables, so that none has to bear what another
has left. A search begins below what is to be expected, or at what the round before has found, and goes on when what it
has sent too much has been worked off. Within the ten seconds of a run without `--full` few of the flows end; within its
minute as many end as begin. A peer has that minute only if ten seconds of it have not been too much for it.
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
from perf.daemon import Daemon, Used
from perf.flow_network import FlowNetwork, Sizes, flow_network
from perf.flows_program import Flows, Load, compile_flows
from perf.goals import at_least, median_of, ratio
from perf.searching import Search
from perf.switched import controlled
from perf.topology import TCP_SERVICE, UDP_SERVICE

SHARE = 0.999
"""Of the packets that have to be delivered for a rate to hold."""

ENOUGH = 0.5
"""Of the packets that a peer has to deliver at the steady rate to be asked for more of it."""

STAYING = 1.5
"""Seconds of a step with connections: they stay live, and a switch holds a bounded number of flows."""


@dataclass(frozen=True, slots=True)
class Sustained:
    """The rate that is tried for long, and the search for the highest: per second, and in seconds.

    Rates of the search are from `lowest` to `highest`, each tried for `step_seconds`.
    """

    rate: int = 10_000
    seconds: float = 10.0
    trial: float = 10.0
    """Of a peer; it goes on for all of the time if it has then delivered half."""
    lowest: int = 125
    highest: int = 64_000
    step_seconds: float = 1.5
    pause: float = 0.5
    rest: float = 30.0
    """At the most, after a rate that was too much."""


STARTS = {"zethane": 8_000, "testcontroller": 4_000, "same-job": 500, "normal": 32_000}
"""Per second: where the first search of a side begins, so that it takes few steps."""

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
        self._load = Sustained(seconds=60.0, step_seconds=2.0) if run.is_full else Sustained()
        if run.is_quick:
            self._load = Sustained(500, 0.2, 0.2, 200, 400, 0.2, 0.1, 0.1)
        self.parameters = {**asdict(self._load), **asdict(HOSTS)}
        self._network: FlowNetwork
        self._found: dict[tuple[str, str], int] = {}
        """The highest rates of the round before, by side and search."""

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
            long, used = self._steady(side, flows)
        with self._flows(side, folder, "search") as flows:
            highest = self._search(side, "highest", partial(flows.load, seconds=load.step_seconds), STARTS[side])
        found = {"highest": highest}
        if side != "normal":
            with self._flows(side, folder, "tcp") as flows:
                seconds = min(load.step_seconds, STAYING)
                found["tcp"] = self._search(side, "tcp", partial(flows.load, seconds=seconds, tcp=True), highest // 2)
            with self._flows(side, folder, "answered") as flows:
                send = partial(flows.load, seconds=load.step_seconds, answer=True)
                found["answered"] = self._search(side, "answered", send, highest // 2)
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

    def _steady(self, side: str, flows: Flows) -> tuple[Load, Used]:
        """The rate that is tried for long, by a peer that cannot bear it in part; what the daemon used for it."""
        load, is_peer = self._load, side != "zethane"
        daemon = Daemon()
        told = flows.load(load.rate, min(load.trial, load.seconds) if is_peer else load.seconds)
        if is_peer and side != "normal" and told.delivered >= ENOUGH and load.seconds > load.trial:
            self._work_off()
            daemon = Daemon()
            told = flows.load(load.rate, load.seconds)
        return told, daemon.used()

    def _search(self, side: str, what: str, send: Callable[[int], Load], guess: int) -> int:
        """The highest rate that holds; it begins at that of the round before, if there was one."""
        search = Search(self._load.lowest, self._load.highest, partial(self._holds, send))
        self._found[side, what] = found = search.found(guess, self._found.get((side, what), 0))
        return found

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
