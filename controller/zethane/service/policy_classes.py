"""The classes of a policy with their numbers, and which of them may have to do with each other, as sets of bits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from zethane.net.prefix import Prefix
from zethane.pipeline.fields import DNS_CLASS, NETWORK_CLASS, SEGMENT_MASK, STANDING_BITS, session_class
from zethane.pipeline.flow import FieldValue
from zethane.policy.bits import bits
from zethane.policy.compile import CompiledPolicy
from zethane.policy.condition import Condition
from zethane.policy.entry import Class, End, SessionClass
from zethane.policy.peers import Peers
from zethane.policy.recompile import Recompiled
from zethane.policy.versions import following, version
from zethane.service.policy_numbers import Numbering

_ANY_SESSION = (0, NETWORK_CLASS)
_DNS = 1
"""The bit of the servers that answer DNS; a class has that of its place, and one more."""


class Layout:
    """Which bit stands for which class. Policies that follow from one another share it: they only add to it."""


@dataclass(frozen=True, slots=True)
class ClassNumbers:
    """Never changed: another policy has others, which share what is the same.

    `segments` are the numbers of segments with what is asked of their sessions, `numbers` those of all classes.
    """

    segments: Mapping[str, int]
    numbers: Mapping[Class, int]
    classes: Mapping[int, Class]
    networks: Mapping[Prefix, int]
    between: Peers
    layout: Layout
    _of: Mapping[str, tuple[SessionClass, ...]]
    """The classes of each segment."""
    _at: Mapping[int, int]
    """The number of a class by its place."""

    @classmethod
    def of(cls, compiled: CompiledPolicy, numbering: Numbering) -> ClassNumbers:
        """Numbers for every class. Raises CapacityError."""
        segments = {name: _number(name, asked, numbering) for name, asked in compiled.conditions.items()}
        numbers: dict[Class, int] = {
            one: session_class(segments[name], one.standing)
            for name, found in compiled.classes.items()
            for one in found
        }
        networks = {
            one.prefix: NETWORK_CLASS | numbering.number_of("class", f"network {one.prefix}")
            for one in compiled.networks
        }
        numbers.update((one, networks[one.prefix]) for one in compiled.networks)
        classes = {number: one for one, number in numbers.items()}
        places = compiled.between.places
        at = version({places[one]: number for one, number in numbers.items()})
        known = version(segments), version(numbers), version(classes)
        return cls(*known, networks, compiled.between, Layout(), compiled.classes, at)

    def changed(self, change: Recompiled, numbering: Numbering) -> ClassNumbers:
        """Those of a policy that was compiled from the one of these. Raises CapacityError."""
        compiled = change.compiled
        if not change.segments:
            return replace(self, between=compiled.between)
        gone = [one for name in change.segments for one in self._of[name]]
        segments = {name: _number(name, compiled.conditions[name], numbering) for name in change.segments}
        numbers: dict[Class, int] = {
            one: session_class(number, one.standing)
            for name, number in segments.items()
            for one in compiled.classes[name]
        }
        places = compiled.between.places
        return replace(
            self,
            segments=following(self.segments, segments),
            numbers=following(self.numbers, numbers, gone),
            classes=following(
                self.classes, {number: one for one, number in numbers.items()}, map(self.numbers.__getitem__, gone)
            ),
            between=compiled.between,
            _of=compiled.classes,
            _at=following(
                self._at,
                {places[one]: number for one, number in numbers.items()},
                (self.between.places[one] for one in gone),
            ),
        )

    def field(self, end: End) -> FieldValue:
        """What the register of one end is for those that an entry is about."""
        if end is None:
            return _ANY_SESSION
        if isinstance(end, str):
            return self.segments[end] << STANDING_BITS, SEGMENT_MASK
        return self.numbers[end]

    def bit(self, number: int) -> int:
        """The bit of a class; 0 if there is none of this number."""
        if number == DNS_CLASS:
            return _DNS
        one = self.classes.get(number)
        return 0 if one is None else 2 << self.between.places[one]

    def bits(self, numbers: Iterable[int]) -> int:
        """The bits of several."""
        found = 0
        for number in numbers:
            found |= self.bit(number)
        return found

    def peers(self, number: int) -> int:
        """The bits of the classes that some flow may connect one with, in either direction, at some time."""
        if number == DNS_CLASS:
            return self.between.sessions << 1
        one = self.classes.get(number)
        if one is None:
            return 0
        return self.between.of(one) << 1 | (_DNS if isinstance(one, SessionClass) else 0)

    def knows_peers(self, number: int) -> bool:
        """Whether `peers` of a class costs nothing: there are none, or they have been found out."""
        one = self.classes.get(number)
        return one is None or self.between.knows(one)

    def at(self, found: int) -> Iterator[int]:
        """The numbers of the classes with these bits; of those that are gone there are none."""
        for place in bits(found):
            number = DNS_CLASS if place == 0 else self._at.get(place - 1)
            if number is not None:
                yield number


def _number(segment: str, asked: tuple[Condition, ...], numbering: Numbering) -> int:
    """The number of a segment; no segment has a space in its name.

    What its classes stand for is all in the key: the same number never comes to mean other conditions.
    """
    keys = "".join(f"{condition.key}\n" for condition in asked)
    digest = hashlib.sha256(keys.encode()).hexdigest() if keys else None
    return numbering.number_of("class", f"{segment}/{digest}")
