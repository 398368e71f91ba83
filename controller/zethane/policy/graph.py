"""`policy graph`: the segments and networks outside as nodes, what they may open to one another as edges.

What is open from every segment, or to every one, is one edge from or to the node `any`; segments that stand in the same
edges are one node where there are many. So a graph stays legible as long as the policy is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from zethane.policy.access import Access, Piece, access, asks
from zethane.policy.bits import bits
from zethane.policy.model import ANY, Place, Policy, Rule
from zethane.policy.service import covered, simplify

MIN_FOLDED = 3
"""Segments that there must be for edges of all of them to be drawn as one of `any`."""

MERGE_OVER = 24
"""Places above which those with the same edges are drawn as one."""

NodeKind = Literal["segment", "network", "group", "any"]
EdgeKind = Literal["always", "conditional", "staged", "denied"]
ChangeKind = Literal["same", "gained", "lost"]


@dataclass(frozen=True, slots=True)
class Mark:
    """What an edge says: services, the rules that allow or deny them, and what those ask for."""

    kind: EdgeKind
    services: tuple[str, ...]
    rules: tuple[str, ...]
    conditions: tuple[str, ...] = ()
    change: ChangeKind = "same"


@dataclass(frozen=True, slots=True)
class Node:
    """A place, `any`, or several segments (`group`) with the same edges. `hosts` is how many are there."""

    name: str
    kind: NodeKind
    places: tuple[str, ...]
    hosts: int

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {"name": self.name, "kind": self.kind, "places": list(self.places), "hosts": self.hosts}


@dataclass(frozen=True, slots=True)
class Edge:
    """From one node, by its name, to some."""

    source: str
    targets: tuple[str, ...]
    marks: tuple[Mark, ...]
    """All of one kind and change."""

    @property
    def kind(self) -> EdgeKind:
        """How it is open."""
        return self.marks[0].kind

    @property
    def change(self) -> ChangeKind:
        """What a change of the policy does to it."""
        return self.marks[0].change

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "from": self.source,
            "to": list(self.targets),
            "kind": self.kind,
            "change": self.change,
            "openings": [
                {"services": list(m.services), "rules": list(m.rules), "conditions": list(m.conditions)}
                for m in self.marks
            ],
        }


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in the order of the places, and edges by their sources."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {"nodes": [node.view() for node in self.nodes], "edges": [edge.view() for edge in self.edges]}


Marks = dict[Mark, dict[int, int]]
"""For each mark the targets by source, as bits of the places' numbers."""


def graph(
    policy: Policy,
    hosts: Mapping[str, int] | None = None,
    *,
    against: Policy | None = None,
    denies: bool = False,
    merge: bool | None = None,
) -> Graph:
    """The graph of a policy, or of what another (`against`) would change in it.

    `hosts` says how many hosts there are in each place, by its name. With `denies` rules that deny are edges as well.
    `merge` makes one node of places with the same edges; None does so where there are more than MERGE_OVER.
    """
    policies = [policy, against] if against else [policy]
    names = {name: None for one in policies for name in one.segments}
    segments = len(names)
    networks = {place: None for one in policies for place in one.networks}
    places: tuple[Place, ...] = (*names, *networks)
    marks = _marks(places, policy, against, denies)
    return _Drawing(places, segments, marks, hosts or {}).build(len(places) > MERGE_OVER if merge is None else merge)


def _marks(places: Sequence[Place], policy: Policy, against: Policy | None, denies: bool) -> Marks:
    found: Marks = defaultdict(dict)
    number = {place: index for index, place in enumerate(places)}
    before = access(policy)
    if against is None:
        for source, row in enumerate(before.rows):
            for targets, pieces in row.groups:
                for piece in pieces:
                    rows = found[_mark(piece)]
                    rows[source] = rows.get(source, 0) | targets
        if len(policy.enforced) < len(policy.rules):
            _enter(found, _staged(policy, _pairs(before, number), number))
    else:
        _enter(found, _changes(_pairs(before, number), _pairs(access(against), number)))
    if denies:
        for rule in (against or policy).enforced:
            if not rule.allow:
                services = tuple(map(str, simplify(rule.services)))
                mark = Mark("denied", services, (rule.id,), asks(rule))
                _enter(found, ((pair, mark) for pair in _pairs_of(rule, places)))
    return found


def _pairs(found: Access, number: Mapping[Place, int]) -> dict[tuple[int, int], tuple[Piece, ...]]:
    return {
        (number[source], number[found.places[target]]): pieces
        for source, row in zip(found.places, found.rows, strict=True)
        for targets, pieces in row.groups
        for target in bits(targets)
    }


def _enter(found: Marks, marks: Iterable[tuple[tuple[int, int], Mark]]) -> None:
    for (source, target), mark in marks:
        rows = found.setdefault(mark, {})
        rows[source] = rows.get(source, 0) | 1 << target


def _mark(piece: Piece, change: ChangeKind = "same", kind: EdgeKind | None = None) -> Mark:
    conditions = () if piece.always else _conditions(piece)
    usual: EdgeKind = "always" if piece.always else "conditional"
    return Mark(kind or usual, (str(piece),), tuple(rule.id for rule in piece.rules), conditions, change)


def _conditions(piece: Piece) -> tuple[str, ...]:
    """`mfa`, or `not mfa` for what a deny asks for; several rules are alternatives."""
    allowing = [" and ".join(asks(rule)) for rule in piece.rules]
    either = " or ".join(dict.fromkeys(allowing)) if all(allowing) else ""
    denying = [f"not ({' and '.join(asks(rule))})" for rule in piece.denies]
    return tuple(part for part in (either, *denying) if part)


def _staged(
    policy: Policy, pairs: Mapping[tuple[int, int], tuple[Piece, ...]], number: Mapping[Place, int]
) -> Iterator[tuple[tuple[int, int], Mark]]:
    """What would be open besides if every staged rule were in force."""
    staged = {rule.id for rule in policy.rules if rule.stage != "enforce"}
    for pair, pieces in _pairs(access(policy.as_if_enforced()), number).items():
        for piece in pieces:
            if any(rule.id in staged for rule in piece.rules) and not _covered(piece, pairs.get(pair, ())):
                yield pair, _mark(piece, kind="staged")


def _changes(
    before: Mapping[tuple[int, int], tuple[Piece, ...]], after: Mapping[tuple[int, int], tuple[Piece, ...]]
) -> Iterator[tuple[tuple[int, int], Mark]]:
    for pair in {**before, **after}:
        old, new = before.get(pair, ()), after.get(pair, ())
        for piece in new:
            yield pair, _mark(piece, "same" if _covered(piece, old) else "gained")
        yield from ((pair, _mark(piece, "lost")) for piece in old if not _covered(piece, new))


def _covered(piece: Piece, by: Sequence[Piece]) -> bool:
    """Whether other pieces open all of this one as easily: always, or under the same conditions."""
    as_easy = [one for one in by if one.always or (not piece.always and _conditions(one) == _conditions(piece))]
    if piece.others:
        return any(one.service.proto == "any" for one in as_easy)
    return covered(piece.service, (one.service for one in as_easy if not one.others))


def _pairs_of(rule: Rule, places: Sequence[Place]) -> Iterator[tuple[int, int]]:
    sources = [number for number, place in enumerate(places) if rule.opens_from(place)]
    targets = [number for number, place in enumerate(places) if rule.opens_to(place)]
    for source in sources:
        for target in targets:
            if isinstance(places[source], str) or isinstance(places[target], str):
                yield source, target


class _Drawing:
    """Marks between places become edges between nodes."""

    def __init__(self, places: Sequence[Place], segments: int, marks: Marks, hosts: Mapping[str, int]) -> None:
        self._names = [str(place) for place in places]
        self._segments, self._marks, self._hosts = segments, marks, hosts
        self._every = (1 << segments) - 1
        self._any_source = len(places)
        self._any_target = len(places) + 1

    def build(self, merge: bool) -> Graph:
        if self._segments >= MIN_FOLDED:
            for rows in self._marks.values():
                self._fold(rows)
        group = self._groups() if merge else {}
        nodes = self._nodes(group)
        return Graph(nodes, tuple(self._edges(group, nodes)))

    def _fold(self, rows: dict[int, int]) -> None:
        """What every segment opens is opened by `any`; what is open to every one is open to `any`."""
        if all(source in rows for source in range(self._segments)):
            common = self._every | sum(1 << n for n in range(self._segments, len(self._names)))
            for source in range(self._segments):
                common &= rows[source]
            if common:
                for source in range(self._segments):
                    rows[source] &= ~common
                rows[self._any_source] = common
        for source, targets in rows.items():
            if targets & self._every == self._every:
                rows[source] = targets & ~self._every | 1 << self._any_target

    def _groups(self) -> dict[int, int]:
        """For each segment with the same edges as another the first of them."""
        outward: dict[int, list[tuple[int, int]]] = defaultdict(list)
        inward: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for index, rows in enumerate(self._marks.values()):
            for source, targets in rows.items():
                if targets:
                    outward[source].append((index, targets))
                for target in bits(targets):
                    inward[target][index] |= 1 << source
        first: dict[Any, int] = {}
        group: dict[int, int] = {}
        for number in range(self._segments):
            key = (tuple(outward.get(number, ())), tuple(sorted(inward.get(number, {}).items())))
            group[number] = first.setdefault(key, number)
        return group

    def _nodes(self, group: Mapping[int, int]) -> tuple[Node, ...]:
        inside: dict[int, list[str]] = defaultdict(list)
        for number, name in enumerate(self._names):
            inside[group.get(number, number)].append(name)
        used = {
            number
            for rows in self._marks.values()
            for source, targets in rows.items()
            if targets
            for number in (source, *bits(targets >> self._any_source << self._any_source))
        }
        nodes = [Node(ANY, "any", (), 0)] if self._any_source in used else []
        for number, places in inside.items():
            kind: NodeKind = "segment" if number < self._segments else "network"
            hosts = sum(self._hosts.get(place, 0) for place in places)
            nodes.append(Node(self._label(number, places), "group" if len(places) > 1 else kind, tuple(places), hosts))
        if self._any_target in used:
            nodes.append(Node(f"to {ANY}", "any", (), 0))
        return tuple(nodes)

    def _label(self, number: int, places: Sequence[str]) -> str:
        """The name of a node: no place has a `+` in its name."""
        return self._names[number] if len(places) == 1 else f"{self._names[number]} + {len(places) - 1}"

    def _edges(self, group: Mapping[int, int], nodes: Sequence[Node]) -> Iterator[Edge]:
        name = {place: node.name for node in nodes for place in node.places}
        names = {number: name[place] for number, place in enumerate(self._names)}
        names |= {self._any_source: ANY, self._any_target: f"to {ANY}"}
        found: dict[tuple[int, int, EdgeKind, ChangeKind], list[Mark]] = defaultdict(list)
        for mark, rows in self._marks.items():
            for source, targets in rows.items():
                if targets and group.get(source, source) == source:
                    found[source, targets, mark.kind, mark.change].append(mark)
        order = {node.name: number for number, node in enumerate(nodes)}
        for (source, targets, _, _), marks in sorted(found.items(), key=lambda item: order[names[item[0][0]]]):
            to = dict.fromkeys(names[target] for target in bits(targets))
            yield Edge(names[source], tuple(to), _together(marks))


def _together(marks: Iterable[Mark]) -> tuple[Mark, ...]:
    """Marks of one edge, those of the same rules as one."""
    services: dict[Mark, list[str]] = defaultdict(list)
    for mark in marks:
        services[replace(mark, services=())] += mark.services
    return tuple(replace(mark, services=tuple(found)) for mark, found in services.items())
