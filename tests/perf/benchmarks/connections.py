"""`connections`: new connections per second, each with a byte there, a byte back and its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import ClassVar

from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from perf.daemon import Daemon
from perf.data_path import HEADINGS, PORTS, DataPath, data_path
from perf.goals import TIMES, at_least, median_of
from perf.path_program import PathProgram, Protocol
from perf.statistics import ratio_in_turns

PROTOCOLS: tuple[Protocol, ...] = ("tcp", "udp")
GRANTED = 0.8

COMPARED = frozenset(("normal", "grant", "firewall"))
"""The sides that differ by less than the mood of a machine from one second to the next."""


@dataclass(frozen=True, slots=True)
class ConnectionLoad:
    """Clients, how many connections of all of them are under way at any time, the pieces of a round, and the seconds
    of each protocol in one before it counts and while it does."""

    clients: int = 6
    window: int = 32
    pieces: int = 12
    warm_up: float = 0.2
    seconds: float = 0.5


@registered
class Connections(Benchmark):
    """Turns of the benchmark: so many clients that what each port may open anew per second is no bound.

    Sides that are held against each other closely take turns within a round, forth and back, a piece of a second or
    two each, and have the median of their pieces. What is held against the goals is the median of the ratios of their
    pieces to those of `NORMAL` in the same passage.

    Each protocol comes first in half of the passages: what the other's packets have left in the cache of the switch is
    tried before what its own need.
    """

    name = "connections"
    title = "New connections through one Open vSwitch bridge, from six ports to one"
    sides: ClassVar = HEADINGS
    measures = (
        Measure("tcp", "TCP: connect, a byte each way, close", "per second"),
        Measure("tcp_p50", "TCP: until the byte is back, p50", "µs"),
        Measure("tcp_p99", "TCP: until the byte is back, p99", "µs"),
        Measure("tcp_daemon", "processor time of the switch's daemon per TCP connection", "µs"),
        Measure("udp", "UDP: a byte each way", "per second"),
        Measure("udp_p50", "UDP: until the byte is back, p50", "µs"),
        Measure("udp_p99", "UDP: until the byte is back, p99", "µs"),
        Measure("udp_daemon", "processor time of the switch's daemon per UDP exchange", "µs"),
        *(
            Measure(f"{key}_beside", f"{text} / that of NORMAL beside it", TIMES, 2)
            for key, text in (
                ("tcp", "TCP connections per second"),
                ("tcp_daemon", "processor time per TCP connection"),
                ("udp", "UDP exchanges per second"),
                ("udp_daemon", "processor time per UDP exchange"),
            )
        ),
    )
    pairs = (("verified", "normal"), ("grant", "normal"), ("firewall", "normal"))
    goals = tuple(
        at_least(f"{proto.upper()}, Zethane, grant / NORMAL beside it", median_of(f"{proto}_beside", "grant"), GRANTED)
        for proto in PROTOCOLS
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = ConnectionLoad(pieces=1, warm_up=0.1, seconds=0.3) if run.is_quick else ConnectionLoad()
        self.parameters = asdict(self._load)
        self._path: DataPath
        self._program: PathProgram
        self._rounds: dict[int, Mapping[str, Turn]] = {}

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """The network, and Zethane. Raises LabError."""
        self._program = PathProgram(self.run.folder)
        with data_path(self.run, self.sides, clients=self._load.clients, name="c", stack=False) as self._path:
            yield

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # no axis
        """What a side has in a round, which is measured when the first is asked for. Raises LabError."""
        if number not in self._rounds:
            self._rounds[number] = self._round(number)
        return self._rounds[number][side]

    def _round(self, number: int) -> Mapping[str, Turn]:
        found: dict[str, list[Turn]] = {side: [] for side in self.sides}
        for piece in range(self._load.pieces):
            for side in list(self.sides)[:: 1 if (number + piece) % 2 == 0 else -1]:
                if side in COMPARED or piece == 0:
                    found[side].append(self._piece(side, PROTOCOLS[:: 1 if piece // 2 % 2 == 0 else -1]))
        told = {side: _together(pieces) for side, pieces in found.items()}
        beside = {side: _beside(found[side], found["normal"]) for side in COMPARED - {"normal"}}
        return {side: {**told[side], **beside.get(side, {})} for side in told}

    def _piece(self, side: str, protocols: Iterable[Protocol]) -> Turn:
        load = self._load
        found: dict[str, float] = {}
        with self._path.given_to(side) as ends:
            for proto in protocols:
                self._program.connections(ends, PORTS, load.warm_up, load.window, proto)
                daemon = Daemon()
                told = self._program.connections(ends, PORTS, load.seconds, load.window, proto)
                used = sum(daemon.used())
                found |= {proto: told["rate"], f"{proto}_p50": told["p50"], f"{proto}_p99": told["p99"]}
                found[f"{proto}_lost"] = told["lost"]
                if side != "direct":
                    found[f"{proto}_daemon"] = used * 1e6 / told["made"]
        return found


def _together(pieces: list[Turn]) -> Turn:
    """The medians of a side's pieces; what was lost is lost, in whichever."""
    return {key: (sum if key.endswith("_lost") else median)([piece[key] for piece in pieces]) for key in pieces[0]}


def _beside(own: list[Turn], normal: list[Turn]) -> Turn:
    """A side's pieces held against those of `NORMAL` in the same passage."""
    keys = [f"{proto}{what}" for proto in PROTOCOLS for what in ("", "_daemon")]
    return {f"{key}_beside": ratio_in_turns([one[key] for one in own], [one[key] for one in normal]) for key in keys}
