"""What is looked for in a policy often, found without going through all of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING
from zlib import crc32

from zethane.net.prefix import Prefix, in_order
from zethane.policy.order import ordered
from zethane.policy.principal import Principal

if TYPE_CHECKING:
    from zethane.policy.model import Rule, Segment

SHELVES = 256
"""Parts of the rules that are held against those of another policy as a whole, to find the few that differ."""


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
        self.places = _digest([*ordered(map(_selector, segments.values())), list(map(str, self.networks))])
        """The same for the same segments and networks, and for no others."""
        self._is_unique = len(self.by_id) == count
        self._shelves = _shelves(self.by_id)

    def differing(self, other: Index) -> list[str] | None:
        """The ids under which two policies have different rules; None if an id stands for several."""
        if not self._is_unique or not other._is_unique:  # of the same class
            return None
        # Ten thousand rules, one of which is another: most of them are not looked at one by one.
        before, after = self._shelves, other._shelves
        found: list[str] = []
        for number in before.keys() | after.keys():
            (own, names), (others, new) = before.get(number, _EMPTY), after.get(number, _EMPTY)
            if own != others:
                found += (name for name in {*names, *new} if _differ(self.by_id.get(name), other.by_id.get(name)))
        return sorted(found)

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


Shelf = tuple[bytes, tuple[str, ...]]
"""What rules mean, as a digest, and their ids."""

_EMPTY: Shelf = b"", ()


def _shelves(rules: Mapping[str, Rule]) -> dict[int, Shelf]:
    """The rules, by their ids, in parts whose meanings can be compared at once, in whichever process they were made."""
    found: dict[int, list[str]] = defaultdict(list)
    for name in ordered(rules):
        found[crc32(name.encode()) % SHELVES].append(name)
    keys: dict[int, str] = {}
    return {
        number: (_digest([_text(rules[name], keys) for name in names]), tuple(names)) for number, names in found.items()
    }


def _digest(parts: Iterable[object]) -> bytes:
    digest = sha256()
    for part in parts:  # one call for all of a thousand segments would hold the interpreter's lock for a millisecond
        digest.update(f"{part!r}\n".encode())
    return digest.digest()


def _selector(segment: Segment) -> tuple[object, ...]:
    return segment.name, segment.labels, sorted(segment.groups), segment.vlan


def _text(rule: Rule, keys: dict[int, str]) -> tuple[object, ...]:
    """All of a rule but where it stands in its file, in values whose representations are alike where they are.

    `keys` are those of conditions, by the objects that stand for them: few conditions are asked by many rules.
    """
    for condition in (rule.condition, rule.object_condition):
        if id(condition) not in keys:
            keys[id(condition)] = condition.key
    return (
        rule.id,
        rule.sources,
        rule.targets,
        [(one.proto, one.low, one.high) for one in rule.services],
        rule.action,
        keys[id(rule.condition)],
        [str(one) for one in rule.source_networks],
        [str(one) for one in rule.target_networks],
        keys[id(rule.object_condition)],
        rule.hours,
        rule.expression,
        rule.stage,
        rule.enforce,
    )


def _differ(one: Rule | None, other: Rule | None) -> bool:
    return one is None or other is None or _meaning(one) != _meaning(other)


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
