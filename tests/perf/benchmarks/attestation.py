"""`attestation`: what a controller at rest costs, most of which is reading the switches' tables back.

It goes on beside everything else, for ever, so that the cost of a large site is not that of its flows alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import ClassVar

from perf.benchmark import Axis, Benchmark, Measure, Run, Turn, registered
from perf.load import Load, program, turn_of_zethane

POINTS = (100, 10_000)
QUICK = (100,)

LARGE = 100_000
"""Switches times sessions above which a cell is measured with `--full` alone: its controller takes long to start."""

REST = 30
"""Seconds that it is watched: in as many it looks at every switch once."""


@registered
class AttestationBenchmark(Benchmark):
    """Each turn has its own controller, which is left alone when a few flows have been there."""

    name = "attestation"
    title = "A controller with nothing to set up: its switches' tables are read back, with fake switches on loopback"
    sides: ClassVar = {"1": "1 switch", "10": "10 switches", "100": "100 switches"}
    measures = (
        Measure("rest_busy", "processor time of the controller", "% of a core", digits=2),
        Measure("rest_read", "entries read back", "per second", is_log=True),
        Measure("entries", "standing entries of all switches", "", is_drawn=False),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.axis = Axis("sessions", "sessions", QUICK if run.is_quick else POINTS)
        self._load = Load(single=10, many=100, batches=1, window=8, warm=10, rest=1 if run.is_quick else REST)
        self.parameters = {"load": asdict(self._load), "largest": LARGE if not run.is_full else None}

    def can(self, side: str, point: int) -> bool:
        """Without `--full` the largest are left out, in a quick run all that have a hundred switches."""
        return self.run.is_full or (int(side) * point <= LARGE and not (self.run.is_quick and side == "100"))

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Compile the generator. Raises LabError."""
        program()
        yield

    def turn(self, side: str, number: int, point: int) -> Turn:
        """Measure one size once. Raises LabError."""
        folder = self.run.folder / f"attestation-{side}-{point}-{number}"
        try:
            return turn_of_zethane(replace(self._load, switches=int(side), sessions=point), folder, self.run.tagged)
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # what is left goes with the run
