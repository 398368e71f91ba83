"""The model of cost: how much of everything a site takes, from the slopes that were measured.

Each law has its points from one benchmark. A projection says which of its numbers lie beyond what was measured.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from perf.fitting import Fit, Point, fit
from perf.load import Load
from perf.measured import Measured
from zethane.service.attestation import PER_SECOND

MANY_SESSIONS = 10_000

INTERVAL = 30.0
"""Seconds between two readings of a switch's tables, as a controller that is told nothing else has them."""

Fits = Mapping[str, Fit]
"""By the keys of their laws."""


@dataclass(frozen=True, slots=True)
class Law:
    """A figure that grows with something."""

    key: str
    text: str
    unit: str
    things: tuple[str, ...]
    """Of what there may be more, each in the singular: the slopes are by one of them."""
    benchmark: str
    points: Callable[[Measured], list[Point]]


@dataclass(frozen=True, slots=True)
class Found:
    """A law with its fit, or with the reason why there is none."""

    law: Law
    fit: Fit | None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A site to be reckoned; endpoints are spread evenly over edge switches."""

    switches: int = 1_000
    endpoints: int = 100_000
    rules: int = 10_000
    flows: float = 0.5
    """New flows per second and endpoint."""
    seconds: float = 30.0
    """How long a flow lives."""

    @property
    def flows_per_second(self) -> float:
        """Of the whole site."""
        return self.flows * self.endpoints

    @property
    def live(self) -> float:
        """Flows at a time."""
        return self.flows_per_second * self.seconds


@dataclass(frozen=True, slots=True)
class Projected:
    """A number of a site, how it follows, and whether that is beyond what was measured."""

    text: str
    figure: float
    unit: str
    how: str
    beyond: str = ""


def _axis(benchmark: str, side: str, key: str) -> Callable[[Measured], list[Point]]:
    return lambda measured: [((at,), figure) for at, figure in measured.series(benchmark, side, key)]


def _concerned(side: str) -> Callable[[Measured], list[Point]]:
    def points(measured: Measured) -> list[Point]:
        reached = dict(measured.series("standing", side, "concerned"))
        return [((reached[at],), one) for at, one in measured.series("standing", side, "entries") if at in reached]

    return points


def _memory(measured: Measured) -> list[Point]:
    return [
        ((float(side), at), figure)
        for side in ("1000", "10000")
        for at, figure in measured.series("memory", side, "resident")
    ]


def _at_rest(measured: Measured) -> list[Point]:
    found: list[Point] = []
    for side in ("1", "10", "100"):
        read = dict(measured.series("attestation", side, "rest_read"))
        busy = measured.series("attestation", side, "rest_busy")
        found += [((read[at],), percent / 100) for at, percent in busy if at in read]
    return found


def _ready(measured: Measured) -> list[Point]:
    """By entries of sessions, which each is made for its own, and others, of which many switches have the same."""
    found: list[Point] = []
    for side in ("1", "10", "100", "10-across"):
        for at, seconds in measured.series("scale", side, "ready"):
            entries, bindings = (measured.get("scale", side, key, at) for key in ("entries", "bindings"))
            if entries is not None and bindings is not None:
                found.append(((bindings, entries - bindings), seconds))
    return found


def _start(measured: Measured) -> list[Point]:
    return [
        ((float(at),), figure) for side in ("1", "10", "100") for at, figure in measured.series("scale", side, "start")
    ]


LAWS = (
    Law("edge", "standing entries of an edge switch, members of every segment there", "entries",
        ("endpoint attached or reachable",), "standing", _concerned("spread")),
    Law("edge-placed", "the same with segments at two switches each", "entries",
        ("endpoint attached or reachable",), "standing", _concerned("placed")),
    Law("core", "standing entries of a core switch", "entries", ("endpoint",), "standing",
        _axis("standing", "core", "entries")),
    Law("edge-rules", "standing entries of an edge switch, as rules grow", "entries", ("rule",),
        "standing-policy", _axis("standing-policy", "edge", "entries")),
    Law("core-rules", "standing entries of a core switch, as rules grow", "entries", ("rule",),
        "standing-policy", _axis("standing-policy", "core", "entries")),
    Law("edge-switches", "standing entries of an edge switch, as switches grow", "entries", ("edge switch",),
        "standing-switches", _axis("standing-switches", "edge", "entries")),
    Law("core-switches", "standing entries of a core switch, as switches grow", "entries", ("edge switch",),
        "standing-switches", _axis("standing-switches", "core", "entries")),
    Law("edge-segments", "standing entries of an edge switch, as segments grow", "entries", ("segment",),
        "standing-segments", _axis("standing-segments", "edge", "entries")),
    Law("memory", "memory of the controller", "MiB", ("session", "live flow"), "memory", _memory),
    Law("start", "seconds until the controller listens", "s", ("session",), "scale", _start),
    Law("ready", "seconds until empty switches have their tables", "s",
        ("entry that is a session's, of all switches", "other entry of all switches"), "scale", _ready),
    Law("at-rest", "processor time of a controller at rest", "cores", ("entry read back in a second",), "attestation",
        _at_rest),
    Law("restart", "seconds from a restart to full service, tables kept", "s", ("session, with five entries",),
        "restart", _axis("restart", "zethane", "full")),
    Law("compile", "a policy compiled as a whole", "ms", ("rule, with a session",), "compile",
        _axis("compile", "zethane", "compile")),
    Law("changed", "a rule changed, to flow-mods written", "ms", ("rule, with a session",), "change",
        _axis("change", "zethane", "changed")),
    Law("moved", "a session changed, to flow-mods written", "ms", ("rule, with a session",), "change",
        _axis("change", "zethane", "moved")),
)  # fmt: skip  # what, its unit, by what, from where
"""Every law, in the order of the page."""


def laws(measured: Measured) -> list[Found]:
    """Fit every law."""
    found = []
    for law in LAWS:
        points = law.points(measured)
        try:
            found.append(Found(law, fit(points)))
        except ValueError as error:
            found.append(Found(law, None, str(error) if points else "not measured"))
    return found


@dataclass(frozen=True, slots=True)
class PerFlow:
    """What one new flow costs, with its end and its records."""

    text: str
    sessions: int
    set_up: float
    """Microseconds of processor time."""
    whole: float
    """With all that the controller did besides until it had come to rest."""
    besides: float = 0.0
    """What of it a controller at rest does as well, by its law: reading tables back, mostly."""

    @property
    def own(self) -> float:
        """The flow's share of the whole."""
        return max(self.whole - self.besides, self.set_up)

    @property
    def per_core(self) -> float:
        """Flows per second that one core keeps up."""
        return 1e6 / self.own


def per_flow(measured: Measured, found: Sequence[Found]) -> list[PerFlow]:
    """One switch first, then every size of `scale`."""
    places = [("setup", "zethane", 0, "1 switch, 100 sessions")]
    for side, told in (("1", "1 switch"), ("10", "10 switches"), ("100", "100 switches"),
                       ("10-across", "10 switches, each flow between two")):  # fmt: skip
        places += [("scale", side, at, f"{told}, {at:,} sessions") for at, _ in measured.series("scale", side, "cpu")]
    at_rest = next((one.fit for one in found if one.law.key == "at-rest"), None)
    costs = []
    for benchmark, side, at, text in places:
        set_up, whole, read, wall = (
            measured.get(benchmark, side, key, at) for key in ("cpu", "cpu_whole", "whole_read", "whole_wall")
        )
        if set_up is None or not whole:
            continue
        besides = 0.0
        if at_rest is not None and read is not None and wall:
            besides = wall * at_rest.at(1e6 * read / wall)
        costs.append(PerFlow(text, at or Load().sessions, set_up, whole, besides))
    return costs


def projection(found: Sequence[Found], costs: Sequence[PerFlow], site: Scenario) -> Iterator[Projected]:
    """What a site takes, as far as it was measured."""
    fits = {one.law.key: one.fit for one in found if one.fit is not None}
    yield from _entries(fits, site)
    yield from _resident(fits, site)
    if costs:
        yield from _processors(fits, costs, site)
    yield from _starts(fits, site)


def _grown(fits: Fits, law: str, *steps: tuple[str, float]) -> float:
    """A figure with what other laws add beyond the site of the first."""
    return fits[law].constant + sum(max(0.0, fits[name].slopes[0]) * thing for name, thing in steps)


def _entries(fits: Fits, site: Scenario) -> Iterator[Projected]:
    """Of a switch of each kind."""
    if {"edge", "edge-rules"} <= fits.keys():
        for text, reached in (("if it may reach every endpoint", site.endpoints), ("if it may reach one in ten",
                              site.endpoints / 10)):  # fmt: skip
            figure = _grown(fits, "edge", ("edge", reached), ("edge-rules", site.rules))
            yield Projected(
                f"entries of an edge switch, {text}", figure, "entries", "standing, standing-policy",
                _beyond(("endpoints", fits["edge"], reached), ("rules", fits["edge-rules"], site.rules)),
            )  # fmt: skip
    if {"core", "core-rules", "core-switches"} <= fits.keys():
        steps = ("core", site.endpoints), ("core-rules", site.rules), ("core-switches", site.switches)
        yield Projected(
            "entries of a core switch", _grown(fits, "core", *steps), "entries",
            "standing, standing-policy, standing-switches",
            _beyond(("endpoints", fits["core"], site.endpoints), ("rules", fits["core-rules"], site.rules),
                    ("switches", fits["core-switches"], site.switches)),
        )  # fmt: skip


def _resident(fits: Fits, site: Scenario) -> Iterator[Projected]:
    """Memory."""
    if memory := fits.get("memory"):
        for text, live in (("without flows", 0.0), (f"with {site.live:,.0f} live flows", site.live)):
            yield Projected(
                f"memory of the controller, {text}", memory.at(site.endpoints, live), "MiB", "memory",
                _beyond(("sessions", memory, site.endpoints), ("live flows", memory, live)),
            )  # fmt: skip


def _processors(fits: Fits, costs: Sequence[PerFlow], site: Scenario) -> Iterator[Projected]:
    """What new flows take, and what goes on beside them."""
    # A site is large: what a flow costs where hardly anybody is logged in says little about it.
    large = [cost for cost in costs if cost.sessions >= MANY_SESSIONS]
    dearest = max(large or costs, key=lambda cost: cost.own)
    cores = site.flows_per_second / dearest.per_core
    yield Projected("flows that one core keeps up", dearest.per_core, "per second", dearest.text)
    text = f"processor time for {site.flows_per_second:,.0f} new flows per second"
    yield Projected(text, cores, "cores", dearest.text, "switches")
    if (at_rest := fits.get("at-rest")) and {"edge", "edge-rules"} <= fits.keys():
        entries = sum(_of_all_edges(fits, site))
        seconds = max(INTERVAL, entries / PER_SECOND)
        rate = entries / seconds
        beside = at_rest.at(rate)
        yield Projected(
            f"processor time beside them, reading {rate:,.0f} entries back per second", beside, "cores", "attestation",
            _beyond(("entries per second", at_rest, rate)),
        )  # fmt: skip
        cores += beside
        yield Projected(
            f"time in which each of {entries:,.0f} entries has been read back once", seconds / 60, "minutes",
            f"the bound of {PER_SECOND:,} per second; standing, standing-policy",
        )  # fmt: skip
    processes = math.ceil(2 * cores)
    yield Projected(
        "controllers with a core each, none busy more than half of the time", processes, "", dearest.text,
        "a site with more than one controller" if processes > 1 else "switches",
    )  # fmt: skip


def _of_all_edges(fits: Fits, site: Scenario) -> tuple[float, float]:
    """Entries of all edge switches if each may reach one endpoint in ten: those of sessions, and others."""
    reached = site.endpoints / 10
    each = _grown(fits, "edge", ("edge", reached), ("edge-rules", site.rules))
    bindings = max(0.0, fits["edge"].slopes[0]) * reached
    return bindings * site.switches, (each - bindings) * site.switches


def _starts(fits: Fits, site: Scenario) -> Iterator[Projected]:
    """With empty switches, and with such as have their tables."""
    if {"start", "ready", "edge", "edge-rules"} <= fits.keys():
        things = _of_all_edges(fits, site)
        yield Projected(
            f"a start with empty switches, {sum(things):,.0f} entries to write",
            fits["start"].at(site.endpoints) + fits["ready"].at(*things), "s", "scale, standing",
            _beyond(("sessions", fits["start"], site.endpoints), ("entries of sessions", fits["ready"], things[0]),
                    ("other entries", fits["ready"], things[1])),
        )  # fmt: skip
    if restart := fits.get("restart"):
        yield Projected(
            "a restart with tables kept", restart.at(site.endpoints), "s", "restart",
            _beyond(("sessions", restart, site.endpoints)),
        )  # fmt: skip


def _beyond(*parts: tuple[str, Fit, float]) -> str:
    """Of what there is more than was measured; of a law of several things, in their order."""
    seen: Counter[int] = Counter()
    told = []
    for name, law, thing in parts:
        largest = law.largest[seen[id(law)]]
        seen[id(law)] += 1
        if thing > largest:
            told.append(f"{name} ({thing / largest:,.1f} times)")
    return ", ".join(told)
