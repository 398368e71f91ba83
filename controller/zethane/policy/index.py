"""What is looked for in a policy often, found without going through all of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import compress
from operator import ne
from typing import TYPE_CHECKING

from zethane.net.prefix import Prefix, in_order
from zethane.policy.principal import Principal

if TYPE_CHECKING:
    from zethane.policy.model import Rule, Segment


class Index:
    """Segments by what their selectors ask for, rules by their sources and ids, and the networks they name."""

    def __init__(self, segments: Mapping[str, Segment], rules: Iterable[Rule]) -> None:
        self._by_label: dict[tuple[str, str], list[Segment]] = defaultdict(list)
        self._by_group: dict[str, list[Segment]] = defaultdict(list)
        for segment in segments.values():
            # One thing that every member has is enough to find the segment by.
            if segment.labels:
                self._by_label[segment.labels[0]].append(segment)
            else:
                for group in segment.groups:
                    self._by_group[group].append(segment)
        self.places: tuple[object, ...] = (
            {name: (one.labels, one.groups, one.vlan) for name, one in segments.items()},
        )
        self._meanings: dict[str, tuple[object, ...]] = {}
        self._by_source: dict[str, list[Rule]] = defaultdict(list)
        self._from_networks: list[Rule] = []
        self.by_id: dict[str, Rule] = {}
        self.expressions: dict[str, Rule] = {}
        self.has_relations = False
        named: list[Prefix] = []
        count = 0
        for rule in rules:
            count += 1
            self.by_id.setdefault(rule.id, rule)
            self._meanings[rule.id] = _meaning(rule)
            if rule.stage == "enforce":
                self.has_relations |= rule.expression is not None
                for one in (rule.condition, rule.object_condition):
                    if one.expression is not None:
                        self.expressions.setdefault(one.key, rule)
            named += (*rule.source_networks, *rule.target_networks)
            if rule.source_networks:
                self._from_networks.append(rule)
            for name in rule.sources:
                self._by_source[name].append(rule)
        self.networks: tuple[Prefix, ...] = tuple(in_order(named))
        self.places = (*self.places, self.networks)
        self._is_unique = len(self.by_id) == count

    def differing(self, other: Index) -> list[str] | None:
        """The ids under which two policies have different rules; None if an id stands for several."""
        if not self._is_unique or not other._is_unique:  # of the same class
            return None
        own, others = self._meanings, other._meanings
        # Ten thousand rules, one of which is another: without a step of the interpreter for each.
        are_other = map(ne, map(own.get, others), others.values())
        return [*sorted(own.keys() - others.keys()), *compress(others, are_other)]

    def segments_of(self, principal: Principal) -> set[str]:
        """The names of all segments whose selector fits."""
        near = [segment for label in principal.labels for segment in self._by_label.get(label, ())]
        near += (segment for group in principal.groups for segment in self._by_group.get(group, ()))
        return {segment.name for segment in near if segment.holds(principal)}

    def opening_from(self, place: str | Prefix, any_segment: str) -> list[Rule]:
        """The rules that may be about flows from a place: those that name it or `any_segment`, and for a network all
        that name some network."""
        if not isinstance(place, str):
            return self._from_networks
        return [*self._by_source.get(place, ()), *self._by_source.get(any_segment, ())]


def _meaning(rule: Rule) -> tuple[object, ...]:
    """All of a rule but where it stands in its file."""
    return (
        rule.sources,
        rule.targets,
        rule.services,
        rule.action,
        rule.condition,
        rule.source_networks,
        rule.target_networks,
        rule.object_condition,
        rule.hours,
        rule.expression,
        rule.stage,
        rule.enforce,
    )
