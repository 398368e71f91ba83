"""The load of `fairness` and `isolation`: a switch where hosts open a flow now and then, while one port may flood.

`python -m perf.bystander` prints the microseconds from the packet-in of each bystander's flow until its packet comes
out, as JSON. The flood is what the port's meter lets through, at its worst: 5,000 new flows a second, in bursts.
The clock is `native/bystander.c`: reading a flood's answers in Python takes ten milliseconds for each burst, in which
bystanders' answers would wait.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.errors import LabError
from perf import wire
from perf.load import compiled
from perf.statistics import percentile
from perf.switch import TIMEOUT, LoadError, Side, SwitchEnd

SOURCE = Path(__file__).parent / "native" / "bystander.c"

BYSTANDERS = 32
"""Ports that open the flows which are timed."""

FLOODER = wire.CLIENTS - 1
"""The client whose port floods."""

OTHERS = range(BYSTANDERS, FLOODER)
"""The clients that have opened flows before, which live on."""

AT_ONCE = 128
"""Of those flows, how many are outstanding."""

WARM_UP = 100
"""Bystanders' flows that are not timed."""


@dataclass(frozen=True, slots=True)
class FairnessResult:
    """One turn: microseconds of the bystanders' set-ups, and how many packets the flood was."""

    p50: float
    p99: float
    p999: float
    most: float
    flows: int
    flood: int


class _Switch(SwitchEnd):
    """Notes when a flow's packet comes out, in whatever order."""

    def __init__(self, connection: socket.socket, side: Side) -> None:
        super().__init__(connection, side)
        self.out: set[int] = set()

    def finish(self) -> None:
        """Read to the end of a message, for whoever reads on."""
        while self._rest:
            self.receive()

    def _deliver(self, data: bytes, frame: int) -> None:
        at = frame + wire.SEQUENCE_AT
        self.out.add(int.from_bytes(data[at : at + 4], "big"))


def live(number: int) -> int:
    """The sequence number of the flow of this number that is there before: those of the other clients in turn."""
    return number // len(OTHERS) * wire.CLIENTS + OTHERS[number % len(OTHERS)]


def bystander(number: int) -> int:
    """The sequence number of the bystanders' flow of this number: each port in turn."""
    return number // BYSTANDERS * wire.CLIENTS + number % BYSTANDERS


def measure(
    address: tuple[str, int], flows: int, interval: float, burst: int, every: float, before: int = 0, *, alone: bool
) -> FairnessResult:
    """One turn: a flow each `interval` seconds, beside `burst` new flows of one port each `every` seconds.

    So many flows are opened `before`, and a line is printed when they are. `alone` is against the reflector.
    """
    with socket.create_connection(address, TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        switch = _Switch(connection, "limit" if alone else "zethane")
        switch.handshake()
        sequences = [bystander(number) for number in range(WARM_UP + flows)]
        bursts = int(len(sequences) * interval / every) + 1 if burst else 0
        flood = [index * wire.CLIENTS + FLOODER for index in range(burst * bursts)]
        rule = switch.rule or 1
        load = b"".join(wire.NewFlow(sequence).from_pipeline(rule) for sequence in (*sequences, *flood))
        _open(switch, rule, [live(number) for number in range(before)])
        switch.finish()
        print("begun", flush=True)
        latencies = _clocked(connection, load, len(sequences), interval, burst, every)[WARM_UP:]
    p50, p99, p999, most = (percentile(latencies, part) for part in (50, 99, 99.9, 100))
    return FairnessResult(p50, p99, p999, most, len(latencies), len(flood))


def _open(switch: _Switch, rule: int, sequences: list[int]) -> None:
    """Set up flows that nobody times."""
    for at in range(0, len(sequences), AT_ONCE):
        some = sequences[at : at + AT_ONCE]
        switch.send(b"".join(wire.NewFlow(sequence).from_pipeline(rule) for sequence in some))
        while not switch.out >= set(some):
            switch.receive()


def _clocked(
    connection: socket.socket, load: bytes, flows: int, interval: float, burst: int, every: float
) -> list[float]:
    """Have the compiled program send everything at its time; the microseconds of each flow. Raises LoadError."""
    numbers = (connection.fileno(), flows, round(interval * 1e6), burst, round(every * 1e6))
    done = subprocess.run(
        [str(compiled(SOURCE)), *map(str, numbers)],
        input=load,
        capture_output=True,
        check=False,
        pass_fds=[connection.fileno()],
    )
    if done.returncode:
        raise LoadError(done.stderr.decode(errors="replace").strip()[-2000:])
    return [int(line) / 1000 for line in done.stdout.split()]


def main() -> int:
    """Run one turn from the command line."""
    parser = argparse.ArgumentParser(prog="perf.bystander")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--flows", type=int, required=True)
    parser.add_argument("--interval", type=float, required=True)
    parser.add_argument("--burst", type=int, required=True)
    parser.add_argument("--every", type=float, required=True)
    parser.add_argument("--live", type=int, default=0)
    parser.add_argument("--alone", type=int, default=0)
    given = parser.parse_args()
    try:
        address = ("127.0.0.1", given.port)
        result = measure(
            address, given.flows, given.interval, given.burst, given.every, given.live, alone=bool(given.alone)
        )
    except (LoadError, LabError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
