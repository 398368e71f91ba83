"""The load generator: a process that is a switch, sends the packets of new flows, and times their set-up.

`python -m perf.generator` connects, does the handshake, and sends flows twice: one at a time, for the latency of a
set-up from the packet-in to its last answer, and with many outstanding, for the rate. It prints JSON.
All packet-ins are made before the clock runs. The same generator against the reflector shows its own limit.
"""

from __future__ import annotations

import argparse
import gc
import json
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from perf import wire
from perf.statistics import percentile
from perf.switch import TIMEOUT, LoadError, Side, SwitchEnd

WARM_UP = 500
"""Flows that are set up before anything is measured."""


@dataclass(frozen=True, slots=True)
class SetupResult:
    """One turn: flows per second with many outstanding, microseconds of one at a time."""

    rate: float
    p50: float
    p99: float
    flows: int


def packet_ins(side: Side, rule: int, count: int) -> list[bytes]:
    """The packet-ins of the first `count` flows, as the switch of this controller sends them."""
    if count > wire.MAX_FLOWS:
        raise LoadError(f"{count} flows are more than the sessions may open: at most {wire.MAX_FLOWS}")
    flows = map(wire.NewFlow, range(count))
    if side == "os-ken":
        return [flow.from_table_miss() for flow in flows]
    return [flow.from_pipeline(rule) for flow in flows]


def one_at_a_time(switch: SwitchEnd, messages: Sequence[bytes]) -> list[int]:
    """The nanoseconds that each set-up takes when there is no other."""
    taken = []
    clock = time.perf_counter_ns
    for due, message in enumerate(messages, switch.completed + 1):
        begun = clock()
        switch.send(message)
        while switch.completed < due:
            switch.receive()
        taken.append(clock() - begun)
    return taken


def many_at_once(switch: SwitchEnd, messages: Sequence[bytes], window: int) -> float:
    """Set-ups per second with `window` outstanding."""
    first = switch.completed
    total = len(messages)
    sent = min(window, total)
    begun = time.perf_counter()
    switch.send(b"".join(messages[:sent]))
    while (done := switch.completed - first) < total:
        if sent < min(done + window, total):
            more = min(done + window, total)
            switch.send(b"".join(messages[sent:more]))
            sent = more
        switch.receive()
    return total / (time.perf_counter() - begun)


def measure(address: tuple[str, int], side: Side, single: int, many: int, window: int) -> SetupResult:
    """One turn against the controller at `address`. Raises LoadError."""
    with socket.create_connection(address, TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        switch = SwitchEnd(connection, side)
        switch.handshake()
        messages = packet_ins(side, switch.rule, WARM_UP + single + many)
        gc.freeze()
        gc.disable()  # the generator's pauses are not the controller's
        many_at_once(switch, messages[:WARM_UP], window)
        latencies = [taken / 1000 for taken in one_at_a_time(switch, messages[WARM_UP : WARM_UP + single])]
        rate = many_at_once(switch, messages[WARM_UP + single :], window)
    if switch.completed != len(messages) or (side != "os-ken" and switch.flow_mods != 2 * len(messages)):
        raise LoadError(f"{len(messages)} flows, {switch.flow_mods} flow-mods, {switch.delivered} packets")
    return SetupResult(rate, percentile(latencies, 50), percentile(latencies, 99), len(messages))


def main() -> int:
    """Run one turn from the command line."""
    parser = argparse.ArgumentParser(prog="perf.generator")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--side", choices=("zethane", "os-ken", "limit"), required=True)
    parser.add_argument("--single", type=int, required=True)
    parser.add_argument("--many", type=int, required=True)
    parser.add_argument("--window", type=int, required=True)
    given = parser.parse_args()
    try:
        result = measure(("127.0.0.1", given.port), given.side, given.single, given.many, given.window)
    except (LoadError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
