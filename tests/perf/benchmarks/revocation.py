"""`revocation`: when the last packet of a session arrives after the session was revoked, and what it takes.

Each session that is revoked has so many live flows as the axis says, and others have flows as well: with 10,000 each,
150,000 are live before the first revocation and 50,000 before the last. Packets of some flows of the session keep
coming while the request to end it is sent to the controller's API. All other flows have been silent for as long as Open
vSwitch keeps them in its cache: how many it holds there is `cached`, for it has to look at each of them after every
change.
"""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from lab.errors import LabError
from lab.processes import wait_for
from lab.shell import run
from perf.benchmark import Axis, Benchmark, Measure, Run, Turn, registered
from perf.benchmarks.live import fill
from perf.flow_network import FlowNetwork, Sizes, flow_network
from perf.flows_program import Flows, compile_flows
from perf.goals import at_most, median_of, worst_of
from perf.snoop import flow_mods
from perf.statistics import percentile
from perf.switched import Control, controlled
from perf.topology import TCP_SERVICE

MANY = 10_000
"""Flows of the session that the goals are about."""


@dataclass(frozen=True, slots=True)
class RevocationLoad:
    """Live flows of sessions that stay, how fast flows are made, and revocations per turn; then the packets that keep
    coming.

    Those are of so many flows in turn, so many seconds apart. One more revocation per turn is not timed: there the
    flow-mods are counted, and counting takes time.
    """

    others: int = 40_000
    rate: int = 6_000
    revocations: int = 10
    streamed: int = 8
    every: float = 50e-6
    seconds: float = 10.0


STALLED = 0.2
"""Seconds without a packet that a busy machine may be the reason of."""

SILENCE, FEW = 40.0, 200
"""Seconds that Open vSwitch may take to forget flows that are silent, and how many it may hold then."""

BYSTANDERS = 4
"""Sessions that keep the flows which are not revoked."""


@registered
class Revocations(Benchmark):
    """Turns of the benchmark: on the same bridge, each with a new controller and empty tables."""

    name = "revocation"
    title = "A session is revoked while its packets pass through Open vSwitch"
    sides: ClassVar = {"zethane": "Zethane"}
    measures = (
        Measure("last_p50", "last packet after the request, p50 of a turn", "ms", digits=2),
        Measure("last_worst", "last packet after the request, worst of a turn", "ms", digits=2),
        Measure("flow_mods", "flow-mods for one revocation", "", is_drawn=False),
        Measure("answered_p50", "the API's answer, p50", "ms", digits=2),
    )
    goals = (
        at_most("last packet, p50", median_of("last_p50", "zethane", MANY), 5, "ms"),
        at_most("last packet, worst of all", worst_of("last_worst", "zethane", MANY), 15, "ms"),
        at_most("flow-mods for one revocation", worst_of("flow_mods", "zethane", MANY), 4),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = RevocationLoad(others=400, revocations=2, rate=2000) if run.is_quick else RevocationLoad()
        self._sizes = Sizes(48, self._load.revocations + 1 + BYSTANDERS, 8, 2)
        self.axis = Axis("flows", "flows of the session", (100, 1_000, MANY))
        self.parameters = {**asdict(self._load), **asdict(self._sizes)}
        self._is_quick = run.is_quick
        self._network: FlowNetwork

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """The same bridge for all turns. Raises LabError."""
        self._program = compile_flows(self.run.folder)
        with flow_network(self.run.ledger, self.run.interrupts, self._sizes, "r") as self._network:
            yield

    def turn(self, side: str, number: int, point: int) -> Turn:
        """Measure one side once. Raises LabError."""
        load = self._load
        size = point // 100 if self._is_quick else point
        folder = self.run.folder / f"revocation-{side}-{point}-{number}"
        with controlled(side, self._network, self.run, folder) as control:
            flows = Flows(self._program, self._network, self.run.tagged, TCP_SERVICE)
            flows.first(10, 0.003, tcp=True)  # the controller has seen one before it counts
            for index in range(BYSTANDERS):
                fill(flows, control, load.others // BYSTANDERS, load.rate, only=load.revocations + 1 + index)
            firsts = []
            for index in range(load.revocations + 1):
                firsts.append(flows.next)
                fill(flows, control, size, load.rate, only=index)
            cached = self._silent()
            counted, lasts, answers = 0, [], []
            for index, first in enumerate(firsts):
                if index == 0:
                    with flow_mods(self._network.bridge, lambda: flows.load(100, 0.02, tcp=True)) as counter:
                        self._revoke(control, index)
                    counted = counter.seen
                else:
                    last, answer = self._timed(flows, control, first, min(load.streamed, size), index)
                    lasts.append(last)
                    answers.append(answer)
        return {
            "last_p50": percentile(lasts, 50),
            "last_worst": max(lasts),
            "flow_mods": counted,
            "answered_p50": percentile(answers, 50),
            "cached": cached,
        }

    def _silent(self) -> int:
        """Wait until Open vSwitch has forgotten the flows that are silent; how many it still holds. Raises LabError."""

        def few() -> int | None:
            held = len(run(["ovs-appctl", "dpif/dump-flows", self._network.bridge]).splitlines())
            return held if held <= FEW else None

        return wait_for("Open vSwitch did not forget silent flows", few, SILENCE, lambda: "")

    def _timed(self, flows: Flows, control: Control, first: int, streamed: int, index: int) -> tuple[float, float]:
        """Milliseconds from the request until the last packet and until the answer."""
        load = self._load
        with flows.stream(first, streamed, load.every, load.seconds, only=index) as stream:
            time.sleep(0.2 + random.uniform(0, 0.5))  # noqa: S311  # the switch has work that it does twice a second
            asked, answered = self._revoke(control, index)
            last = stream.last()
        if last < asked - STALLED:
            raise LabError("no packets of the session passed any more when it was revoked")
        return max(0.0, (last - asked) * 1000), (answered - asked) * 1000

    def _revoke(self, control: Control, index: int) -> tuple[float, float]:
        """Have the session of a receiver revoked: when that was asked for, and when it was answered."""
        session = len(self._network.senders) + 1 + index
        body = json.dumps({"session": session}).encode()
        head = "POST /v1/revoke HTTP/1.1\r\nHost: controller\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        return _ask(control.zethane.socket, request, session)


def _ask(path: Path, request: bytes, session: int) -> tuple[float, float]:
    """Send a request over a connection that is there already, so that connecting is not in the time."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(20.0)
        connection.connect(str(path))
        time.sleep(0.01)
        asked = time.time()
        connection.sendall(request)
        answer = connection.recv(4096)
        answered = time.time()
        while more := connection.recv(4096):
            answer += more
    status, _, body = answer.partition(b"\r\n")
    if b" 200 " not in status or str(session).encode() not in body:
        raise LabError(f"the session was not revoked: {answer.decode(errors='replace')}")
    return asked, answered
