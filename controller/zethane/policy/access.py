"""Who may open what to whom at all: between places rather than hosts, whatever conditions may have to be met for it.

A place is a segment or a network outside. Rules are gone through by their sources, and targets about which the same
rules speak are kept together as a set: what a policy opens takes room with its rules, not with its pairs of places.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zethane.net.prefix import within
from zethane.policy.bits import bits
from zethane.policy.implication import implied, possible
from zethane.policy.model import ANY, Place, Policy, Rule
from zethane.policy.service import PROTOCOLS, Proto, Service, pieces, simplify


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a service within which all rules of a pair of places say the same.

    `rules` allow it, in the order of their ids. `always` says that it is open whenever both ends are there; otherwise
    a condition of one of these rules has to hold, and none of `denies`, which are all conditional, must. `others`
    says that of the service `any` only those protocols are meant that have no word of their own.
    """

    service: Service
    rules: tuple[Rule, ...]
    always: bool
    denies: tuple[Rule, ...] = ()
    others: bool = False

    def __str__(self) -> str:
        return "other IP protocols" if self.others else str(self.service)

    def view(self) -> Mapping[str, Any]:
        """JSON-ready: a service with the rules that allow it and what they ask for."""
        conditions = [] if self.always else [" and ".join(asks(rule)) for rule in self.rules if rule.is_conditional]
        return {
            "service": str(self),
            "rules": [rule.id for rule in self.rules],
            "unconditional": self.always,
            "conditions": conditions,
            "unless": [f"{rule.id}: {' and '.join(asks(rule))}" for rule in self.denies],
        }


@dataclass(frozen=True, slots=True)
class Opening(Piece):
    """What members of one place may open to members of another."""

    source: Place = ""
    target: Place = ""


@dataclass(frozen=True, slots=True)
class Row:
    """What members of one place may open: sets of targets, as bits by the places' numbers, with their pieces.

    No target is in two of the sets, and none of the sets is without a piece. `reach` has every target, `always` those
    to which some piece is always open.
    """

    groups: tuple[tuple[int, tuple[Piece, ...]], ...]
    reach: int = 0
    always: int = 0

    def pieces(self, target: int) -> tuple[Piece, ...]:
        """What is open to the place with this number."""
        return next((found for targets, found in self.groups if targets >> target & 1), ())


@dataclass(frozen=True, slots=True)
class Access:
    """What a policy opens: the places, segments first, and a row for each."""

    places: tuple[Place, ...]
    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Opening]:
        for source, row in zip(self.places, self.rows, strict=True):
            for targets, found in row.groups:
                for target in bits(targets):
                    yield from (_opening(source, self.places[target], piece) for piece in found)


def _opening(source: Place, target: Place, piece: Piece) -> Opening:
    return Opening(piece.service, piece.rules, piece.always, piece.denies, piece.others, source, target)


def asks(rule: Rule) -> tuple[str, ...]:
    """What a rule asks for besides places and service, in words."""
    parts = [str(rule.condition)] if rule.condition else []
    parts += [f"object: {rule.object_condition}"] if rule.object_condition else []
    parts += [str(rule.hours)] if rule.hours else []
    return (*parts, rule.expression) if rule.expression else tuple(parts)


def openings(policy: Policy) -> Iterator[Opening]:
    """Every opening, by source, target and service; a service is cut where a rule of its pair begins or ends.

    Nothing that can be open is left out. Conditions of which none can hold without another are told apart only as far
    as `implication` knows: what is left may be there although nobody can ever meet its conditions.
    """
    yield from access(policy)


def access(policy: Policy) -> Access:
    """What the policy opens, by source. Rules of the stage `audit` do not count."""
    return _Builder(policy).build()


class _Builder:
    """Rows, each made once for all the sources about which the same rules speak; pieces likewise for pairs."""

    def __init__(self, policy: Policy) -> None:
        self._rules = sorted(policy.enforced, key=lambda rule: rule.id)
        self._segments = len(policy.segments)
        self._places: tuple[Place, ...] = (*policy.segments, *policy.networks)
        self._number = {place: number for number, place in enumerate(self._places)}
        self._every = (1 << self._segments) - 1
        self._targets: dict[int, list[int]] = {}
        self._pieces: dict[tuple[int, ...], tuple[Piece, ...]] = {}

    def build(self) -> Access:
        rules_of = self._by_source()
        known: dict[tuple[bool, tuple[int, ...]], Row] = {}
        rows = []
        for number in range(len(self._places)):
            key = (number < self._segments, tuple(rules_of.get(number, ())))
            if key not in known:
                known[key] = self._row(*key)
            rows.append(known[key])
        return Access(self._places, tuple(rows))

    def _by_source(self) -> Mapping[int, list[int]]:
        """The numbers of the rules that are about flows from each place, lowest first."""
        found: dict[int, list[int]] = defaultdict(list)
        for index, rule in enumerate(self._rules):
            segments = range(self._segments) if ANY in rule.sources else self._named(rule.sources)
            for number in (*segments, *self._within(rule.source_networks)):
                found[number].append(index)
        return found

    def _named(self, names: Sequence[str]) -> list[int]:
        return sorted({self._number[name] for name in names})

    def _within(self, networks: Sequence[Place]) -> list[int]:
        """The networks that are part of one of these."""
        if not networks:
            return []
        return [
            number
            for number, place in enumerate(self._places[self._segments :], self._segments)
            if not isinstance(place, str) and any(not isinstance(n, str) and within(place, n) for n in networks)
        ]

    def _row(self, inside: bool, rules: Sequence[int]) -> Row:
        """What sources open that these rules are about; those outside open nothing to one another."""
        if not any(self._rules[index].allow for index in rules):
            return Row(())
        common = [index for index in rules if ANY in self._rules[index].targets]
        named: dict[int, list[int]] = defaultdict(list)
        for index in rules:
            for number in self._targets_of(index):
                named[number].append(index)
        sets: dict[tuple[int, ...], int] = defaultdict(int)
        rest = self._every
        for number, found in named.items():
            if number < self._segments:
                rest &= ~(1 << number)
                sets[tuple(sorted((*common, *found)))] |= 1 << number
            elif inside:
                sets[tuple(found)] |= 1 << number
        if common and rest:
            sets[tuple(common)] |= rest
        groups = tuple((bits, open_to) for key, bits in sets.items() if (open_to := self._pieces_of(key)))
        reach = sum(bits for bits, _ in groups)
        return Row(groups, reach, sum(bits for bits, open_to in groups if any(piece.always for piece in open_to)))

    def _targets_of(self, index: int) -> list[int]:
        """The places that a rule names; `any` is seen to elsewhere."""
        if index not in self._targets:
            rule = self._rules[index]
            segments = [] if ANY in rule.targets else self._named(rule.targets)
            self._targets[index] = [*segments, *self._within(rule.target_networks)]
        return self._targets[index]

    def _pieces_of(self, key: tuple[int, ...]) -> tuple[Piece, ...]:
        if key not in self._pieces:
            self._pieces[key] = tuple(_pieces([self._rules[index] for index in key]))
        return self._pieces[key]


def _pieces(rules: Sequence[Rule]) -> Iterator[Piece]:
    """What these rules, which are all about one pair of places, leave open."""
    services = [service for rule in rules for service in rule.services]
    for service, others in _cut(
        simplify(service for rule in rules if rule.allow for service in rule.services), services
    ):
        about = [rule for rule in rules if any(one.covers(service) for one in rule.services)]
        denies = tuple(rule for rule in about if not rule.allow)
        if all(rule.is_conditional for rule in denies):
            allows = tuple(rule for rule in about if rule.allow and _can_open(rule, denies))
            if allows:
                always = not denies and any(not rule.is_conditional for rule in allows)
                yield Piece(service, allows, always, denies, others)


def _cut(whole: Iterable[Service], services: Sequence[Service]) -> Iterator[tuple[Service, bool]]:
    """The services cut into pieces within which the others say the same, and whether unnamed protocols are meant.

    `any` is left whole where nothing cuts it; otherwise its protocols stand for it, each by itself.
    """
    for service in whole:
        if service.proto != "any":
            yield from ((piece, False) for piece in pieces(service, services))
        elif all(one.proto == "any" for one in services):
            yield service, False
        else:
            protocols: list[Proto] = [proto for proto in PROTOCOLS if proto != "any"]
            for proto in protocols:
                yield from ((piece, False) for piece in pieces(Service(proto), services))
            yield service, True


def _can_open(rule: Rule, denies: Sequence[Rule]) -> bool:
    """Whether an allow can hold while none of these does, as far as that is known."""
    if not denies:
        return True
    if any(_follows(deny, rule) for deny in denies):
        return False
    of_subject = [deny.condition for deny in denies if not (deny.object_condition or deny.hours or deny.expression)]
    of_object = [deny.object_condition for deny in denies if not (deny.condition or deny.hours or deny.expression)]
    return possible([rule.condition], of_subject) and possible([rule.object_condition], of_object)


def _follows(deny: Rule, rule: Rule) -> bool:
    """Whether the deny holds whenever the rule does."""
    return (
        implied([rule.condition], deny.condition)
        and implied([rule.object_condition], deny.object_condition)
        and deny.hours in (None, rule.hours)
        and deny.expression in (None, rule.expression)
    )
