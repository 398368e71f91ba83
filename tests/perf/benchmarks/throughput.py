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
    """How often all sides are gone through in a round, and of each piece: seconds of each stream, how many streams are
    several, and how many round trips there are."""

    pieces: int = 20
    seconds: float = 0.3
    streams: int = 8
    round_trips: int = 2400


@dataclass(frozen=True, slots=True)
class Piece:
    """What a side was measured at in one passage: its streams' figures, and its round trips in µs."""

    streams: Turn
    trips: Sequence[float]

    def figures(self) -> Turn:
        """All of it, in figures."""
        return {**self.streams, **{f"p{percent}": percentile(self.trips, percent) for percent in (50, 99)}}


@registered
class Throughput(Benchmark):
    """Turns of the benchmark, on one bridge between two hosts.

    A machine is in another mood every few seconds, by more than what the sides differ by, and so is each connection, by
    which core the kernel has put whom on. So a round goes through the sides many times, forth and back, for a second
    or two each. A side has the median of its pieces and the percentiles of all its round trips; what is held against
    the goals is the median of the ratios of its pieces to those of `NORMAL` in the same passage.
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
            self._load = ThroughputLoad(2, 0.2, 4, 100)
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
        pieces: dict[str, list[Piece]] = {side: [] for side in self.sides}
        for side in self._order(number):
            pieces[side].append(self._piece(side))
        normal = pieces["normal"]
        return {
            side: {**_told(own), **({} if side in ("normal", "direct") else _beside(own, normal))}
            for side, own in pieces.items()
        }

    def _order(self, number: int) -> Iterator[str]:
        """All sides so many times, forth and back."""
        for piece in range(self._load.pieces):
            for side in list(self.sides) if (number + piece) % 2 == 0 else list(self.sides)[::-1]:
                if side != "direct" or piece == 0:  # what no switch is in the way of is no measure of one
                    yield side

    def _piece(self, side: str) -> Piece:
        load, program = self._load, self._program
        with self._given(side) as ends:
            one = program.stream(*ends, 1, load.seconds)
            before = daemon_time()
            several = program.stream(*ends, load.streams, load.seconds)
            daemon = (daemon_time() - before) * 1000 / (several * (load.seconds + WARM_UP) / 1e9)
            trips = program.round_trips(*ends, load.round_trips)
        streams = {"one": one / 1e6, "several": several / 1e6}
        return Piece(streams if side == "direct" else {**streams, "daemon": daemon}, trips)

    @contextmanager
    def _given(self, side: str) -> Iterator[tuple[End, End, int]]:
        with self._path.given_to("normal" if side == "again" else side) as (client, server):
            yield client, server, PORT


def _told(pieces: Sequence[Piece]) -> Turn:
    """A side's own figures of a round."""
    trips = [trip for piece in pieces for trip in piece.trips]
    return {
        **{key: median(piece.streams[key] for piece in pieces) for key in pieces[0].streams},
        **{f"p{percent}": percentile(trips, percent) for percent in (50, 99)},
    }


def _beside(own: Sequence[Piece], normal: Sequence[Piece]) -> Turn:
    """A side's pieces held against those of `NORMAL` in the same passage."""
    mine, theirs = ([piece.figures() for piece in pieces] for pieces in (own, normal))
    ratios = {key: ratio_in_turns([one[key] for one in mine], [one[key] for one in theirs]) for key in BESIDE}
    return {f"{key}_beside": 1 / ratio if key in ("p50", "p99") else ratio for key, ratio in ratios.items()}
