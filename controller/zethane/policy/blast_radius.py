"""`policy blast-radius`: what an intruder reaches from a host or a segment, in one hop, two, n; and how bad that is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal, get_args

from zethane.policy.reach import Ground, Spread, Step, levels, spread
from zethane.policy.score import CRITICAL, Estate, Labels


@dataclass(frozen=True, slots=True)
class Reached:
    """A place that can be reached: at which hop whatever conditions can be met, without any, and now (None: not).

    `hosts` are all of its members that are there but the intruder's own, `hosts_now` those reached now, with the hop of
    each. `via` is the last hop of a shortest way.
    """

    place: str
    outside: bool
    critical: bool
    hop: int
    hop_always: int | None
    hop_now: int | None
    hosts: tuple[str, ...]
    hosts_now: tuple[tuple[str, int], ...]
    via: Step

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "place": self.place,
            "outside": self.outside,
            "critical": self.critical,
            "hop": self.hop,
            "hop_unconditional": self.hop_always,
            "hop_now": self.hop_now,
            "hosts": list(self.hosts),
            "hosts_now": dict(self.hosts_now),
            "via": self.via.view(),
        }


@dataclass(frozen=True, slots=True)
class Path:
    """A shortest way to something critical; `now` if it is open now, between hosts, otherwise between places."""

    target: str
    now: bool
    steps: tuple[Step, ...]

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {"to": self.target, "now": self.now, "steps": [step.view() for step in self.steps]}


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """What an intruder at `start` reaches, by hop and then by the order of the places.

    `places` are where the intruder is: one segment, networks outside, or nowhere, for a host that nobody has logged in
    at. `score` is that with every condition met, `score_now` that of now (of the worst member, for a segment).
    """

    start: str
    host: str | None
    places: tuple[str, ...]
    critical: bool
    score: float
    score_now: float
    reached: tuple[Reached, ...]
    paths: tuple[Path, ...]

    @property
    def outside(self) -> bool:
        """Whether the start is a network outside."""
        return self.host is None and "/" in self.start

    @property
    def critical_places(self) -> tuple[str, ...]:
        """Places of something critical, other than the intruder, to which there is a way of whatever conditions."""
        others = (one for one in self.reached if one.place not in self.places or one.hosts)
        return tuple(one.place for one in others if one.critical)

    @property
    def reaches_critical(self) -> bool:
        """Whether there are any."""
        return bool(self.critical_places)

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            **self.summary(),
            "hosts_reached_now": sum(len(one.hosts_now) for one in self.reached),
            "reached": [one.view() for one in self.reached],
            "critical_paths": [path.view() for path in self.paths],
        }

    def summary(self) -> Mapping[str, Any]:
        """JSON-ready, without the ways."""
        return {
            "from": self.start,
            "host": self.host,
            "places": list(self.places),
            "critical": self.critical,
            "score": round(self.score, 2),
            "score_now": round(self.score_now, 2),
            "hops": max((one.hop for one in self.reached), default=0),
            "places_reached": len(self.reached),
            "hosts_reached": sum(len(one.hosts) for one in self.reached),
            "critical_reached": list(self.critical_places),
        }


def blast_radius(ground: Ground, start: str, kind: str | None = None, critical: Labels = CRITICAL) -> BlastRadius:
    """What an intruder at a host, a segment or a network of the policy reaches; `start` is its name.

    `kind` says which of `host`, `segment` and `network` it is; None takes them in this order. `critical` are the labels
    that make somebody critical. Raises KeyError if there is nothing with this name.
    """
    return _Intrusion(Estate(ground, critical), start, kind).found()


def every_segment(ground: Ground, critical: Labels = CRITICAL) -> tuple[BlastRadius, ...]:
    """Every segment and network outside as a start, the highest score first; without the ways to what is critical."""
    estate = Estate(ground, critical)
    worst = _worst_now(estate)
    found = [_in_short(estate, number, worst.get(number, 0.0)) for number in range(len(ground.places))]
    return tuple(sorted(found, key=lambda one: (-one.score, -one.score_now, one.start)))


def _worst_now(estate: Estate) -> dict[int, float]:
    """The highest score of a member of each place now."""
    worst: dict[int, float] = {}
    for number, node in enumerate(estate.ground.nodes):
        score = estate.score_now(levels(estate.ground.reach_now, [number]), number if node.host else None)
        worst[node.place] = max(score, worst.get(node.place, 0.0))
    return worst


def _in_short(estate: Estate, number: int, score_now: float) -> BlastRadius:
    ground = estate.ground
    place = ground.places[number]
    inside = isinstance(place, str)
    hops = levels(ground.reach, [number])
    always = levels(ground.always, [number])
    score = estate.score(hops, number, estate.least(number) if inside else 0)
    reached = tuple(
        Reached(
            str(ground.places[one]),
            not isinstance(ground.places[one], str),
            estate.places_critical[one],
            hop,
            always.get(one),
            None,
            _names(estate, one, None)[1 if one == number else 0 :],
            (),
            Step("", str(ground.places[one]), ()),
        )
        for one, hop in sorted(hops.items(), key=lambda pair: (pair[1], pair[0]))
    )
    critical = estate.places_critical[number]
    return BlastRadius(str(place), None, (str(place),), critical, score, score_now, reached, ())


def _names(estate: Estate, place: int, own: int | None) -> tuple[str, ...]:
    """The hosts in a place."""
    names = estate.names[place]
    if own is None or estate.ground.nodes[own].place != place:
        return names
    return tuple(name for name in names if name != estate.ground.nodes[own].name)


class _Intrusion:
    """One start, looked at in both ways."""

    def __init__(self, estate: Estate, start: str, kind: str | None) -> None:
        self._estate, self._ground, self._start = estate, estate.ground, start
        self._host: str | None = None
        self._own: int | None = None
        self._places: tuple[int, ...] = ()
        self._starts: tuple[int, ...] = ()
        tried: dict[str, Callable[[], None]] = {
            "host": self._at_host,
            "segment": partial(self._at_place, str),
            "network": partial(self._at_place, object),
        }
        for word, find in tried.items():
            if kind in (None, word):
                try:
                    find()
                except KeyError:
                    continue
                return
        raise KeyError(start)

    def _at_host(self) -> None:
        ground = self._ground
        self._places = ground.places_of(self._start)
        self._host = self._start
        self._own = next((n for n, node in enumerate(ground.nodes) if node.host == self._start), None)
        inside = [number for number, node in enumerate(ground.nodes) if not node.host and node.place in self._places]
        self._starts = tuple(inside) if self._own is None else (self._own,)

    def _at_place(self, kind: type) -> None:
        ground = self._ground
        place = next(place for place in (*ground.places, None) if place is None or str(place) == self._start)
        if place is None or (kind is str) != isinstance(place, str):
            raise KeyError(self._start)
        self._places = (ground.number(place),)
        self._starts = tuple(ground.members.get(self._places[0], ()))

    def found(self) -> BlastRadius:
        """Both answers together."""
        estate, ground = self._estate, self._ground
        possible = spread(ground.reach, self._places, ground.always)
        always = levels(ground.always, self._places)
        now = spread(ground.reach_now, self._starts)
        start = self._places[0] if len(self._places) == 1 and isinstance(ground.places[self._places[0]], str) else None
        own = 0
        if start is not None:
            own = estate.weight(self._own) if self._own is not None else estate.least(start)
        critical = any(estate.places_critical[place] for place in self._places)
        return BlastRadius(
            self._start,
            self._host,
            tuple(str(ground.places[place]) for place in self._places),
            critical if self._own is None else estate.nodes_critical[self._own],
            estate.score(possible.hops, start, own),
            self._score_now(now),
            tuple(self._reached(possible, always, now)),
            (*self._paths(possible), *self._paths_now(now)),
        )

    def _score_now(self, now: Spread) -> float:
        estate, ground = self._estate, self._ground
        if self._host is not None:
            return estate.score_now(now.hops, self._own)
        alone = (
            estate.score_now(levels(ground.reach_now, [one]), one if ground.nodes[one].host else None)
            for one in self._starts
        )
        return max(alone, default=0.0)

    def _reached(self, possible: Spread, always: Mapping[int, int], now: Spread) -> Iterator[Reached]:
        ground = self._ground
        first: dict[int, int] = {}
        hosts: dict[int, list[tuple[str, int]]] = {}
        for number, hop in now.hops.items():
            node = ground.nodes[number]
            if number != self._own:
                first[node.place] = min(hop, first.get(node.place, hop))
                hosts.setdefault(node.place, []).extend([(node.host, hop)] if node.host else [])
        for number, hop in sorted(possible.hops.items(), key=lambda pair: (pair[1], pair[0])):
            place = ground.places[number]
            yield Reached(
                str(place),
                not isinstance(place, str),
                self._estate.places_critical[number],
                hop,
                always.get(number),
                first.get(number),
                _names(self._estate, number, self._own),
                tuple(sorted(hosts.get(number, ()))),
                ground.step(possible.parents[number], number),
            )

    def _paths(self, possible: Spread) -> Iterator[Path]:
        names = partial(_names, self._estate, own=self._own)
        others = (place for place in possible.hops if place not in self._places or names(place))
        critical = (place for place in others if self._estate.places_critical[place])
        for number in sorted(critical, key=lambda place: (possible.hops[place], place)):
            steps = tuple(_steps(possible.path(number), self._ground.step))
            yield Path(str(self._ground.places[number]), False, steps)

    def _paths_now(self, now: Spread) -> Iterator[Path]:
        critical = (node for node in now.hops if self._estate.nodes_critical[node] and node != self._own)
        for number in sorted(critical, key=lambda node: (now.hops[node], node)):
            steps = tuple(_steps(now.path(number), self._ground.step_now))
            yield Path(self._ground.nodes[number].name, True, steps)


def _steps(path: Sequence[int], step: Callable[[int, int], Step]) -> Iterable[Step]:
    return (step(source, target) for source, target in pairwise(path))


Way = Literal["hop", "hop_unconditional", "hop_now"]
"""How a place is reached: with every condition met, with none, or as the hosts are now."""


@dataclass(frozen=True, slots=True)
class Change:
    """A place of which the hop by one of the ways is another, or that is reached so before or after only (None)."""

    place: str
    before: int | None
    after: int | None
    way: Way = "hop"

    @property
    def word(self) -> str:
        """`gained`, `lost`, `nearer` or `farther`."""
        if self.before is None or self.after is None:
            return "gained" if self.before is None else "lost"
        return "nearer" if self.after < self.before else "farther"

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "place": self.place,
            "way": self.way,
            "change": self.word,
            "before": self.before,
            "after": self.after,
        }


def compare(before: BlastRadius, after: BlastRadius) -> tuple[Change, ...]:
    """What a change of the policy does to what is reached, by hop and place.

    A condition that is dropped or added is a change as well: of the hop without conditions, and often of that of now.
    """
    old = {one.place: _hops(one) for one in before.reached}
    new = {one.place: _hops(one) for one in after.reached}
    nothing: Mapping[Way, int | None] = {}
    changes = [
        Change(place, was, will, way)
        for place in {**old, **new}
        for way in get_args(Way)
        if (was := old.get(place, nothing).get(way)) != (will := new.get(place, nothing).get(way))
    ]
    return tuple(sorted(changes, key=lambda one: (one.after or one.before or 0, one.place)))


def _hops(one: Reached) -> Mapping[Way, int | None]:
    return {"hop": one.hop, "hop_unconditional": one.hop_always, "hop_now": one.hop_now}
