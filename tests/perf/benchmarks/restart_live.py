"""`restart-live`: a controller is ended and started again while packets of live flows pass through Open vSwitch.

One bridge keeps its tables for all turns: bindings of every session, and verified flows, most of them silent. In a turn
packets of two kinds are sent at a steady rate, each kind round many flows that were opened before: of verified flows,
and of connections that a grant has let in. In the middle of that the controller is ended and started again. Every
packet has a number, so that each that does not arrive is known. A new flow is tried every tenth of a second from the
start of the new process until one is let in.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import ClassVar

from lab.errors import LabError
from lab.processes import Controller, wait_for
from lab.shell import run
from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from perf.benchmarks.live import fill
from perf.benchmarks.restart import _processor_time
from perf.controllers import zethane
from perf.flow_network import FlowNetwork, Sizes, flow_network
from perf.flows_program import Flows, compile_flows
from perf.goals import at_most, median_of, worst_of
from perf.switched import Control
from perf.topology import TCP_SERVICE, UDP_SERVICE, Place

HOSTS = Sizes(senders=48, receivers=4, sender_ports=10, receiver_ports=2)

_POLICY = f"""
version: 1
segments:
  clients: {{labels: {{role: client}}}}
  servers: {{labels: {{role: server}}}}
  others: {{labels: {{role: other}}}}
rules:
  - {{id: clients-servers, from: [clients], to: [servers], services: [tcp/{TCP_SERVICE}]}}
  - {{id: granted, from: [clients], to: [servers], services: [udp/{UDP_SERVICE}], enforce: switch}}
  - {{id: others, from: [others], to: [servers], services: [tcp/{TCP_SERVICE}]}}
"""

_READY = 120.0
"""Seconds that the bridge's tables may take to be right."""


@dataclass(frozen=True, slots=True)
class RestartLoad:
    """Sessions, and verified flows that are live at a restart; then the packets that pass meanwhile.

    Those are, of each kind, of so many flows in turn, so many seconds apart. They begin `lead` seconds before the
    controller is ended, and end `tail` seconds after it is at full service again.
    """

    sessions: int = 10_000
    flows: int = 15_000
    rate: int = 5_000
    streamed: int = 1_000
    every: float = 500e-6
    lead: float = 1.0
    tail: float = 2.0
    most: float = 150.0


@registered
class RestartLive(Benchmark):
    """Turns of the benchmark: all on the same bridge, with the same store."""

    name = "restart-live"
    title = "The controller is started again while packets of live flows pass through one Open vSwitch bridge"
    sides: ClassVar = {"sigterm": "ended by SIGTERM", "sigkill": "ended by SIGKILL"}
    measures = (
        Measure("lost_verified", "packets of verified flows lost", ""),
        Measure("lost_granted", "packets of connections of a grant lost", ""),
        Measure("sent", "packets sent", ""),
        Measure("slowest", "the slowest packet that arrived", "ms", digits=1),
        Measure("new", "from the start of the new process until a new flow is let in", "s", digits=2),
        Measure("full", "the same until the bridge's tables are right", "s", digits=2),
        Measure("cpu", "processor time of the new process until then", "s", digits=2),
        Measure("entries", "entries on the bridge", ""),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = (
            RestartLoad(sessions=60, flows=300, rate=1000, streamed=50, lead=0.2, tail=0.5)
            if run.is_quick
            else RestartLoad()
        )
        self.parameters = {**asdict(self._load), **asdict(HOSTS)}
        self.goals = tuple(
            goal
            for side, text in self.sides.items()
            for goal in (
                at_most(f"packets of verified flows lost, {text}", worst_of("lost_verified", side), 0),
                at_most(f"packets of connections of a grant lost, {text}", worst_of("lost_granted", side), 0),
                at_most(f"restart to full service, {text}", median_of("full", side), 5, "s"),
            )
        )
        self._network: FlowNetwork
        self._controller: Controller
        self._verified: Flows
        self._granted: Flows

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """The bridge, a controller, and the live flows. Raises LabError."""
        program = compile_flows(self.run.folder)
        with flow_network(self.run.ledger, self.run.interrupts, HOSTS, "t") as self._network:
            network, folder = self._network, self.run.folder / "restart-live"
            places = [*network.places, *_others(self._load.sessions - len(network.places))]
            with zethane(folder, self.run.tagged, network.dpid, places, policy=_POLICY) as self._controller:
                network.control(int(self._controller.openflow.rpartition(":")[2]))
                self._controller.wait_switches(["s1"], _READY)
                self._verified = Flows(program, network, self.run.tagged, TCP_SERVICE)
                self._granted = Flows(program, network, self.run.tagged, UDP_SERVICE)
                self._verified.first(10, 0.003, tcp=True)
                yield
            network.release()

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # no axis
        """Measure one restart. Raises LabError."""
        load, controller, control = self._load, self._controller, Control(self._controller)
        fill(self._verified, control, max(0, load.flows - load.streamed - control.live_flows), load.rate)
        with (
            self._verified.steady(load.streamed, load.every, load.most, tcp=True) as verified,
            self._granted.steady(load.streamed, load.every, load.most) as granted,
        ):
            time.sleep(load.lead)
            entries = self._entries()
            ended = time.time()
            if side == "sigkill":
                controller.kill()
            else:
                _end(controller)
            begun = time.time()
            controller.start()
            self._verified.first(1, 0.001, tcp=True)
            new = time.time() - begun
            controller.wait_switches(["s1"], _READY)
            full, cpu = time.time() - begun, _processor_time(controller)
            time.sleep(load.tail)
            passed = {"verified": verified.end(), "granted": granted.end()}
        found = {f"lost_{kind}": float(one.lost) for kind, one in passed.items()}
        for kind, one in passed.items():
            if one.lost:
                first, last = (moment - ended for moment in one.lost_between)
                found |= {f"{kind}_lost_from": first, f"{kind}_lost_until": last}
        slowest = max(passed.values(), key=lambda one: one.slowest)
        return {
            **found,
            "sent": sum(one.sent for one in passed.values()),
            "slowest": slowest.slowest / 1000,
            "slowest_sent": slowest.slowest_sent - begun,
            "new": new,
            "full": full,
            "cpu": cpu,
            "away": begun - ended,
            "entries": entries,
        }

    def _entries(self) -> int:
        told = run(["ovs-ofctl", "-O", "OpenFlow13", "dump-aggregate", self._network.bridge])
        return int(told.rpartition("flow_count=")[2].split()[0])


def _others(count: int) -> list[Place]:
    """Sessions of hosts that say nothing, behind the same ports."""
    ports = HOSTS.sender_ports + HOSTS.receiver_ports
    return [
        Place(
            "other",
            1 + index % ports,
            bytes((2, 0, 10, 67, *index.to_bytes(2, "big"))),
            bytes((10, 67, *index.to_bytes(2, "big"))),
        )
        for index in range(1, count + 1)
    ]


def _end(controller: Controller) -> None:
    """By SIGTERM, and it must be enough. Raises LabError."""
    process = controller.process
    if process is None:
        raise LabError("the controller is not running")
    process.terminate()
    if wait_for("The controller did not end", process.poll, 20.0, lambda: "") != 0:
        raise LabError(f"the controller ended with status {process.returncode}")
