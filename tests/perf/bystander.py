"""The load of `fairness` and `isolation`: a switch where hosts open a flow now and then, while one port may flood.

`python -m perf.bystander` prints the microseconds from the packet-in of each bystander's flow until its packet comes
out, as JSON. The flood is what the port's meter lets through, at its worst: 5,000 new flows a second, in bursts.
"""

from __future__ import annotations

import argparse
import gc
import json
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass

from perf import wire
from perf.statistics import percentile
from perf.switch import TIMEOUT, LoadError, SwitchEnd

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
    flows: int
    flood: int


class _Switch(SwitchEnd):
    """Notes when a flow's packet comes out, in whatever order."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection, "zethane")
        self.out: dict[int, int] = {}

    def _answer(self, kind: int, xid: int, message: bytes) -> None:
        # Of what a policy writes in a bundle nothing is looked at once its rule is known: it would hold up the clock.
        if kind != wire.EXPERIMENTER or not self.rule or message[12:16] != _BUNDLE_ADD:
            super()._answer(kind, xid, message)

    def _deliver(self, data: bytes, frame: int) -> None:
        at = frame + wire.SEQUENCE_AT
        self.out[int.from_bytes(data[at : at + 4], "big")] = time.perf_counter_ns()


_BUNDLE_ADD = (2301).to_bytes(4, "big")


def live(number: int) -> int:
    """The sequence number of the flow of this number that is there before: those of the other clients in turn."""
    return number // len(OTHERS) * wire.CLIENTS + OTHERS[number % len(OTHERS)]


def bystander(number: int) -> int:
    """The sequence number of the bystanders' flow of this number: each port in turn."""
    return number // BYSTANDERS * wire.CLIENTS + number % BYSTANDERS


def measure(
    address: tuple[str, int], flows: int, interval: float, burst: int, every: float, before: int = 0
) -> FairnessResult:
    """One turn: a flow each `interval` seconds, beside `burst` new flows of one port each `every` seconds.

    So many flows are opened `before`, and a line is printed when they are.
    """
    with socket.create_connection(address, TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        switch = _Switch(connection)
        switch.handshake()
        sequences = [bystander(number) for number in range(WARM_UP + flows)]
        messages = [wire.NewFlow(sequence).from_pipeline(switch.rule) for sequence in sequences]
        bursts = _bursts(switch.rule, burst, int(len(messages) * interval / every) + 1 if burst else 0)
        _open(switch, [live(number) for number in range(before)])
        print("begun", flush=True)
        gc.freeze()
        gc.disable()  # the generator's pauses are not the controller's
        sent = _run(connection, switch, list(zip(sequences, messages, strict=True)), bursts, interval, every)
    latencies = [(switch.out[one] - sent[one]) / 1000 for one in sequences[WARM_UP:]]
    return FairnessResult(percentile(latencies, 50), percentile(latencies, 99), len(latencies), burst * len(bursts))


def _open(switch: _Switch, sequences: list[int]) -> None:
    """Set up flows that nobody times."""
    for at in range(0, len(sequences), AT_ONCE):
        some = sequences[at : at + AT_ONCE]
        switch.send(b"".join(wire.NewFlow(sequence).from_pipeline(switch.rule) for sequence in some))
        while not switch.out.keys() >= set(some):
            switch.receive()


def _bursts(rule: int, burst: int, number: int) -> list[bytes]:
    flood = (wire.NewFlow(index * wire.CLIENTS + FLOODER).from_pipeline(rule) for index in range(burst * number))
    return [b"".join(next(flood) for _ in range(burst)) for _ in range(number)]


def _run(
    connection: socket.socket,
    switch: _Switch,
    flows: list[tuple[int, bytes]],
    bursts: list[bytes],
    interval: float,
    every: float,
) -> dict[int, int]:
    """Send everything at its time and take what comes out; when each bystander's packet-in was sent."""
    sent: dict[int, int] = {}
    begun = time.perf_counter()
    due = sorted(
        [(every * number, None, burst) for number, burst in enumerate(bursts)]
        + [(interval * number, sequence, message) for number, (sequence, message) in enumerate(flows)],
        key=lambda one: one[0],
    )
    wanted = {sequence for sequence, _ in flows}
    at = 0
    while at < len(due) or not wanted <= switch.out.keys():
        now = time.perf_counter() - begun
        while at < len(due) and due[at][0] <= now:
            _, sequence, message = due[at]
            at += 1
            if sequence is not None:
                sent[sequence] = time.perf_counter_ns()
            switch.send(message)
        wait = max(0.0, due[at][0] - now) if at < len(due) else TIMEOUT
        if select.select([connection], [], [], wait)[0]:
            switch.receive()
        elif at >= len(due):
            raise LoadError(f"{len(wanted - switch.out.keys())} flows were not set up")
    return sent


def main() -> int:
    """Run one turn from the command line."""
    parser = argparse.ArgumentParser(prog="perf.bystander")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--flows", type=int, required=True)
    parser.add_argument("--interval", type=float, required=True)
    parser.add_argument("--burst", type=int, required=True)
    parser.add_argument("--every", type=float, required=True)
    parser.add_argument("--live", type=int, default=0)
    given = parser.parse_args()
    try:
        address = ("127.0.0.1", given.port)
        result = measure(address, given.flows, given.interval, given.burst, given.every, given.live)
    except (LoadError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
