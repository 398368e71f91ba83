"""`standing`: entries that a switch holds when nobody talks, as endpoints and rules grow."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

from perf.benchmark import Axis, Benchmark, Measure, Run, Turn, registered
from perf.goals import Figure, at_most, growth
from perf.results import Result
from perf.standing import EDGES, Layout, stand
from perf.standing import Standing as Stood
from zethane.pipeline.tables import Table

SEGMENTS, RULES = 40, 80
PER_ENDPOINT = 2
"""One entry that says whose packets come from an address, one whose go to it."""

MADE_IN = Measure(
    "seconds", "processor time to take up all sessions and make all entries of all switches", "s", 2, is_log=True
)

HEADINGS = {
    "core": "core switch",
    "spread": "edge, segments everywhere",
    "placed": "edge, segments at two switches",
    "pairs": "edge, a list of pairs of addresses (reckoned)",
}


def per_endpoint(side: str, low: int, high: int) -> Figure:
    """How many more entries a switch has for each endpoint more that is there or may be reached from there."""

    def figure(result: Result) -> float:
        entries, concerned = (
            [result.series(side, key, point)[0] for point in (low, high)] for key in ("entries", "concerned")
        )
        return (entries[1] - entries[0]) / (concerned[1] - concerned[0])

    return figure


@registered
class Standing(Benchmark):
    """The product's own intended entries; nothing about them is timed but how long it takes to make them all."""

    name = "standing"
    title = f"Standing entries of a switch: 8 edge switches at 2 core switches, {SEGMENTS} segments, {RULES} rules"
    sides: ClassVar = HEADINGS
    measures = (
        Measure("entries", "entries of the fullest switch", "", is_log=True),
        MADE_IN,
    )
    pairs = (("spread", "pairs"),)

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        points = (100, 300) if run.is_quick else (100, 300, 1_000, 3_000, 10_000)
        self.axis = Axis("endpoints", "endpoints", points)
        self.parameters = {"segments": SEGMENTS, "rules": RULES}
        self._stood: dict[tuple[int, Layout], Stood] = {}
        low, high = points[0], points[-1]
        self.goals = (
            *(
                at_most(
                    f"entries more per endpoint that is attached or reachable, {HEADINGS[side]}",
                    per_endpoint(side, low, high),
                    PER_ENDPOINT,
                )
                for side in ("spread", "placed")
            ),
            at_most(
                f"entries of a core switch, {high:,} beside {low:,} endpoints", growth("entries", "core", low, high), 1
            ),
        )

    def turn(self, side: str, number: int, point: int) -> Turn:  # every round finds the same
        """Count one side's entries."""
        layout = Layout(point, SEGMENTS, RULES, spread=side != "placed")
        found = {"concerned": layout.attached_or_reachable()}
        if side == "pairs":
            return {**found, "entries": layout.pairs_at_an_edge()}
        if (number, layout) not in self._stood:
            self._stood = {(number, layout): stand(layout)}
        standing = self._stood[number, layout]
        entries = standing.core if side == "core" else standing.edge
        by_table = {f"table_{table.text}": count for table, count in entries.items()}
        timed = {} if side == "core" else {"seconds": standing.seconds}
        return {**found, **by_table, **timed, "entries": entries.total()}


@registered
class StandingPolicy(Benchmark):
    """The same as the policy grows and the endpoints stay."""

    name = "standing-policy"
    title = "Standing entries of a switch as rules grow: 1,000 endpoints, a segment for every two rules"
    sides: ClassVar = {"edge": "edge switch", "core": "core switch"}
    measures = (
        Measure("entries", "entries of the fullest switch", "", is_log=True),
        Measure("rule", "entries of the table rule per policy rule", "", 2),
        MADE_IN,
    )
    pairs = ()

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.axis = Axis("rules", "policy rules", (10, 30) if run.is_quick else (10, 100, 1_000))
        self.parameters = {"endpoints": 100 if run.is_quick else 1_000, "segments": "rules / 2"}
        points = self.axis.points
        self.goals = (
            at_most(
                f"entries of rule per policy rule, {points[-1]:,} beside {points[0]:,} rules",
                growth("rule", "edge", points[0], points[-1]),
                1,
            ),
        )

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # every round finds the same
        """Count one side's entries."""
        layout = Layout(self.parameters["endpoints"], point // 2, point, spread=True)
        standing = stand(layout)
        entries = standing.core if side == "core" else standing.edge
        found = {"entries": entries.total(), "rule": entries[Table.RULE] / point}
        return found if side == "core" else {**found, "seconds": standing.seconds}


@lru_cache(maxsize=1)
def _stood(number: int, layout: Layout) -> Stood:  # noqa: ARG001  # once for the sides of a round
    return stand(layout)


@registered
class StandingSwitches(Benchmark):
    """The same as edge switches are added and the endpoints stay."""

    name = "standing-switches"
    title = f"Standing entries of a switch as edge switches grow: 1,000 endpoints, {SEGMENTS} segments, {RULES} rules"
    sides: ClassVar = {"edge": "edge switch", "core": "core switch"}
    measures = (Measure("entries", "entries of the fullest switch", "", is_log=True),)

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.axis = Axis("switches", "edge switches", (EDGES, 16) if run.is_quick else (EDGES, 32, 64))
        self.parameters = {"endpoints": 100 if run.is_quick else 1_000, "segments": SEGMENTS, "rules": RULES}

    def turn(self, side: str, number: int, point: int) -> Turn:  # every round finds the same
        """Count one side's entries."""
        standing = _stood(number, Layout(self.parameters["endpoints"], SEGMENTS, RULES, spread=True, edges=point))
        return {"entries": (standing.core if side == "core" else standing.edge).total()}


@registered
class StandingSegments(Benchmark):
    """The same as segments are divided and endpoints and rules stay."""

    name = "standing-segments"
    title = "Standing entries of a switch as segments grow: 1,000 endpoints, 200 rules"
    sides: ClassVar = {"edge": "edge switch", "core": "core switch"}
    measures = (Measure("entries", "entries of the fullest switch", "", is_log=True),)

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.axis = Axis("segments", "segments", (20, 40) if run.is_quick else (20, 100, 200))
        self.parameters = {"endpoints": 100 if run.is_quick else 1_000, "rules": 200}

    def turn(self, side: str, number: int, point: int) -> Turn:  # every round finds the same
        """Count one side's entries."""
        standing = _stood(number, Layout(self.parameters["endpoints"], point, self.parameters["rules"], spread=True))
        return {"entries": (standing.core if side == "core" else standing.edge).total()}
