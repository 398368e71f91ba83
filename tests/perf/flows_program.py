"""The compiled hosts: `native/flows.c`, and what it says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.processes import stop
from lab.shell import run
from perf.flow_network import FlowNetwork
from perf.statistics import percentile

_SOURCE = Path(__file__).parent / "native" / "flows.c"
_COMPILE_TIME = 120.0
_MARGIN = 60.0
"""Seconds beyond its own time that a call may take."""

_QUIET = 1.0
"""Seconds that nothing has come for, after which what has not come is lost."""


def compile_flows(folder: Path) -> Path:
    """Compile the program into a folder of the run. Raises LabError, also where there is no compiler."""
    program = folder / "flows"
    if not program.exists():
        run(["gcc", "-O2", "-pthread", "-o", str(program), str(_SOURCE)], timeout=_COMPILE_TIME)
    return program


@dataclass(frozen=True, slots=True)
class Load:
    """What came of flows at a steady rate. Times in microseconds; `rate` is that of sending, per second."""

    flows: int
    sent: int
    arrived: int
    late: int
    rate: float
    p50: float
    p99: float
    per_second: tuple[int, ...]

    @property
    def delivered(self) -> float:
        """The share of the flows whose packet arrived in time."""
        return (self.arrived - self.late) / self.flows

    def holds(self, rate: int, share: float) -> bool:
        """Whether flows were sent at this rate, and so many of them arrived."""
        return self.rate >= 0.99 * rate and self.delivered >= share


class Flows:
    """The hosts of a network; every call opens flows that none opened before."""

    def __init__(self, program: Path, network: FlowNetwork, tagged: Mapping[str, str], port: int) -> None:
        self._program = program
        self._tagged = dict(tagged)
        self._common = ["--from", network.sender_pid, "--to", network.receiver_pid, "--port", port]
        for option, hosts in (("--sender", network.senders), ("--receiver", network.receivers)):
            for host in hosts:
                self._common += [option, host.text]
        self.next = 0

    def first(self, count: int, interval: float, *, tcp: bool = False, hello: bool = False) -> dict[str, float]:
        """New flows one at a time: `new_p50` and `new_p99`, then those of as many packets of the last one, in µs."""
        told = self._call(
            count * interval * 2, "first", "--count", count, "--interval", int(interval * 1e6), "--again",
            *(["--tcp"] if tcp else []), *(["--hello"] if hello else []),
        )  # fmt: skip  # options and their values
        found: dict[str, float] = {}
        for key, name in (("new", "first"), ("old", "later")):
            times = [one / 1000 for one in told[name]["ns"]]
            if not times:
                raise LabError("every packet was lost")
            found |= {f"{key}_p50": percentile(times, 50), f"{key}_p99": percentile(times, 99)}
        return found | {"lost": told["first"]["lost"]}

    def load(
        self, rate: int, seconds: float, *, tcp: bool = False, only: int | None = None, answer: bool = False
    ) -> Load:
        """New flows at a steady rate; with `only` all to one receiver. `answer`: a flow arrives with its answer."""
        told = self._call(
            seconds, "load", "--rate", rate, "--seconds", seconds, *(["--answer"] if answer else []),
            *(["--tcp"] if tcp else []), *(["--only", only] if only is not None else []),
        )  # fmt: skip  # options and their values
        return Load(
            told["flows"],
            told["sent"],
            told["arrived"],
            told["late"],
            told["rate"],
            told["p50_us"],
            told["p99_us"],
            tuple(told["per_second"]),
        )

    @contextmanager
    def stream(
        self, first: int, flows: int, every: float, seconds: float, *, only: int, tcp: bool = True
    ) -> Iterator[Stream]:
        """Packets of flows that are there, in turn, until no more of them arrive."""
        command = self._command(
            "stream", "--first", first, "--flows", flows, "--every", int(every * 1e6), "--seconds", seconds,
            "--only", only, *(["--tcp"] if tcp else []),
        )  # fmt: skip  # options and their values
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self._tagged)
        try:
            line = process.stdout.readline() if process.stdout else ""
            if line.strip() != "ready":
                raise LabError(f"packets of the flows do not pass: {line.strip()}")
            yield Stream(process, seconds)
        finally:
            stop(process)

    @contextmanager
    def steady(self, count: int, every: float, seconds: float, *, tcp: bool = False) -> Iterator[Steady]:
        """So many new flows, which are open, and a packet of one of them in turn every so many seconds."""
        command = self._command(
            "steady", "--first", self.next, "--flows", count, "--every", int(every * 1e6), "--seconds", seconds,
            "--quiet", _QUIET, *(["--tcp"] if tcp else ["--answer"]),
        )  # fmt: skip  # options and their values
        self.next += count
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self._tagged)
        try:
            line = process.stdout.readline() if process.stdout else ""
            if line.strip() != "ready":
                raise LabError(f"flows could not be opened: {line.strip()}")
            yield Steady(process)
        finally:
            stop(process)

    def _command(self, *arguments: object) -> list[str]:
        mode, *options = arguments
        return [str(part) for part in (self._program, mode, *self._common, *options)]

    def _call(self, seconds: float, *arguments: object) -> dict[str, Any]:
        command = self._command(*arguments, "--first", self.next)
        told: dict[str, Any] = json.loads(run(command, timeout=seconds + _MARGIN))
        self.next = told["next"]
        return told


class Stream:
    """Packets that are on their way."""

    def __init__(self, process: subprocess.Popen[str], seconds: float) -> None:
        self._process = process
        self._seconds = seconds

    def last(self) -> float:
        """When the last packet arrived, in seconds since the epoch, once no more do. Raises LabError."""
        try:
            out, _ = self._process.communicate(timeout=self._seconds + _MARGIN)
        except subprocess.TimeoutExpired:
            raise LabError("the stream of packets does not end") from None
        told = json.loads(out)
        if not told["ended"]:
            raise LabError("packets still arrived when the time was over")
        return float(told["last_ns"]) / 1e9


@dataclass(frozen=True, slots=True)
class Passed:
    """What came of the packets of flows that were open: lost are those that an interface took and nobody received."""

    sent: int
    lost: int
    slowest: float
    """Microseconds that the slowest of those that arrived took."""
    slowest_sent: float
    """When that was sent, in seconds since the epoch."""
    lost_between: tuple[float, float]
    """When the first and the last were sent that were lost, in seconds since the epoch; 0 if none was."""


class Steady:
    """Packets of open flows, at a steady rate."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def end(self) -> Passed:
        """Send no more of them, and say what came of those that were sent. Raises LabError."""
        try:
            out, _ = self._process.communicate(timeout=_MARGIN)
        except subprocess.TimeoutExpired:
            raise LabError("the packets do not end") from None
        if self._process.returncode:
            raise LabError("the packets were ended from without")
        told = json.loads(out)
        between = float(told["first_lost_ns"]) / 1e9, float(told["last_lost_ns"]) / 1e9
        return Passed(told["sent"], told["lost"], told["slowest_us"], told["slowest_ns"] / 1e9, between)
