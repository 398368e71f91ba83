"""`scale`: the same set-ups with more switches and more sessions. What one costs should not depend on either."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

from perf.benchmark import Axis, Benchmark, Measure, Run, Turn, registered
from perf.goals import apart, within
from perf.load import Batches, Load, batches_of_zethane, program
from perf.site import Site
from perf.statistics import evened

POINTS = (100, 10_000, 100_000)
QUICK = (100,)
ACROSS_POINT = 10_000
"""The largest size of flows between switches that is measured: every switch has every session."""

LARGE = 100_000
"""Switches times sessions above which a cell is measured with `--full` alone: its controller takes long to start."""

ACROSS = "10-across"
"""Twice the flow-mods: the rules of a flow are at both of its ends. So it is no part of the goals."""

WITHIN = ("1", "10", "100")


def switches_of(side: str) -> int:
    """How many switches a side has."""
    return int(side.partition("-")[0])


@registered
class Scale(Benchmark):
    """Each size has its own controller, which takes all sessions from its store and writes them to the switches.

    Its figures are medians of batches, which are as large whatever the size of the site. A machine is in another mood
    every few seconds, by more than what the sizes differ by. So all controllers of a round are there together, and have
    a batch each in turn, forth and back; what the machine does to the batches of all of them is divided out.
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
        within("set-ups per second, of all numbers of switches and sessions apart by", apart("rate", WITHIN), 20),
        within("processor time per set-up, apart by", apart("cpu", WITHIN), 20),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.axis = Axis("sessions", "sessions", QUICK if run.is_quick else POINTS)
        small = {"single": 50, "many": 400, "batches": 2, "window": 8, "warm": 10}
        large = {"single": 1000, "many": 12_500, "batches": 30, "window": 128}
        self._size: dict[str, int] = small if run.is_quick else large
        self._rounds: dict[int, Mapping[tuple[str, int], Turn]] = {}
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
        """What a size has in a round, which is measured when the first is asked for. Raises LabError."""
        if number not in self._rounds:
            self._rounds[number] = self._round(number)
        return self._rounds[number][side, point]

    def _round(self, number: int) -> Mapping[tuple[str, int], Turn]:
        """All sizes once. Raises LabError."""
        points = self.axis.points if self.axis else ()
        sizes = [(side, point) for point in points for side in self.sides if self.can(side, point)]
        if number % 2:
            sizes.reverse()
        folder = self.run.folder / f"scale-round-{number}"
        folder.mkdir()
        found: dict[tuple[str, int], Batches] = {}
        try:
            with ExitStack() as running:
                for side, point in sizes:
                    own = batches_of_zethane(
                        self._load(side, point), folder / f"{side}-{point}", self.run.tagged, self._made(side, point)
                    )
                    found[side, point] = running.enter_context(own)
                for _ in range(self._size["batches"]):
                    for size in sizes:
                        found[size].next()
                    sizes.reverse()
            return _figures({size: batches.told for size, batches in found.items()}, self._size["many"])
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # a hundred megabytes each; what is left goes with the run


def _figures(told: Mapping[tuple[str, int], Mapping[str, Any]], flows: int) -> Mapping[tuple[str, int], Turn]:
    """What the generators say, with rates and processor times of the batches held against those beside them."""
    walls = evened({size: found["walls"] for size, found in told.items()})
    cpus = evened({size: found["cpus"] for size, found in told.items()})
    return {
        size: {key: value for key, value in found.items() if not isinstance(value, list)}
        | {"rate": flows * 1e9 / walls[size], "cpu": cpus[size] / flows / 1000}
        for size, found in told.items()
    }
