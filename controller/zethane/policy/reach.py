"""How far somebody gets who takes over whatever can be reached, and goes on from there: who reaches whom, hop by hop.

Two answers, over two graphs. Between places: any member, present or possible, with every condition met that can be.
Between the hosts that are there: with what the session of each can prove at a moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from zethane.policy.access import Access, Piece, access
from zethane.policy.bits import bits
from zethane.policy.decide import each, place_of
from zethane.policy.matrix import Hosts
from zethane.policy.model import Place, Policy
from zethane.policy.principal import External, Party
from zethane.policy.service import Service


@dataclass(frozen=True, slots=True)
class Node:
    """Somebody that can be taken over: a host with its session, or the addresses of a network outside (no host)."""

    name: str
    place: int
    party: Party
    host: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """One hop: what is used, from whom to whom. Places, or hosts and networks, by name."""

    source: str
    target: str
    pieces: tuple[Piece, ...]

    @property
    def always(self) -> bool:
        """Whether it needs no condition."""
        return any(piece.always for piece in self.pieces)

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "from": self.source,
            "to": self.target,
            "unconditional": self.always,
            "openings": [piece.view() for piece in self.pieces],
        }


@dataclass(frozen=True, slots=True)
class Spread:
    """For each number that is reached the hop, and from which number it first is."""

    hops: Mapping[int, int]
    parents: Mapping[int, int]

    def path(self, target: int) -> list[int]:
        """The numbers from a start to a target, both with it. Raises KeyError if it is not reached."""
        found = [target]
        for _ in range(self.hops[target]):
            found.append(self.parents[found[-1]])
        return found[::-1]


@dataclass(frozen=True)
class Ground:
    """A policy with the hosts that are there at a moment, and everything about them that is asked more than once.

    `ignored` are services by which nobody gets on, such as icmp.
    """

    policy: Policy
    hosts: Hosts
    now: float = 0.0
    ignored: frozenset[Service] = field(default_factory=frozenset)

    @cached_property
    def access(self) -> Access:
        """What the policy opens."""
        return access(self.policy)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Segments, then networks outside."""
        return self.access.places

    @cached_property
    def _number(self) -> dict[Place, int]:
        return {place: number for number, place in enumerate(self.places)}

    def number(self, place: Place) -> int:
        """The number of a place. Raises KeyError."""
        return self._number[place]

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every host that is in one place, then every network outside."""
        found = []
        for name, parties in self.hosts.items():
            if not isinstance(parties, tuple | External):
                place = place_of(self.policy, parties, "host")[0]
                if place is not None:
                    found.append(Node(name, self._number[place], parties, name))
        networks = ((number, place) for number, place in enumerate(self.places) if not isinstance(place, str))
        outside = (Node(str(place), number, External(place.network_address), None) for number, place in networks)
        return (*found, *outside)

    @cached_property
    def members(self) -> Mapping[int, tuple[int, ...]]:
        """The numbers of the nodes in each place."""
        found: dict[int, list[int]] = {}
        for number, node in enumerate(self.nodes):
            found.setdefault(node.place, []).append(number)
        return {place: tuple(inside) for place, inside in found.items()}

    def places_of(self, name: str) -> tuple[int, ...]:
        """The places of a host: none, one, or those of its addresses outside. Raises KeyError."""
        found = (place_of(self.policy, party, "host")[0] for party in each(self.hosts[name]))
        return tuple(sorted({self._number[place] for place in found if place is not None}))

    @cached_property
    def reach(self) -> tuple[int, ...]:
        """For each place those to which something is open, as bits."""
        return self._masks(always=False)

    @cached_property
    def always(self) -> tuple[int, ...]:
        """Likewise, without any condition."""
        return self._masks(always=True)

    def _masks(self, always: bool) -> tuple[int, ...]:
        known: dict[int, int] = {}
        for row in self.access.rows:
            if id(row) not in known:
                useful = (
                    bits
                    for bits, pieces in row.groups
                    if any(piece.always or not always for piece in self.useful(pieces))
                )
                known[id(row)] = sum(useful)
        return tuple(known[id(row)] for row in self.access.rows)

    def useful(self, pieces: Sequence[Piece]) -> Iterator[Piece]:
        """Those of the pieces that are not ignored."""
        if not self.ignored:
            yield from pieces
            return
        yield from (piece for piece in pieces if piece.others or not any(s.covers(piece.service) for s in self.ignored))

    def between(self, source: int, target: int) -> tuple[Piece, ...]:
        """What is open from one place to another, conditions met."""
        return tuple(self.useful(self.access.rows[source].pieces(target)))

    @cached_property
    def reach_now(self) -> tuple[int, ...]:
        """For each node those to which it may open something now, as bits."""
        bits_of = {place: sum(1 << number for number in inside) for place, inside in self.members.items()}
        return tuple(self._now(number, node, bits_of) for number, node in enumerate(self.nodes))

    def _now(self, number: int, node: Node, bits_of: Mapping[int, int]) -> int:
        found = 0
        for targets, every in self.access.rows[node.place].groups:
            pieces = tuple(self.useful(every))
            if not pieces:
                continue
            for place in bits(targets):
                if place not in bits_of:
                    continue
                if any(piece.always for piece in pieces):
                    found |= bits_of[place]
                else:
                    for other in self.members[place]:
                        if self._open(node, self.nodes[other], pieces):
                            found |= 1 << other
        return found & ~(1 << number)

    def _open(self, source: Node, target: Node, pieces: Sequence[Piece]) -> bool:
        return any(self.open_now(piece, source.party, target.party) for piece in pieces)

    def open_now(self, piece: Piece, subject: Party, target: Party) -> bool:
        """Whether a piece is open between two parties now."""
        return any(rule.holds_for(subject, target, self.now) for rule in piece.rules) and not any(
            rule.holds_for(subject, target, self.now) for rule in piece.denies
        )

    def step(self, source: int, target: int) -> Step:
        """What is used from one place to another."""
        return Step(str(self.places[source]), str(self.places[target]), self.between(source, target))

    def step_now(self, source: int, target: int) -> Step:
        """What is used from one node to another."""
        one, other = self.nodes[source], self.nodes[target]
        pieces = self.between(one.place, other.place)
        return Step(
            one.name, other.name, tuple(piece for piece in pieces if self.open_now(piece, one.party, other.party))
        )


def spread(reach: Sequence[int], start: Sequence[int], easy: Sequence[int] | None = None) -> Spread:
    """Who is reached from `start` at which hop, breadth first; a start is reached if a way leads back to it.

    `reach` has for each number those that it reaches directly, as bits. Of the ways with the fewest hops one is kept
    that uses the fewest edges which are not in `easy`, and of those the one by the lowest numbers.
    """
    hops: dict[int, int] = {}
    parents: dict[int, int] = {}
    cost = dict.fromkeys(start, 0)
    seen, frontier, hop = 0, sorted(set(start)), 0
    while frontier:
        hop += 1
        fresh: dict[int, tuple[int, int]] = {}
        for number in frontier:
            for target in bits(reach[number] & ~seen):
                toll = cost[number] + (0 if easy is None or easy[number] >> target & 1 else 1)
                if target not in fresh or toll < fresh[target][0]:
                    fresh[target] = (toll, number)
        for target, (_, number) in fresh.items():
            hops[target], parents[target] = hop, number
            seen |= 1 << target
        frontier = sorted(target for target in fresh if target not in cost)
        cost.update({target: fresh[target][0] for target in frontier})
    return Spread(hops, parents)


def levels(reach: Sequence[int], start: Sequence[int]) -> dict[int, int]:
    """The hop of each number that is reached, without the ways."""
    hops: dict[int, int] = {}
    seen, done, hop = 0, 0, 0
    frontier = sum(1 << number for number in set(start))
    while frontier:
        hop += 1
        done |= frontier
        fresh = 0
        for number in bits(frontier):
            fresh |= reach[number]
        fresh &= ~seen
        hops.update(dict.fromkeys(bits(fresh), hop))
        seen |= fresh
        frontier = fresh & ~done
    return hops
