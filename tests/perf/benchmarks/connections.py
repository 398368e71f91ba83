"""`connections`: new connections per second, each with a byte there, a byte back and its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import ClassVar

from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from perf.data_path import HEADINGS, PORTS, DataPath, daemon_time, data_path
from perf.goals import at_least, ratio
from perf.path_program import PathProgram, Protocol

PROTOCOLS: tuple[Protocol, ...] = ("tcp", "udp")
GRANTED = 0.8


@dataclass(frozen=True, slots=True)
class ConnectionLoad:
    """Clients, how many connections of all of them are under way at any time, and seconds of each protocol."""

    clients: int = 4
    window: int = 32
    seconds: float = 3.0


@registered
class Connections(Benchmark):
    """Turns of the benchmark: several clients, because what one port may open anew per second is bounded."""

    name = "connections"
    title = "New connections through one Open vSwitch bridge, from four ports to one"
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
    )
    pairs = (("verified", "normal"), ("grant", "normal"), ("firewall", "normal"))
    goals = tuple(
        at_least(f"{proto.upper()}, Zethane, grant / NORMAL", ratio(proto, "grant", "normal"), GRANTED)
        for proto in PROTOCOLS
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = ConnectionLoad(seconds=0.3) if run.is_quick else ConnectionLoad()
        self.parameters = asdict(self._load)
        self._path: DataPath
        self._program: PathProgram

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """The network, and Zethane. Raises LabError."""
        self._program = PathProgram(self.run.folder)
        with data_path(self.run, self.sides, clients=self._load.clients, name="c", stack=False) as self._path:
            yield

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # no axis
        """Measure one side once. Raises LabError."""
        load = self._load
        found: dict[str, float] = {}
        with self._path.given_to(side) as ends:
            for proto in PROTOCOLS:
                before = daemon_time()
                told = self._program.connections(ends, PORTS, load.seconds, load.window, proto)
                used = daemon_time() - before
                found |= {proto: told["rate"], f"{proto}_p50": told["p50"], f"{proto}_p99": told["p99"]}
                found[f"{proto}_lost"] = told["lost"]
                if side != "direct":
                    found[f"{proto}_daemon"] = used * 1e6 / told["made"]
        return found
