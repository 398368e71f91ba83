"""`live-connections`: what a new connection and a round trip cost when so many others are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import ClassVar

from lab.errors import LabError
from perf.benchmark import Axis, Benchmark, Measure, Run, Turn, registered
from perf.data_path import HEADINGS, PORTS, DataPath, data_path
from perf.goals import TIMES, at_least, at_most, growth, median_of
from perf.network import End
from perf.path_program import Held, PathProgram

POINTS = (1_000, 10_000, 100_000)
FULL_POINTS = (*POINTS, 1_000_000)
QUICK_POINTS = (100, 300)


@dataclass(frozen=True, slots=True)
class HeldLoad:
    """Clients, how many connections are being opened at any time, and single ones and round trips that are timed."""

    clients: int = 4
    window: int = 64
    probes: int = 1000


@registered
class LiveConnections(Benchmark):
    """A round opens them once for each side, and measures on the way; `--full` goes on to a million."""

    name = "live-connections"
    title = "TCP connections that stay open, through one Open vSwitch bridge that tracks them"
    sides: ClassVar = {key: HEADINGS[key] for key in ("grant", "firewall")}
    measures = (
        Measure("new_p50", "a new connection, p50", "µs", 1),
        Measure("new_p99", "a new connection, p99", "µs", 1, is_log=True),
        Measure("trip_p50", "a round trip over one that is there, p50", "µs", 1),
        Measure("trip_p99", "a round trip over one that is there, p99", "µs", 1, is_log=True),
        Measure("rate", "opened on the way there", "per second"),
        Measure("tracked", "connections that the switch counts", "", is_drawn=False),
    )
    pairs = (("grant", "firewall"),)

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        points = QUICK_POINTS if run.is_quick else FULL_POINTS if run.is_full else POINTS
        self.axis = Axis("connections", "live connections", points)
        self._load = HeldLoad(probes=20) if run.is_quick else HeldLoad()
        if run.is_full:
            most = points[-1]
            self.goals = (
                at_least("live connections of grants", median_of("tracked", "grant", most), most),
                at_most(
                    f"a new connection at {most:,} of them, p50", growth("new_p50", "grant", points[0], most), 2, TIMES
                ),
            )
        self.parameters = asdict(self._load)
        self._path: DataPath
        self._program: PathProgram
        self._turns: dict[tuple[str, int], Mapping[int, Turn]] = {}

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """The network, and Zethane. Raises LabError."""
        self._program = PathProgram(self.run.folder)
        with data_path(self.run, self.sides, clients=self._load.clients, name="l", stack=False) as self._path:
            yield

    def turn(self, side: str, number: int, point: int) -> Turn:
        """What a side has at a point, of all points of the round, which are measured when the first is asked for."""
        if (side, number) not in self._turns:
            self._turns[side, number] = self._grow(side)
        return self._turns[side, number][point]

    def _held(self, ends: tuple[End, ...]) -> AbstractContextManager[Held]:
        return self._program.held(ends, PORTS, self._load.window, self._load.probes)

    def _grow(self, side: str) -> Mapping[int, Turn]:
        assert self.axis is not None
        points, found, there = self.axis.points, dict[int, dict[str, float]](), 0
        with self._path.given_to(side) as ends, self._held(ends) as held:
            for point in points:
                told = held.grow(max(0, point - there - self._load.probes))
                there = int(told["held"])
                found[point] = {**told, "tracked": self._path.tracked(side)}
                if not told["rate"]:  # the single ones were all that was lacking
                    del found[point]["rate"]
                if found[point]["tracked"] < point:
                    raise LabError(f"{side}: {point} connections were opened and the switch knows of fewer")
        return found
