"""First packets: a program that sends UDP packets in one network namespace, receives them in another, and times them.

One thread and one clock: a packet's time is from before it is sent until it has been received. Its sockets stay in
the namespace that they were made in. It prints JSON.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from perf.statistics import percentile

PATIENCE = 1.0
"""Seconds after which a packet is lost."""

WARM_UP_PATIENCE = 0.1
WARM_UP_TIME = 20.0
"""Seconds within which the first packet must have come through."""

FIRST_SOURCE_PORT = 10_000
_CLONE_NEWNET = 0x40000000
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_NUMBER = struct.Struct("!Q")


class ProbeError(Exception):
    """Nothing came through, or the namespaces cannot be entered."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Microseconds of first packets and of packets of a flow that is there; how many first packets were lost."""

    new_p50: float
    new_p99: float
    old_p50: float
    old_p99: float
    lost: int


def enter(pid: int) -> None:
    """Go into the network namespace of a process. Raises ProbeError."""
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns is there from Python 3.12 on
    with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET):
            raise ProbeError(f"cannot enter the namespace of {pid}: {os.strerror(ctypes.get_errno())}")


class Prober:
    """A raw socket that sends as any source port, and a UDP socket that receives."""

    def __init__(self, sender: int, receiver: int, src: str, dst: str, port: int) -> None:
        enter(sender)
        self._out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        enter(receiver)
        self._in = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._in.bind((dst, port))
        self._src, self._dst, self._port = socket.inet_aton(src), socket.inet_aton(dst), port
        self._to = (dst, 0)
        self._number = 0

    def probe(self, source_port: int, patience: float = PATIENCE) -> int | None:
        """The nanoseconds that one packet takes; None if it does not come."""
        self._number += 1
        body = _NUMBER.pack(self._number)
        # Without a UDP checksum, which IPv4 allows (RFC 768); the kernel fills in that of the header.
        datagram = _UDP.pack(source_port, self._port, _UDP.size + len(body), 0) + body
        packet = _IPV4.pack(0x45, 0, 20 + len(datagram), 0, 0, 64, socket.IPPROTO_UDP, 0, self._src, self._dst)
        self._in.settimeout(patience)
        begun = time.perf_counter_ns()
        self._out.sendto(packet + datagram, self._to)
        try:
            while self._in.recv(64) != body:  # a late one of before
                continue
        except TimeoutError:
            return None
        return time.perf_counter_ns() - begun

    def warm_up(self, source_port: int) -> int:
        """Send new flows until one comes through; the next free source port. Raises ProbeError."""
        deadline = time.monotonic() + WARM_UP_TIME
        while self.probe(source_port, WARM_UP_PATIENCE) is None:
            source_port += 1
            if time.monotonic() > deadline:
                raise ProbeError(f"no packet came through within {WARM_UP_TIME:g} s")
        return source_port + 1


def measure(prober: Prober, count: int, interval: float) -> ProbeResult:
    """The first packets of `count` new flows, then as many of the last one, `interval` seconds apart."""
    first = prober.warm_up(FIRST_SOURCE_PORT)
    new = [_paced(prober, port, interval) for port in range(first, first + count)]
    old = [_paced(prober, first + count - 1, interval) for _ in range(count)]
    new_times, old_times = ([taken / 1000 for taken in series if taken is not None] for series in (new, old))
    if not new_times or not old_times:
        raise ProbeError("every packet was lost")
    return ProbeResult(
        percentile(new_times, 50),
        percentile(new_times, 99),
        percentile(old_times, 50),
        percentile(old_times, 99),
        new.count(None),
    )


def _paced(prober: Prober, port: int, interval: float) -> int | None:
    time.sleep(interval)  # below the rate that the pipeline's meters allow, and enough for a rule to take effect
    return prober.probe(port)


def main() -> int:
    """Probe from the command line."""
    parser = argparse.ArgumentParser(prog="perf.prober")
    for name, kind in (("sender", int), ("receiver", int), ("src", str), ("dst", str), ("port", int), ("count", int)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--interval", type=float, required=True)
    given = parser.parse_args()
    try:
        prober = Prober(given.sender, given.receiver, given.src, given.dst, given.port)
        result = measure(prober, given.count, given.interval)
    except (ProbeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
