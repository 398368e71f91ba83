"""`setup`: how many flows per second a controller sets up, and how long one takes, with switches that cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import ClassVar

from lab.errors import LabError
from perf import peers
from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from perf.controllers import allowed_flows, pinned
from perf.goals import TIMES, at_least, ratio
from perf.learning import CONFIGURATION, turn_of_faucet
from perf.load import Answers, Load, generate, program, turn_of_limit, turn_of_zethane
from perf.peers import Peer
from perf.site import Site

OS_KEN = Answers(pipeline=False, mods=1, deliver=False, check_port=False)
SAME_JOB = Answers(pipeline=False, mods=2)
TEST_CONTROLLER = Answers(pipeline=False, mods=1, learn=True)

SLOW, SLOW_SINGLE = 3000, 1000
"""Flows of a turn for what sets up some thousand a second: more would only take longer."""
SLOW_SIDES = ("same-job", "os-ken", "faucet")


@registered
class Setups(Benchmark):
    """Each turn has processes of its own: the controller on one core with all of its threads, the load on the rest."""

    name = "setup"
    title = "Flow set-ups, with a fake switch on loopback"
    sides: ClassVar = {
        "zethane": "Zethane",
        "testcontroller": "ovs-testcontroller",
        "same-job": "os-ken, same job",
        "os-ken": "os-ken, minimal",
        "faucet": "FAUCET, learning a host",
        "limit": "generator alone",
    }
    pairs = (("zethane", "testcontroller"), ("zethane", "same-job"))
    measures = (
        Measure("rate", "set-ups, many at once", "per second"),
        Measure("p50", "one at a time, p50", "µs"),
        Measure("p99", "one at a time, p99", "µs"),
        Measure("p999", "one at a time, p99.9", "µs"),
        Measure("cpu", "processor time of the controller, many at once", "µs per set-up", digits=2),
        Measure("cpu_whole", "the same, with the flows' ends, the log and all else", "µs per set-up", digits=2),
        Measure("load_cpu", "processor time of the generator", "µs per set-up", digits=2),
        Measure("load_busy", "the generator was at work", "% of the time"),
    )
    goals = (
        at_least("set-ups per second, Zethane / os-ken, same job", ratio("rate", "zethane", "same-job"), 100, TIMES),
        at_least(
            "set-ups per second, Zethane / ovs-testcontroller", ratio("rate", "zethane", "testcontroller"), 3, TIMES
        ),
    )  # fmt: skip

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = Load(single=20, many=200, batches=2, window=8, warm=10) if run.is_quick else Load()
        slow = replace(
            self._load, single=min(self._load.single, SLOW_SINGLE), many=min(self._load.many, SLOW), batches=1
        )
        self._loads = {side: slow if side in SLOW_SIDES else self._load for side in self.sides}
        self.parameters = {side: asdict(load) for side, load in self._loads.items() if self.can(side, 0)}

    def can(self, side: str, point: int) -> bool:  # noqa: ARG002  # no axis
        """FAUCET takes part where it could be installed."""
        return side != "faucet" or peers.has_faucet()

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Compile the generator. Raises LabError."""
        program()
        yield

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # no axis
        """Measure one side once. Raises LabError."""
        folder, tagged, load = self.run.folder / f"setup-{side}-{number}", self.run.tagged, self._loads[side]
        if side == "zethane":
            return turn_of_zethane(load, folder, tagged)
        if side == "limit":
            return turn_of_limit(load, tagged)
        if side == "testcontroller":
            with pinned(first=True), peers.ovs_testcontroller(folder, tagged) as peer:
                return self._against(peer, load, TEST_CONTROLLER)
        if side == "os-ken":
            with pinned(first=True), peers.os_ken(folder, tagged, deliver=False) as peer:
                return self._against(peer, load, OS_KEN)
        if side == "faucet":
            with pinned(first=True), peers.faucet(folder, tagged, CONFIGURATION) as peer, pinned(first=False):
                return turn_of_faucet(load, peer.port, peer.pid)
        site = Site(load.switches, load.sessions)
        with pinned(first=True), peers.os_ken_same_job(folder, tagged, site.identities(), site.rules()) as peer:
            turn = self._against(peer, load, SAME_JOB)
        if (logged := allowed_flows(folder, "decisions.jsonl")) != turn["flows"]:
            raise LabError(f"{turn['flows']} flows were set up by the same-job application, {logged} are in its log")
        return turn

    def _against(self, peer: Peer, load: Load, answers: Answers) -> Turn:
        with pinned(first=False):
            return generate(load, answers, peer.port, self.run.tagged, pid=peer.pid)
