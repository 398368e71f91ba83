"""`throughput`: what the switch makes of established connections: bits per second, and small round trips."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import ClassVar

from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from perf.data_path import HEADINGS, PORT, DataPath, daemon_time, data_path
from perf.goals import at_least, ratio
from perf.path_program import WARM_UP, PathProgram

VERIFIED, CONNTRACK = 0.95, 0.85


@dataclass(frozen=True, slots=True)
class ThroughputLoad:
    """Seconds of each stream, how many streams are several, and how many round trips there are."""

    seconds: float = 2.0
    streams: int = 8
    round_trips: int = 4000


@registered
class Throughput(Benchmark):
    """Turns of the benchmark, on one bridge between two hosts."""

    name = "throughput"
    title = "Established TCP connections between two hosts through one Open vSwitch bridge"
    sides: ClassVar = HEADINGS
    measures = (
        Measure("one", "one stream", "Mbit/s"),
        Measure("several", "eight streams together", "Mbit/s"),
        Measure("daemon", "processor time of the switch's daemon per Gbit of them", "ms"),
        Measure("p50", "round trip of 32 bytes, p50", "µs", 1),
        Measure("p99", "round trip of 32 bytes, p99", "µs", 1),
    )
    pairs = (("verified", "normal"), ("grant", "normal"), ("firewall", "normal"))
    goals = tuple(
        at_least(f"{text}, {order}", figure, least)
        for side, least in (("verified", VERIFIED), ("grant", CONNTRACK))
        for text, order, figure in (
            ("one stream", f"{HEADINGS[side]} / NORMAL", ratio("one", side, "normal")),
            ("eight streams", f"{HEADINGS[side]} / NORMAL", ratio("several", side, "normal")),
            ("round trip, p50", f"NORMAL / {HEADINGS[side]}", ratio("p50", "normal", side)),
            ("round trip, p99", f"NORMAL / {HEADINGS[side]}", ratio("p99", "normal", side)),
        )
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = ThroughputLoad(0.2, 4, 200) if run.is_quick else ThroughputLoad()
        self.parameters = asdict(self._load)
        self._path: DataPath
        self._program: PathProgram

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """The network, and Zethane. Raises LabError."""
        self._program = PathProgram(self.run.folder)
        with data_path(self.run, self.sides) as self._path:
            yield

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # no axis
        """Measure one side once. Raises LabError."""
        load, program = self._load, self._program
        with self._path.given_to(side) as (client, server):
            ends = client, server, PORT
            one = program.stream(*ends, 1, load.seconds)
            before = daemon_time()
            several = program.stream(*ends, load.streams, load.seconds)
            daemon = (daemon_time() - before) * 1000 / (several * (load.seconds + WARM_UP) / 1e9)
            found = {"one": one / 1e6, "several": several / 1e6, **program.round_trips(*ends, load.round_trips)}
            return found if side == "direct" else {**found, "daemon": daemon}
