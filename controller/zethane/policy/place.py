"""The places that a principal or an address can be in, in two policies at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from zethane.errors import CapacityError
from zethane.net.prefix import Address, Prefix, in_order, within
from zethane.policy.model import Policy, Segment
from zethane.policy.principal import Principal
from zethane.policy.traits import one_value_each

MAX_PLACES = 8192
"""Places that are compared, and ways of being in one that are tried."""

MAX_PAIRS = 4096
"""Pairs of segments with changed selectors beyond which only those are looked at of which one is within the other."""

NOWHERE: Literal[""] = ""
"""In no segment."""
SEVERAL: Literal["*"] = "*"
"""In more than one segment: no access, and an error in the policy if there is such a principal."""

Labels = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Place:
    """What one principal is in: a segment of the old policy and one of the new, or NOWHERE, or SEVERAL of them.

    Outside it is the addresses of `network` that are in no longer one of either policy.
    """

    old: str
    new: str
    network: Prefix | None = None
    address: Address | None = None
    """An address of the network."""


@dataclass(frozen=True, slots=True)
class Member:
    """Labels and groups that make somebody a member of a place."""

    labels: frozenset[tuple[str, str]]
    groups: frozenset[str]


class Places:
    """Every place that can have members, and those members.

    Selectors ask for what somebody has, never for what they have not, so that whoever has just what is asked for is in
    the fewest segments: if that one is in others too, everybody is.
    """

    def __init__(self, old: Policy, new: Policy, networks: Iterable[Prefix] = ()) -> None:
        self._policies = old, new
        # A selector that is there twice has no members: it counts as changed where the number differs.
        self._keys = tuple(Counter(map(_key, policy.segments.values())) for policy in self._policies)
        self._changed = tuple(
            [one for one in policy.segments.values() if not self._is_kept(one)] for policy in self._policies
        )
        self.is_partial = len(self._changed[0]) * len(self._changed[1]) > MAX_PAIRS
        """Whether selectors have changed of so many segments that not every two of them are looked at together."""
        self._named_by = _named_by(old, new)
        self.all: list[Place] = []
        for place in self._candidates():
            if self.member(place) is not None:
                self._add(place)
        named = in_order({*old.networks, *new.networks, *networks})
        for network, address in _stretches(named):
            self._add(Place(NOWHERE, NOWHERE, network, address))

    def _is_kept(self, segment: Segment) -> bool:
        old, new = self._keys
        return old[_key(segment)] == new[_key(segment)]

    def _add(self, place: Place) -> None:
        if len(self.all) >= MAX_PLACES:
            raise CapacityError(f"the segments make more than {MAX_PLACES} places; expected fewer changed selectors")
        self.all.append(place)

    def _may_share(self, one: Segment, other: Segment) -> bool:
        """Whether somebody can be in both."""
        return (_asks_all(one, other) or _asks_all(other, one)) if self.is_partial else _agree(one, other)

    def _candidates(self) -> Iterator[Place]:
        old, new = self._policies
        changed_old, changed_new = self._changed
        twin_of_old = {_key(one): one.name for one in new.segments.values()}
        for one in old.segments.values():
            twin = twin_of_old[_key(one)] if self._is_kept(one) else None
            partners = (
                [twin] if twin is not None else [other.name for other in changed_new if self._may_share(one, other)]
            )
            yield from (Place(one.name, name) for name in partners)
            if twin is None:
                yield Place(one.name, NOWHERE)
            if twin is None or changed_new:
                yield Place(one.name, SEVERAL)
        for other in changed_new:
            yield Place(NOWHERE, other.name)
        for other in new.segments.values() if changed_old else changed_new:
            yield Place(SEVERAL, other.name)

    def member(
        self,
        place: Place,
        labels: Labels = (),
        groups: Sequence[frozenset[str]] = (),
        without: tuple[Collection[tuple[str, str]], Collection[frozenset[str]]] = ((), ()),
    ) -> Member | None:
        """Somebody there who has these labels and one of each of these groups, and nothing of what they shall not."""
        parts = self._parts(place)
        for extra in self._extras(place):
            asked = [*parts, *extra]
            have = one_value_each([*labels, *(label for one in asked for label in one.labels)])
            if have is None or not have.isdisjoint(without[0]):
                continue
            sets = [*groups, *(one.groups for one in asked if one.groups)]
            closed = frozenset[str]().union(*without[1])
            for tries, chosen in enumerate(_choices(self._distinct([one - closed for one in sets]))):
                if tries >= MAX_PLACES:
                    raise CapacityError("segments and conditions name too many groups to be compared")
                if self._is_in(place, have, chosen):
                    return Member(frozenset(have), chosen)
        return None

    def _distinct(self, sets: Sequence[frozenset[str]]) -> list[frozenset[str]]:
        """The sets without groups that make no difference: in the sets of another, and named by the same segments."""
        found = []
        for groups in sets:
            kinds: dict[object, str] = {}
            for group in sorted(groups):
                key = self._named_by.get(group, ()), tuple(group in other for other in sets)
                kinds.setdefault(key, group)
            found.append(frozenset(kinds.values()))
        return found

    def _parts(self, place: Place) -> list[Segment]:
        names = (place.old, place.new)
        return [
            policy.segments[name]
            for policy, name in zip(self._policies, names, strict=True)
            if name not in (NOWHERE, SEVERAL)
        ]

    def parts(self, place: Place) -> list[Place]:
        """For who is in SEVERAL segments of one policy: what they would be in if each of these were the only one.

        Empty where these cannot be told: the segment that they are in in the other policy is one of both.
        """
        side = 1 if place.new == SEVERAL else 0
        name = (place.old, place.new)[1 - side]
        segment = self._policies[1 - side].segments.get(name)
        if segment is None or self._is_kept(segment) or self.is_partial:
            return []
        found = []
        for other in self._changed[side]:
            pair = Place(name, other.name) if side else Place(other.name, name)
            both = Place(name, SEVERAL) if side else Place(SEVERAL, name)
            if self.member(pair) is not None or self.member(both, other.labels, [other.groups] if other.groups else []):
                found.append(pair)
        return found

    def _extras(self, place: Place) -> Iterator[list[Segment]]:
        """What may have to be held besides, to be in several segments: nothing, or one segment more, or two."""
        yield []
        parts = self._parts(place)
        for side, name in enumerate((place.old, place.new)):
            if name == SEVERAL:
                near = [one for one in self._changed[side] if all(self._may_share(one, other) for other in parts)]
                yield from ([one] for one in near)
                if len(near) ** 2 <= MAX_PAIRS:
                    yield from map(list, combinations(near, 2))

    def _is_in(self, place: Place, labels: Collection[tuple[str, str]], groups: frozenset[str]) -> bool:
        who = Principal("user", "somebody", groups, tuple(sorted(labels)))
        for policy, name in zip(self._policies, (place.old, place.new), strict=True):
            found = policy.segments_of(who)
            if name == SEVERAL:
                if len(found) < 2:
                    return False
            elif found != ((name,) if name else ()):
                return False
        return True


def _named_by(*policies: Policy) -> dict[str, tuple[tuple[int, str], ...]]:
    """The segments that ask for each group, with the number of their policy."""
    found: dict[str, tuple[tuple[int, str], ...]] = {}
    for number, policy in enumerate(policies):
        for segment in policy.segments.values():
            for group in segment.groups:
                found[group] = (*found.get(group, ()), (number, segment.name))
    return found


def _key(segment: Segment) -> tuple[tuple[tuple[str, str], ...], frozenset[str]]:
    return segment.labels, segment.groups


def _agree(one: Segment, other: Segment) -> bool:
    """Whether somebody can have the labels of both."""
    have = dict(one.labels)
    return all(have.get(name, value) == value for name, value in other.labels)


def _asks_all(one: Segment, other: Segment) -> bool:
    """Whether one asks for all that the other does."""
    if any(label not in one.labels for label in other.labels):
        return False
    return not other.groups or (bool(one.groups) and one.groups <= other.groups)


def _choices(sets: Sequence[frozenset[str]], chosen: frozenset[str] = frozenset()) -> Iterator[frozenset[str]]:
    """The smallest sets of groups with one of each of these sets."""
    if not sets:
        yield chosen
        return
    first, *rest = sets
    if not first.isdisjoint(chosen):
        yield from _choices(rest, chosen)
        return
    for group in sorted(first):
        yield from _choices(rest, chosen | {group})


def _stretches(prefixes: Sequence[Prefix]) -> Iterator[tuple[Prefix, Address]]:
    """The prefixes in which there are addresses that are in no longer one of these, with one such address.

    `prefixes` are in order: each comes before those that are part of it.
    """
    for number, prefix in enumerate(prefixes):
        free = prefix.network_address
        last = int(prefix.broadcast_address)
        covered = False
        for other in prefixes[number + 1 :]:
            if not within(other, prefix):
                break
            if int(other.network_address) > int(free):
                break
            after = int(other.broadcast_address) + 1
            if after > last:
                covered = True
                break
            if after > int(free):
                free = type(free)(after)
        if not covered:
            yield prefix, free
