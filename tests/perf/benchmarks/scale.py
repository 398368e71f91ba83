"""`scale`: the same set-ups with more switches and more sessions. What one costs should not depend on either."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar

from perf.benchmark import Axis, Benchmark, Measure, Run, Turn, registered
from perf.goals import TIMES, apart, within
from perf.load import Load, batches_of_zethane, program
from perf.site import Site
from perf.statistics import ratio_in_turns

POINTS = (100, 10_000, 100_000)
QUICK = (100,)
ACROSS_POINT = 10_000
"""The largest size of flows between switches that is measured: every switch has every session."""

LARGE = 100_000
"""Switches times sessions above which a cell is measured with `--full` alone: its controller takes long to start."""

ACROSS = "10-across"
"""Twice the flow-mods: the rules of a flow are at both of its ends. So it is no part of the goals."""

WITHIN = ("1", "10", "100")

REFERENCE = ("1", 100)
"""The size beside which every size is measured: one switch and a hundred sessions."""


def switches_of(side: str) -> int:
    """How many switches a side has."""
    return int(side.partition("-")[0])


@registered
class Scale(Benchmark):
    """Each size has its own controller, which takes all sessions from its store and writes them to the switches.

    Its figures are medians of batches, which are as large whatever the size of the site. A machine is in another mood
    every few seconds, by more than what the sizes differ by. So every size is measured beside a controller of one and
    the same size: the two have a batch each in turn, forth and back, and what is held against other sizes is the median
    of the ratios of two batches that follow each other.
    """

    name = "scale"
    title = "Flow set-ups with more switches and more sessions, with fake switches on loopback"
    sides: ClassVar = {
        "1": "1 switch",
        "10": "10 switches",
        "100": "100 switches",
        ACROSS: "10 switches, each flow between two",
    }
    measures = (
        Measure("rate", "set-ups, many at once", "per second"),
        Measure("cpu", "processor time of the controller", "µs per set-up", digits=2),
        Measure("rate_beside", "set-ups per second, times those of the smallest size beside it", TIMES, digits=2),
        Measure("cpu_beside", "processor time, times that of the smallest size beside it", TIMES, digits=2),
        Measure("spread", "the middle half of a turn's batches is apart by", "% of their median", is_drawn=False),
        Measure("cpu_whole", "processor time, with the flows' ends, the log and all else", "µs per set-up", digits=2),
        Measure("p50", "one at a time, p50", "µs"),
        Measure("p99", "one at a time, p99", "µs", is_log=True),
        Measure("memory", "memory of the controller at the most", "MiB"),
        Measure("start", "seconds until it listens", "s", digits=1),
        Measure("ready", "seconds until every switch has its tables", "s", digits=1),
        Measure("entries", "standing entries of all switches", "", is_log=True),
        Measure("load_busy", "the generator was at work", "% of the time", is_drawn=False),
        Measure("sent_again", "packets that were sent again, for none came out in two seconds", "", is_drawn=False),
    )
    goals = (
        within("set-ups per second, of all switches and sessions apart by", apart("rate_beside", WITHIN), 20),
        within("processor time per set-up, apart by", apart("cpu_beside", WITHIN), 20),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.axis = Axis("sessions", "sessions", QUICK if run.is_quick else POINTS)
        small = {"single": 50, "many": 400, "batches": 2, "window": 8, "warm": 10}
        large = {"single": 1000, "many": 12_500, "batches": 60, "window": 128}
        self._size: dict[str, int] = small if run.is_quick else large
        self.parameters = {"load": asdict(self._load("1", POINTS[0])), "largest": LARGE if not run.is_full else None}

    def _load(self, side: str, point: int) -> Load:
        size = Load(switches_of(side), point, across=side == ACROSS)
        size = replace(size, **self._size)  # type: ignore[arg-type]  # of its numbers
        return replace(size, warm=max(size.warm, point))  # a session's first flow costs more: none is among the timed

    def can(self, side: str, point: int) -> bool:
        """Without `--full` the largest are left out; in a quick run all that have a hundred switches, too."""
        if self.run.is_quick:
            return side != "100" and (side != ACROSS or point == QUICK[0])
        if side == ACROSS and point != ACROSS_POINT:
            return self.run.is_full and point < ACROSS_POINT
        return self.run.is_full or switches_of(side) * point <= LARGE

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Compile the generator, and write every site once. Raises LabError."""
        program()
        for point in self.axis.points if self.axis else ():
            for side in self.sides:
                if self.can(side, point):
                    Site(switches_of(side), point, across=side == ACROSS).write(self._made(side, point))
        yield

    def _made(self, side: str, point: int) -> Path:
        return self.run.folder / f"scale-{side}-{point}"

    def turn(self, side: str, number: int, point: int) -> Turn:
        """A size beside the reference, each with its own controller and generator. Raises LabError."""
        folder = self.run.folder / f"scale-{number}-{side}-{point}"
        folder.mkdir()
        try:
            with ExitStack() as running:
                pair = [
                    running.enter_context(
                        batches_of_zethane(self._load(*size), folder / name, self.run.tagged, self._made(*size))
                    )
                    for name, size in (("own", (side, point)), ("reference", REFERENCE))
                ]
                for turned in range(self._size["batches"]):
                    for batches in pair if turned % 2 else reversed(pair):
                        batches.next()
            own, reference = (batches.told for batches in pair)
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # hundreds of megabytes; what is left goes with the run
        return {key: value for key, value in own.items() if not isinstance(value, list)} | {
            "rate_beside": 1 / ratio_in_turns(own["walls"], reference["walls"]),
            "cpu_beside": ratio_in_turns(own["cpus"], reference["cpus"]),
        }
