"""`replay`: how fast a capture is read, made into flows and decided, beside the same job by scapy's dissection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from lab.errors import LabError
from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from perf.controllers import pinned, python, run_program
from perf.traffic import write_capture

TIMEOUT = 300.0
"""Seconds that a turn may take."""

TOPOLOGY = Path(__file__).parents[3] / "topologies" / "three-tier"


@dataclass(frozen=True, slots=True)
class ReplayLoad:
    """Packets of the capture, and of its beginning, which is all that scapy gets: its speed is the same for more."""

    packets: int = 1_000_000
    for_scapy: int = 20_000


@registered
class Replays(Benchmark):
    """Turns of the benchmark, each a process on the same core."""

    name = "replay"
    title = "A capture read, made into flows and decided, on one core"
    sides: ClassVar = {"zethane": "Zethane", "scapy": "scapy"}
    pairs = (("zethane", "scapy"),)
    measures = (
        Measure("rate", "packets", "per second"),
        Measure("cpu", "packets", "per second of processor time"),
        Measure("memory", "memory at the most", "MiB"),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = ReplayLoad(packets=2000, for_scapy=200) if run.is_quick else ReplayLoad()
        self.parameters = asdict(self._load)
        self._captures = {"zethane": run.folder / "million.pcap", "scapy": run.folder / "beginning.pcap"}

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Write the captures. Raises LabError if the sides do not find the same in one."""
        write_capture(self._captures["zethane"], self._load.packets)
        write_capture(self._captures["scapy"], self._load.for_scapy)
        self._check()
        yield

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # always the same
        """Measure one side once. Raises LabError."""
        figures = self._run(side, side)
        return {key: figures[key] for key in ("rate", "cpu", "memory", "packets", "flows")}

    def _check(self) -> None:
        """Both sides have to say the same of one capture. Raises LabError."""
        ours, theirs = self._run("zethane", "scapy"), self._run("scapy", "scapy")
        if ours["told"] != theirs["told"]:
            raise LabError(f"the same capture, other flows: {ours['told']} by Zethane, {theirs['told']} by scapy")

    def _run(self, side: str, capture: str) -> dict[str, Any]:
        options = ("--side", side, "--capture", self._captures[capture], "--topology", TOPOLOGY)
        with pinned(first=True):
            answer: dict[str, Any] = json.loads(
                run_program(python("perf.replayer", *options), self.run.tagged, TIMEOUT)
            )
        return answer
