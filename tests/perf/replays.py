"""`replay`: how fast a capture is read, made into flows and decided, beside the same job by scapy's dissection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError
from perf.controllers import pinned, python, run_program
from perf.measures import Measure, Turn
from perf.switch import Side
from perf.traffic import write_capture

TIMEOUT = 300.0
"""Seconds that a turn may take."""

TOPOLOGY = Path(__file__).parents[2] / "topologies" / "three-tier"


@dataclass(frozen=True, slots=True)
class ReplayLoad:
    """Packets of the capture, and of its beginning, which is all that scapy gets: its speed is the same for more."""

    packets: int = 1_000_000
    for_scapy: int = 20_000


class Replays:
    """Turns of the benchmark, each a process on the same core."""

    name = "replay"
    title = "A capture read, made into flows and decided, on one core"
    sides: tuple[Side, ...] = ("zethane", "scapy")
    compared: tuple[Side, Side] = ("zethane", "scapy")
    measures: tuple[Measure, ...] = (
        Measure("rate", "packets", "per second"),
        Measure("cpu", "packets", "per second of processor time"),
        Measure("memory", "memory at the most", "MiB"),
    )

    def __init__(self, folder: Path, tagged: Mapping[str, str], load: ReplayLoad) -> None:
        self.parameters: Mapping[str, Any] = asdict(load)
        self._tagged = tagged
        self._captures: dict[Side, Path] = {"zethane": folder / "million.pcap", "scapy": folder / "beginning.pcap"}
        write_capture(self._captures["zethane"], load.packets)
        write_capture(self._captures["scapy"], load.for_scapy)
        self._check()

    def turn(self, side: Side, number: int) -> Turn:
        """Measure one side once. Raises LabError."""
        del number
        figures = self._run(side, side)
        return {key: figures[key] for key in ("rate", "cpu", "memory", "packets", "flows")}

    def _check(self) -> None:
        """Both sides have to say the same of one capture. Raises LabError."""
        ours, theirs = self._run("zethane", "scapy"), self._run("scapy", "scapy")
        if ours["told"] != theirs["told"]:
            raise LabError(f"the same capture, other flows: {ours['told']} by Zethane, {theirs['told']} by scapy")

    def _run(self, side: Side, capture: Side) -> dict[str, Any]:
        options = ("--side", side, "--capture", self._captures[capture], "--topology", TOPOLOGY)
        with pinned(first=True):
            answer: dict[str, Any] = json.loads(run_program(python("perf.replayer", *options), self._tagged, TIMEOUT))
        return answer
