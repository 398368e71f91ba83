"""The score of a place or host: how much of the network somebody there puts at risk, from 0 to 100.

It is the share of the other endpoints that can be reached from it, each by its weight (CRITICAL_WEIGHT if it is
critical, otherwise 1) and by one over its hop. Endpoints are the hosts that are there, and one for each segment in
which there is none; what is outside does not count. An allow more never lowers it: no weight depends on the rules, and
hops only become fewer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zethane.policy.principal import Principal
from zethane.policy.reach import Ground

CRITICAL_WEIGHT = 10
"""What a critical endpoint counts, where another counts 1."""

CRITICAL = (("critical", "yes"),)
"""The labels that make somebody, or a segment that selects them, critical, where no others are given."""

Labels = Sequence[tuple[str, str]]


class Estate:
    """A ground with what is worth what on it: which of its places and hosts are critical, and what each weighs."""

    def __init__(self, ground: Ground, labels: Labels = CRITICAL) -> None:
        self.ground = ground
        asked = set(labels)
        segments = ground.policy.segments
        selecting = {name for name, one in segments.items() if not asked.isdisjoint(one.labels)}
        self.nodes_critical = tuple(
            node.host is not None
            and (
                str(ground.places[node.place]) in selecting
                or (isinstance(node.party, Principal) and not asked.isdisjoint(node.party.labels))
            )
            for node in ground.nodes
        )
        inside: dict[int, list[int]] = {}
        for number, node in enumerate(ground.nodes):
            if node.host is not None:
                inside.setdefault(node.place, []).append(number)
        self.hosts_in = inside
        self.places_critical = tuple(
            str(place) in selecting or any(self.nodes_critical[node] for node in inside.get(number, ()))
            for number, place in enumerate(ground.places)
        )
        self.names = tuple(
            tuple(ground.nodes[node].name for node in inside.get(number, ())) for number in range(len(ground.places))
        )
        self.weight_of_place = tuple(self._weight_of_place(number) for number in range(len(segments)))
        self.total = sum(self.weight_of_place)

    def weight(self, node: int) -> int:
        """What a host weighs."""
        return CRITICAL_WEIGHT if self.nodes_critical[node] else 1

    def _weight_of_place(self, number: int) -> int:
        present = self.hosts_in.get(number)
        if present:
            return sum(map(self.weight, present))
        return CRITICAL_WEIGHT if self.places_critical[number] else 1

    def least(self, number: int) -> int:
        """What the intruder's own endpoint weighs, where only its place is known: that of an ordinary member."""
        present = self.hosts_in.get(number)
        return min(map(self.weight, present)) if present else self.weight_of_place[number]

    def score(self, hops: Mapping[int, int], start: int | None, own: int) -> float:
        """Of hops by place; `own` is what the intruder's own endpoint in the place `start` weighs."""
        segments = len(self.weight_of_place)
        reached = sum(
            (self.weight_of_place[place] - (own if place == start else 0)) / hop
            for place, hop in hops.items()
            if place < segments
        )
        others = self.total - own
        return 100 * reached / others if others else 0.0

    def score_now(self, hops: Mapping[int, int], start: int | None) -> float:
        """Of hops by node; `start` is the intruder's own."""
        reached = sum(
            self.weight(node) / hop
            for node, hop in hops.items()
            if node != start and self.ground.nodes[node].host is not None
        )
        others = self.total - (self.weight(start) if start is not None else 0)
        return 100 * reached / others if others else 0.0
