"""The compiled load of the data path: `native/path.c`, and what it says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal

from lab.errors import LabError
from lab.processes import stop
from lab.shell import run
from perf.network import End

_SOURCE = Path(__file__).parent / "native" / "path.c"
_COMPILE_TIME = 120.0
_MARGIN = 30.0
"""Seconds beyond its own time that a call may take."""

WARM_UP = 0.2
"""Seconds that streams run before what they receive counts."""

Protocol = Literal["tcp", "udp"]


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the server that connections are made to."""

    first: int
    count: int = 1


class PathProgram:
    """The program, compiled for a run. Every call makes connections that none made before."""

    def __init__(self, folder: Path) -> None:
        """Compile it. Raises LabError, also where there is no compiler."""
        self._program = folder / "path"
        self._next = 0
        if not self._program.exists():
            run(["gcc", "-O2", "-o", str(self._program), str(_SOURCE)], timeout=_COMPILE_TIME)

    def stream(self, client: End, server: End, port: int, flows: int, seconds: float) -> float:
        """Bits per second of so many TCP connections together, of what the server has received. Raises LabError."""
        told = self._call(seconds, "stream", client.pid, server.pid, server.ip, port, flows, seconds)
        return float(told["bits_per_second"])

    def round_trips(self, client: End, server: End, port: int, count: int, proto: Protocol = "tcp") -> list[float]:
        """Round trips of 32 bytes over one connection, in microseconds each, in their order. Raises LabError."""
        told = self._call(0, "pingpong", client.pid, server.pid, server.ip, port, count, proto)
        return list(told["times"])

    def connections(
        self, ends: Sequence[End], ports: Ports, seconds: float, window: int, proto: Protocol
    ) -> dict[str, float]:
        """New connections to the last of the ends, a byte each way over every one, `window` of them at any time.

        `rate` per second, `p50` and `p99` until the byte is back in microseconds, how many were `made` and `lost`.
        Raises LabError.
        """
        told = self._call(seconds, "connect", proto, seconds, window, *self._between(ends, ports))
        self._next = int(told["next"])
        return told

    @contextmanager
    def held(self, ends: Sequence[End], ports: Ports, window: int, probes: int) -> Iterator[Held]:
        """Connections to the last of the ends that stay. Raises LabError."""
        command = self._command("hold", window, probes, *self._between(ends, ports))
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        held = Held(process)
        try:
            yield held
        finally:
            self._next = max(self._next, held.next)
            stop(process)

    def _between(self, ends: Sequence[End], ports: Ports) -> list[object]:
        *clients, server = (f"{end.pid},{end.inside},{end.mac},{IPv4Address(end.place.address)}" for end in ends)
        return [self._next, ports.first, ports.count, server, *clients]

    def _command(self, *arguments: object) -> list[str]:
        return [str(part) for part in (self._program, *arguments)]

    def _call(self, seconds: float, *arguments: object) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(run(self._command(*arguments), timeout=seconds + _MARGIN))
        return told


class Held:
    """Connections that are open."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.next = 0

    def grow(self, more: int) -> dict[str, float]:
        """Open so many more, at a `rate`, then measure single ones; how many are `held` in the end. Raises LabError.

        `new_p50` and `new_p99` are of new ones, `trip_p50` and `trip_p99` of round trips over those that are there, in
        microseconds.
        """
        reader, writer = self._process.stdout, self._process.stdin
        if reader is None or writer is None:
            raise LabError("the load has no pipes")
        try:
            writer.write(f"{more}\n")
            writer.flush()
        except BrokenPipeError:
            raise LabError("the load has ended") from None
        line = reader.readline()
        if not line:
            raise LabError("the load has ended; what it said is above")
        told: dict[str, float] = json.loads(line)
        self.next = int(told["next"])
        return told
