"""`memory`: what the controller takes, as sessions and live flows grow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from perf import site
from perf.benchmark import Axis, Benchmark, Measure, Run, Turn, registered
from perf.controllers import pinned
from perf.goals import at_most, median_of
from perf.load import ZETHANE, Load, generate, program

POINTS = (1_000, 30_000, 100_000)
QUICK = (200, 400)
SWITCHES = 10
MIB = 1024.0
"""KiB."""

LIMIT = 476
"""500 MB, in MiB."""

_GOAL = "memory at the most with 10,000 sessions and 100,000 live flows"


@registered
class Memory(Benchmark):
    """Each turn has its own controller; flows that were set up live on, and none ends before it is measured."""

    name = "memory"
    title = "Memory of the controller with sessions and live flows, on 10 fake switches"
    sides: ClassVar = {"1000": "1,000 sessions", "10000": "10,000 sessions"}
    measures = (
        Measure("resident", "in memory, with all flows live", "MiB"),
        Measure("most", "at the most", "MiB"),
        Measure("started", "in memory when it listens", "MiB"),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        points = QUICK if run.is_quick else POINTS
        self.axis = Axis("flows", "live flows", points)
        self.goals = (at_most(_GOAL, median_of("most", "10000", points[-1]), LIMIT, "MiB"),) if not run.is_quick else ()
        self.parameters = {"load": asdict(self._load("10000", points[-1])), "switches": SWITCHES}

    def _load(self, side: str, flows: int) -> Load:
        # At least one flow of each kind: the generator times some one at a time.
        return Load(SWITCHES, int(side), single=10, many=flows, batches=1, window=64, warm=10, end=False)

    def can(self, side: str, point: int) -> bool:  # noqa: ARG002  # of one size
        """A quick run leaves the large site out."""
        return side == "1000" or not self.run.is_quick

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Compile the generator. Raises LabError."""
        program()
        yield

    def turn(self, side: str, number: int, point: int) -> Turn:
        """Measure one size once. Raises LabError."""
        folder = self.run.folder / f"memory-{side}-{point}-{number}"
        with (
            pinned(first=True),
            site.zethane(site.Site(SWITCHES, int(side)), folder, self.run.tagged) as controller,
        ):
            port, pid = int(controller.openflow.rpartition(":")[2]), controller.process.pid if controller.process else 0
            started = _resident(pid)
            with pinned(first=False):
                generate(self._load(side, point), ZETHANE, port, self.run.tagged)
            resident, most = _resident(pid), site.memory(pid)
        return {"resident": resident, "most": most, "started": started}


def _resident(pid: int) -> float:
    """The MiB that a process has in memory now; 0 if it is not there."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0]) / MIB if found else 0.0
