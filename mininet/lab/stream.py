"""A stream of numbered packets between two hosts: what arrived when, and what is missing.

It is the evidence that a revocation stopped a flow within some milliseconds, or that a reload lost nothing.
Times are those of CLOCK_MONOTONIC in seconds, as time.monotonic() gives them.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

from lab.errors import LabError
from lab.host import RunningHost
from lab.processes import stop

UNDER_WAY = 0.5
"""Seconds without an arrival after which what has not arrived is lost: a switch on a busy machine may be behind."""

_END = "import sys; sys.path.insert(0, sys.argv[1]); import lab.agent.streaming as m; m.main(sys.argv[2:])"


@dataclass(frozen=True, slots=True)
class Received:
    """One packet that arrived. For ICMP, the reply to it."""

    number: int
    sent: float
    received: float


class Stream:
    """A running stream; a context manager. UDP and ICMP lose what is lost, TCP retransmits."""

    def __init__(
        self,
        source: RunningHost,
        target: RunningHost,
        proto: Literal["tcp", "udp", "icmp"],
        port: int = 0,
        *,
        interval: float = 0.002,
        version: int = 4,
    ) -> None:
        self._source, self._target = source, target
        self._proto, self._port, self._interval = proto, port, interval
        self._addresses = str(source.address(version)), str(target.address(version))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._sent: dict[int, float] = {}
        self._received: list[Received] = []
        self._listening = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop

    def __enter__(self) -> Stream:
        try:
            if self._proto != "icmp":
                self._start(self._target, "receive", self._proto, self._addresses[1], str(self._port))
                self._wait(lambda: self._listening, "the receiver did not listen", 10)
            ends = (*self._addresses, str(self._port), str(self._interval))
            self._start(self._source, "send", self._proto, *ends)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, host: RunningHost, *arguments: str) -> None:
        folder = str(Path(__file__).resolve().parents[1])
        command = [sys.executable, "-I", "-S", "-c", _END, folder, *arguments]
        process = host.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)
        assert process.stdout is not None  # noqa: S101 - it was asked for as a pipe
        thread = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        thread.start()
        self._processes.append(process)
        self._threads.append(thread)

    def _read(self, output: IO[bytes]) -> None:
        for line in output:
            values = json.loads(line)
            with self._changed:
                if len(values) == 1:
                    self._listening = True
                elif len(values) == 2:
                    self._sent[values[0]] = values[1] / 1e9
                else:
                    self._received.append(Received(values[0], values[1] / 1e9, values[2] / 1e9))
                self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool], otherwise: str, timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(ready, timeout):
                self._errors.seek(0)
                said = self._errors.read().decode(errors="replace")[-1000:]
                raise LabError(f"{otherwise} within {timeout:g} s. {said}")

    def wait_received(self, count: int, timeout: float = 10.0) -> None:
        """Wait until `count` more packets have arrived. Raises LabError."""
        with self._changed:
            wanted = len(self._received) + count
        self._wait(lambda: len(self._received) >= wanted, f"{count} more packets did not arrive", timeout)

    def wait_sent(self, count: int, timeout: float = 10.0) -> None:
        """Wait until `count` more packets have been sent, arrived or not. Raises LabError."""
        with self._changed:
            wanted = len(self._sent) + count
        self._wait(lambda: len(self._sent) >= wanted, f"{count} more packets were not sent", timeout)

    def stop(self) -> None:
        """End the sender, then the receiver when what is under way has arrived. Harmless when repeated."""
        for process, thread in reversed(list(zip(self._processes, self._threads, strict=True))):
            if process.poll() is None and process is not self._processes[-1]:
                self._await_arrivals()  # the sender, which came last, has ended
            if process.stdin is not None and not process.stdin.closed:
                process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            thread.join(5)
        for process in self._processes:
            stop(process)
        self._errors.close()

    def _await_arrivals(self) -> None:
        """Wait until all that was sent has arrived, or nothing has for a while."""
        with self._changed:
            arrived = -1
            while arrived < len(self._received) < len(self._sent):
                arrived = len(self._received)
                self._changed.wait_for(partial(self._has_more_than, arrived), UNDER_WAY)

    def _has_more_than(self, count: int) -> bool:
        return len(self._received) > count

    @property
    def received(self) -> list[Received]:
        """What has arrived, in the order in which it did."""
        with self._changed:
            return list(self._received)

    @property
    def sent(self) -> dict[int, float]:
        """When each number was sent."""
        with self._changed:
            return dict(self._sent)

    @property
    def last_received(self) -> float | None:
        """When the newest packet arrived."""
        received = self.received
        return received[-1].received if received else None

    def received_after(self, moment: float) -> list[Received]:
        """What arrived later than a moment of time.monotonic()."""
        return [packet for packet in self.received if packet.received > moment]

    def missing(self, since: float = 0.0, until: float | None = None) -> list[int]:
        """The numbers sent between two moments that have not arrived. Call `stop` first, or pass an `until`
        that lets packets under way arrive."""
        end = time.monotonic() if until is None else until
        arrived = {packet.number for packet in self.received}
        return sorted(number for number, at in self.sent.items() if since <= at <= end and number not in arrived)

    def longest_gap(self) -> float:
        """The longest time between two arrivals, in seconds; 0 before the second."""
        times = [packet.received for packet in self.received]
        return max((after - before for before, after in itertools.pairwise(times)), default=0.0)
