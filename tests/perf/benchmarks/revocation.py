"""`revocation`: when the last packet of a session arrives after the session was revoked, and what it takes.

Others have four times as many live flows as the session that is revoked: 10,000 of 50,000 at the last point of the
axis. Packets of some of its flows keep coming while the request to end it is sent to the controller's API. All other
flows are silent, and Open vSwitch is told to forget them in its cache, as it does by itself after ten seconds: how many
it holds there is `cached`, for it has to look at each of them after every change. Then the next session gets its flows,
and is revoked when the switch has none of the one before any more. At the end some sessions with as many flows each are
revoked in a row, before anything of the first has been cleared away.

The same with connections that the switch lets in by itself under a grant: UDP, of which each has had one packet. Open
vSwitch forgets such a connection after a minute, so that others' become fewer within a turn.
"""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

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
from perf.topology import POLICY, TCP_SERVICE, UDP_SERVICE
from perf.watch import Watch, watched

MANY = 10_000
"""Flows of the session that the goals are about."""


@dataclass(frozen=True, slots=True)
class RevocationLoad:
    """How fast flows are made, how many flows others have for each of the session's, and how many sessions are revoked
    per turn, with all the time there is and in a row, and how many more there may be in the place of those during
    which the machine stood still; then the packets that keep coming.

    Those are of so many flows in turn, so many seconds apart; in a row, where there are several such streams, and
    between two revocations, more. One more revocation per turn is not timed: there the flow-mods are counted, and
    counting takes time.
    """

    rate: int = 6_000
    others: int = 4
    revocations: int = 10
    row: int = 4
    spare: int = 6
    streamed: int = 8
    every: float = 50e-6
    every_in_row: float = 200e-6
    pause_in_row: float = 0.5
    seconds: float = 10.0


_GRANTED = f"""
version: 1
segments:
  clients: {{labels: {{role: client}}}}
  servers: {{labels: {{role: server}}}}
rules:
  - {{id: verified, from: [clients], to: [servers], services: [tcp/{TCP_SERVICE}]}}
  - {{id: granted, from: [clients], to: [servers], services: [udp/{UDP_SERVICE}], enforce: switch}}
"""

STALLED = 0.2
"""Seconds without a packet that a busy machine may be the reason of."""

AT_ONCE = 0.5
"""Seconds in which everything that stops a session has been sent."""

SILENCE, FEW = 40.0, 200
"""Seconds that Open vSwitch may take to forget flows that are silent, and how many it may hold then."""

ENOUGH = 0.95
"""The share of a session's connections that have to be there."""

CLEARED = 60.0
"""Seconds after which a switch holds nothing of a revoked session any more."""

BYSTANDERS = 4
"""Sessions that keep the flows which are not revoked."""


@registered
class Revocations(Benchmark):
    """Turns of the benchmark: on the same bridge, each with a new controller and empty tables."""

    name = "revocation"
    title = "A session is revoked while its packets pass through Open vSwitch"
    sides: ClassVar = {"zethane": "verified flows", "grant": "connections of a grant"}
    measures = (
        Measure("last_p50", "last packet after the request, p50 of a turn", "ms", digits=2),
        Measure("last_worst", "last packet after the request, worst of a turn", "ms", digits=2),
        Measure("row_p50", "the same of sessions revoked in a row, p50", "ms", digits=2),
        Measure("row_worst", "the same of sessions revoked in a row, worst of a turn", "ms", digits=2),
        Measure("flow_mods", "flow-mods that stop a session", "", is_drawn=False),
        Measure("clearing", "flow-mods that clear its flows away afterwards", "", is_drawn=False),
        Measure("answered_p50", "the API's answer, p50", "ms", digits=2),
        Measure("left_out", "left out, for the machine stood still meanwhile", "", is_drawn=False),
    )
    goals = (
        at_most("last packet, p50", median_of("last_p50", "zethane", MANY), 5, "ms"),
        at_most("last packet, worst of all", worst_of("last_worst", "zethane", MANY), 15, "ms"),
        at_most("last packet, worst of those in a row", worst_of("row_worst", "zethane", MANY), 15, "ms"),
        at_most("flow-mods that stop a session", worst_of("flow_mods", "zethane", MANY), 4),
        at_most("connections of a grant: last packet, p50", median_of("last_p50", "grant", MANY), 5, "ms"),
        at_most("connections of a grant: last packet, worst of all", worst_of("last_worst", "grant", MANY), 15, "ms"),
        at_most("connections of a grant: worst of those in a row", worst_of("row_worst", "grant", MANY), 15, "ms"),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = RevocationLoad(revocations=2, row=2, spare=2, rate=2000) if run.is_quick else RevocationLoad()
        timed = self._load.revocations + self._load.spare + self._load.row
        self._sizes = Sizes(48, 1 + timed + BYSTANDERS, 8, 2)
        self.axis = Axis("flows", "flows of the session", (100, 1_000, MANY))
        self.parameters = {**asdict(self._load), **asdict(self._sizes)}
        self._is_quick = run.is_quick
        self._network: FlowNetwork
        self._watch: Watch

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """The same bridge for all turns. Raises LabError."""
        self._program = compile_flows(self.run.folder)
        network = flow_network(self.run.ledger, self.run.interrupts, self._sizes, "r")
        with watched() as self._watch, network as self._network:
            yield

    def can(self, side: str, point: int) -> bool:
        """Connections of grants are no concern of the controller: they are measured where there are many."""
        return side != "grant" or point == MANY

    def turn(self, side: str, number: int, point: int) -> Turn:
        """Measure one side once. Raises LabError."""
        load, is_grant = self._load, side == "grant"
        size = point // 100 if self._is_quick else point
        folder = self.run.folder / f"revocation-{side}-{point}-{number}"
        policy = _GRANTED if is_grant else POLICY
        with controlled("zethane", self._network, self.run, folder, policy=policy) as control:
            verified, granted = (
                Flows(self._program, self._network, self.run.tagged, port) for port in (TCP_SERVICE, UDP_SERVICE)
            )
            site = _Site(self._network, control, verified, granted if is_grant else None)
            verified.first(10, 0.003, tcp=True)  # the controller has seen one before it counts
            for index in range(BYSTANDERS):
                site.fill(load.others * size // BYSTANDERS, load.rate, len(site) - 1 - index)
            stopped, cleared = self._counted(site, size)
            cached, alone = 0, load.revocations + load.spare
            timed: list[_Revoked] = []
            for index in range(1, alone + 1):
                firsts = self._fill(site, [index], size)
                site.wait_cleared()
                cached = max(cached, site.forget_silent())
                timed += self._timed(site, firsts, size, load.every)
                if len(timed) - self._left_out(timed) == load.revocations:
                    break
            firsts = self._fill(site, range(alone + 1, alone + 1 + load.row), size)
            cached = max(cached, site.forget_silent())
            in_row = self._timed(site, firsts, size, load.every_in_row)
        left_out = self._left_out(timed) + self._left_out(in_row)
        counted, row = ([one for one in some if not one.is_late(self._watch)] for some in (timed, in_row))
        if not counted or not row:
            raise LabError("the machine stood still during all revocations of a turn")
        return {
            "last_p50": percentile([one.last_ms for one in counted], 50),
            "last_worst": max(one.last_ms for one in counted),
            "row_p50": percentile([one.last_ms for one in row], 50),
            "row_worst": max(one.last_ms for one in row),
            "flow_mods": stopped,
            "clearing": cleared,
            "answered_p50": percentile([one.answer_ms for one in counted], 50),
            "left_out": left_out,
            "cached": cached,
        }

    def _left_out(self, revoked: Iterable[_Revoked]) -> int:
        return sum(one.is_late(self._watch) for one in revoked)

    def _fill(self, site: _Site, receivers: Iterable[int], size: int) -> dict[int, int]:
        """Let each of these have so many flows more; the number of the first one of each."""
        firsts = {}
        for index in receivers:
            firsts[index] = site.flows.next
            site.fill(size, self._load.rate, index)
        return firsts

    def _counted(self, site: _Site, size: int) -> tuple[int, int]:
        """The flow-mods that stop a session, and those that follow until nothing of it is left."""
        self._fill(site, [0], size)
        with flow_mods(site.network.bridge, lambda: site.verified.load(100, 0.02, tcp=True)) as counter:
            before = counter.seen
            site.revoke(0)
            time.sleep(AT_ONCE)
            stopped = counter.seen - before
            site.wait_cleared()
        return stopped, counter.seen - stopped

    def _timed(self, site: _Site, firsts: dict[int, int], size: int, every: float) -> list[_Revoked]:
        """Revoke these one after the other."""
        load = self._load
        with ExitStack() as stack:
            streams = {
                index: stack.enter_context(
                    site.flows.stream(
                        first, min(load.streamed, size), every, load.seconds, only=index, tcp=site.granted is None
                    )
                )
                for index, first in firsts.items()
            }
            asked: dict[int, tuple[float, float]] = {}
            for index in firsts:
                # The switch has work that it does twice a second.
                time.sleep(load.pause_in_row if asked else 0.2 + random.uniform(0, 0.5))  # noqa: S311  # no secret
                asked[index] = site.revoke(index)
            lasts = {index: stream.last() for index, stream in streams.items()}
        if any(lasts[index] < asked[index][0] - STALLED for index in firsts):
            raise LabError("no packets of the session passed any more when it was revoked")
        return [_Revoked(*asked[index], lasts[index]) for index in firsts]


class _Revoked(NamedTuple):
    """When one was asked for and answered, and when its last packet came: seconds since the epoch."""

    asked: float
    answered: float
    last: float

    @property
    def last_ms(self) -> float:
        return max(0.0, (self.last - self.asked) * 1000)

    @property
    def answer_ms(self) -> float:
        return (self.answered - self.asked) * 1000

    def is_late(self, watch: Watch) -> bool:
        """Whether the machine stood still while its last packets came: that no controller can do anything about."""
        return watch.stood_still(self.asked, max(self.asked, self.last))


@dataclass(frozen=True, slots=True)
class _Site:
    """The bridge, who is in control of it, and the hosts' flows: `granted` where those are connections of a grant."""

    network: FlowNetwork
    control: Control
    verified: Flows
    granted: Flows | None

    @property
    def flows(self) -> Flows:
        """Those that are revoked."""
        return self.granted or self.verified

    def __len__(self) -> int:
        """How many sessions there are that flows are opened to."""
        return len(self.network.receivers)

    def fill(self, count: int, rate: int, only: int) -> None:
        """Make so many flows, or connections, to one session. Raises LabError."""
        if self.granted is None:
            fill(self.verified, self.control, count, rate, only)
            return
        made = self.granted.load(rate, count / rate, only=only)
        if made.arrived < ENOUGH * count:
            raise LabError(f"{made.arrived} of {count} connections were let in")

    def forget_silent(self) -> int:
        """Have Open vSwitch forget what is in its cache; how many flows it still holds there. Raises LabError."""
        run(["ovs-appctl", "revalidator/purge"])

        def few() -> int | None:
            held = len(run(["ovs-appctl", "dpif/dump-flows", self.network.bridge]).splitlines())
            return held if held <= FEW else None

        return wait_for("Open vSwitch did not forget silent flows", few, SILENCE, lambda: "")

    def wait_cleared(self) -> None:
        """Wait until the switch holds the rules of live flows only. Raises LabError."""
        wait_for(
            "The flows of the revoked session are not cleared away",
            lambda: self.control.counter("switch_flows") <= self.control.live_flows or None,
            CLEARED,
            lambda: "",
        )

    def revoke(self, index: int) -> tuple[float, float]:
        """Have the session of a receiver revoked: when that was asked for, and when it was answered."""
        session = len(self.network.senders) + 1 + index
        body = json.dumps({"session": session}).encode()
        head = "POST /v1/revoke HTTP/1.1\r\nHost: controller\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        return _ask(self.control.zethane.socket, request, session)


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
