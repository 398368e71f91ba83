"""What a benchmark is, and the register of all of them.

A benchmark is a subclass of `Benchmark` in a module of its own under `perf/benchmarks`, with `@registered` before it:

    @registered
    class Revocations(Benchmark):
        name = "revocation"
        title = "..."
        sides: ClassVar = {"zethane": "Zethane", "os-ken": "os-ken, same job"}
        measures = (Measure("last", "last packet, p50", "ms"),)
        pairs = (("zethane", "os-ken"),)
        goals = (at_most("last packet, p50", median_of("last", "zethane"), 5, "ms"),)
        axis = Axis("flows", "live flows", (1_000, 10_000, 50_000))   # only if it has one

        def turn(self, side, number, point): ...

A round is one turn of every side at every point of the axis, in an order that the next round turns round.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from lab.interrupts import Interrupts
from lab.ledger import Ledger
from perf.goals import Goal

Turn = Mapping[str, float]
"""The numbers of one turn of one side, by the measure's key; what has no measure goes into the JSON file alone."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure: the key that turns have it under, what it is, its unit, and how it is shown and drawn."""

    key: str
    text: str
    unit: str
    digits: int = 0
    """After the point, in the table."""
    is_drawn: bool = True
    """Whether the picture of a benchmark with an axis has it."""
    is_log: bool = False
    """Whether its axis in the picture is logarithmic."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What a benchmark is repeated for: a number of flows, sessions, switches, endpoints, rules."""

    key: str
    text: str
    points: tuple[int, ...]
    is_log: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """One call of `./run bench`: what benchmarks make belongs to its ledger."""

    ledger: Ledger
    interrupts: Interrupts
    is_quick: bool = False
    """To see that it works: the least load that gives figures at all."""
    is_full: bool = False
    """Everything, however long it takes."""

    @property
    def folder(self) -> Path:
        """Where benchmarks may write; it is deleted at the end."""
        return self.ledger.directory

    @property
    def tagged(self) -> dict[str, str]:
        """The environment for the processes of the run: by it they are found and ended."""
        return self.ledger.environment


class Benchmark:
    """Something that is measured turn by turn. It is made once per run, when it is its turn to begin."""

    name: ClassVar[str]
    title: ClassVar[str]
    sides: ClassVar[Mapping[str, str]]
    """Who is measured: key to heading, in the order of the table."""
    measures: tuple[Measure, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    """The sides of which a ratio is shown, the first over the second, of each round."""
    goals: tuple[Goal, ...] = ()
    axis: Axis | None = None
    parameters: Mapping[str, Any]
    """What a turn does, for the JSON file: how many flows, how long, which sizes."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.parameters = {}

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """What stays for all rounds, such as a network or a program that is compiled. Raises LabError."""
        yield

    def can(self, side: str, point: int) -> bool:  # noqa: ARG002  # a side of some benchmark may
        """Whether a side takes part at a point of the axis; a point that is too large for it is left empty."""
        return True

    def turn(self, side: str, number: int, point: int) -> Turn:
        """Measure one side once, in round `number` from 0; `point` is 0 without an axis. Raises LabError."""
        raise NotImplementedError


Class = TypeVar("Class", bound=type[Benchmark])

_REGISTER: dict[str, type[Benchmark]] = {}


def registered(benchmark: Class) -> Class:
    """Add a benchmark to those that `./run bench` knows. Raises ValueError for a name that another one has."""
    if benchmark.name in _REGISTER:
        raise ValueError(f"two benchmarks are called {benchmark.name}")
    _REGISTER[benchmark.name] = benchmark
    return benchmark


def benchmarks() -> Mapping[str, type[Benchmark]]:
    """Every benchmark, by its name in alphabetical order."""
    package = importlib.import_module("perf.benchmarks")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_REGISTER.items()))


def run_rounds(benchmark: Benchmark, rounds: int, progress: Callable[[str], None], add: Callable[..., None]) -> None:
    """Let the sides take turns, in the opposite order in every other round. Raises LabError."""
    points = benchmark.axis.points if benchmark.axis else (0,)
    turns = [(side, point) for point in points for side in benchmark.sides if benchmark.can(side, point)]
    for number in range(rounds):
        for side, point in turns if number % 2 == 0 else turns[::-1]:
            where = f" at {point:,} {benchmark.axis.text}" if benchmark.axis else ""
            progress(f"{benchmark.name}: round {number + 1} of {rounds}, {benchmark.sides[side]}{where}")
            add(side, point, benchmark.turn(side, number, point))
