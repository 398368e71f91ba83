"""`throughput`: what the switch makes of established connections: bits per second, and small round trips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import ClassVar

from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from perf.data_path import HEADINGS, PORT, DataPath, daemon_time, data_path
from perf.goals import TIMES, at_least, median_of
from perf.network import End
from perf.path_program import WARM_UP, PathProgram
from perf.statistics import percentile, ratio_in_turns

VERIFIED, CONNTRACK = 0.95, 0.85


SIDES = {"normal": HEADINGS["normal"], "again": "NORMAL, again", **HEADINGS}
"""`again` is the same bridge as `normal`: what the two differ by is the machine's doing, and no side's."""


BESIDE = {
    "one": "one stream / that of NORMAL beside it",
    "several": "eight streams / those of NORMAL beside them",
    "p50": "round trip of NORMAL beside it / round trip, p50",
    "p99": "round trip of NORMAL beside it / round trip, p99",
}
"""Each piece held against the piece of `NORMAL` in the same passage, so that more is better."""


@dataclass(frozen=True, slots=True)
class ThroughputLoad:
    """How often all sides are gone through in a round with streams, and with round trips; and of each piece: seconds of
    each stream, how many streams are several, and how many round trips there are."""

    pieces: int = 10
    seconds: float = 0.5
    streams: int = 8
    trip_pieces: int = 40
    round_trips: int = 1200


@registered
class Throughput(Benchmark):
    """Turns of the benchmark, on one bridge between two hosts.

    A machine is in another mood every few seconds, by more than what the sides differ by. So a round goes through them
    several times, forth and back. Of streams a piece takes a few seconds, and a side has the median of its pieces. Of
    round trips it takes a fraction of a second, and a side has the percentiles of all that it has made in the round.
    What is held against the goals is the median of the ratios of its pieces to those of `NORMAL` in the same passage.
    """

    name = "throughput"
    title = "Established TCP connections between two hosts through one Open vSwitch bridge"
    sides: ClassVar = SIDES
    measures = (
        Measure("one", "one stream", "Mbit/s"),
        Measure("several", "eight streams together", "Mbit/s"),
        Measure("daemon", "processor time of the switch's daemon per Gbit of them", "ms"),
        Measure("p50", "round trip of 32 bytes, p50", "µs", 1),
        Measure("p99", "round trip of 32 bytes, p99", "µs", 1),
        *(Measure(f"{key}_beside", text, TIMES, 2) for key, text in BESIDE.items()),
    )
    pairs = (("again", "normal"), ("verified", "normal"), ("grant", "normal"), ("firewall", "normal"))
    goals = tuple(
        at_least(f"{HEADINGS[side]}: {text}", median_of(f"{key}_beside", side), least)
        for side, least in (("verified", VERIFIED), ("grant", CONNTRACK))
        for key, text in BESIDE.items()
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = ThroughputLoad()
        if run.is_quick:
            self._load = ThroughputLoad(1, 0.2, 4, 2, 100)
        self.parameters = asdict(self._load)
        self._path: DataPath
        self._program: PathProgram
        self._rounds: dict[int, Mapping[str, Turn]] = {}

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """The network, and Zethane. Raises LabError."""
        self._program = PathProgram(self.run.folder)
        with data_path(self.run, HEADINGS) as self._path:
            yield

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # no axis
        """What a side has in a round, which is measured when the first is asked for. Raises LabError."""
        if number not in self._rounds:
            self._rounds[number] = self._round(number)
        return self._rounds[number][side]

    def _round(self, number: int) -> Mapping[str, Turn]:
        streams: dict[str, list[Turn]] = {side: [] for side in self.sides}
        for side in self._order(number, self._load.pieces):
            streams[side].append(self._streams(side))
        trips: dict[str, list[list[float]]] = {side: [] for side in self.sides}
        for side in self._order(number, self._load.trip_pieces):
            trips[side].append(self._round_trips(side))
        return {
            side: {**_told(streams[side], trips[side]), **self._beside(side, streams, trips)} for side in self.sides
        }

    def _beside(
        self, side: str, streams: Mapping[str, Sequence[Turn]], trips: Mapping[str, Sequence[Sequence[float]]]
    ) -> Turn:
        """A side's pieces held against those of `NORMAL` in the same passage."""
        if side in ("normal", "direct"):
            return {}
        return {
            f"{key}_beside": ratio_in_turns(*([piece[key] for piece in streams[which]] for which in (side, "normal")))
            for key in ("one", "several")
        } | {
            f"p{percent}_beside": 1
            / ratio_in_turns(*([percentile(piece, percent) for piece in trips[which]] for which in (side, "normal")))
            for percent in (50, 99)
        }

    def _order(self, number: int, pieces: int) -> Iterator[str]:
        """All sides so many times, forth and back."""
        for piece in range(pieces):
            for side in list(self.sides) if (number + piece) % 2 == 0 else list(self.sides)[::-1]:
                if side != "direct" or piece == 0:  # what no switch is in the way of is no measure of one
                    yield side

    def _streams(self, side: str) -> Turn:
        load, program = self._load, self._program
        with self._given(side) as ends:
            one = program.stream(*ends, 1, load.seconds)
            before = daemon_time()
            several = program.stream(*ends, load.streams, load.seconds)
            daemon = (daemon_time() - before) * 1000 / (several * (load.seconds + WARM_UP) / 1e9)
            found = {"one": one / 1e6, "several": several / 1e6}
            return found if side == "direct" else {**found, "daemon": daemon}

    def _round_trips(self, side: str) -> list[float]:
        with self._given(side) as ends:
            return self._program.round_trips(*ends, self._load.round_trips)

    @contextmanager
    def _given(self, side: str) -> Iterator[tuple[End, End, int]]:
        with self._path.given_to("normal" if side == "again" else side) as (client, server):
            yield client, server, PORT


def _told(streams: Sequence[Turn], trips: Sequence[Sequence[float]]) -> Turn:
    """A side's own figures of a round, from its pieces."""
    every = [trip for piece in trips for trip in piece]
    return {
        **{key: median(piece[key] for piece in streams) for key in streams[0]},
        **{f"p{percent}": percentile(every, percent) for percent in (50, 99)},
    }
