"""The classes of a policy with their numbers, and which of them may have to do with each other, as sets of bits."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from zethane.errors import CapacityError
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

    `segments` are the numbers of segments, `numbers` those of all classes.
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
    _places: Mapping[int, int]
    """The place of a class by its number."""

    @classmethod
    def of(cls, compiled: CompiledPolicy, numbering: Numbering) -> ClassNumbers:
        """Numbers for every class. Raises CapacityError."""
        segments, numbers = _numbered(compiled, compiled.conditions, numbering)
        networks = {
            one.prefix: NETWORK_CLASS | numbering.number_of("class", f"network {one.prefix}")
            for one in compiled.networks
        }
        numbers.update((one, networks[one.prefix]) for one in compiled.networks)
        classes = {number: one for one, number in numbers.items()}
        places = compiled.between.places
        place_of = {number: places[one] for one, number in numbers.items()}
        at = version({place: number for number, place in place_of.items()})
        known = version(segments), version(numbers), version(classes)
        return cls(*known, networks, compiled.between, Layout(), compiled.classes, at, version(place_of))

    def changed(self, change: Recompiled, numbering: Numbering) -> ClassNumbers:
        """Those of a policy that was compiled from the one of these. Raises CapacityError."""
        compiled = change.compiled
        if not change.segments:
            return replace(self, between=compiled.between)
        gone = [one for name in change.segments for one in self._of[name]]
        segments, numbers = _numbered(compiled, change.segments, numbering)
        before, places = [self.numbers[one] for one in gone], compiled.between.places
        place_of = {number: places[one] for one, number in numbers.items()}
        return replace(
            self,
            segments=following(self.segments, segments),
            numbers=following(self.numbers, numbers, gone),
            classes=following(self.classes, {number: one for one, number in numbers.items()}, before),
            between=compiled.between,
            _of=compiled.classes,
            _at=following(
                self._at,
                {place: number for number, place in place_of.items()},
                (self.between.places[one] for one in gone),
            ),
            _places=following(self._places, place_of, before),
        )

    def renumbered(self, before: ClassNumbers, segments: Iterable[str]) -> list[str]:
        """Those of some segments that had another number before."""
        return [name for name in segments if self.segments[name] != before.segments[name]]

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
        place = self._places.get(number)
        return 0 if place is None else 2 << place

    def bits(self, numbers: Iterable[int]) -> int:
        """The bits of several."""
        found = 0
        for number in numbers:
            found |= self.bit(number)
        return found

    def peers(self, number: int) -> int:
        """The bits of the classes that some flow may connect one with, in either direction, at some time."""
        return self.peers_of((number,))

    def peers_of(self, numbers: Iterable[int]) -> int:
        """The same of any of several classes."""
        found = dns = 0
        place_of, known = self._places.get, self.between.known
        for number in numbers:
            place = place_of(number)
            if place is not None:
                peers = known(place)
                found |= self.between.of(self.classes[number]) if peers is None else peers
                dns |= not number & NETWORK_CLASS
            elif number == DNS_CLASS:
                found |= self.between.sessions
        return found << 1 | (_DNS if dns else 0)

    def meets(self, number: int, others: Container[int]) -> bool:
        """Whether some flow may connect a class with one of these."""
        left = self.peers(number)
        while left:
            first = left & -left
            place = first.bit_length() - 1
            if (DNS_CLASS if place == 0 else self._at.get(place - 1)) in others:
                return True
            left ^= first
        return False

    def touched_after(self, before: ClassNumbers) -> set[int] | None:
        """The classes about one of which is whatever is other than before about who has to do with whom, and those
        that have come or gone; None: it may be about any."""
        touched = self.between.touched
        if touched is None or not self.between.follows(before.between):
            return None
        return {*before.at(touched << 1), *self.at(touched << 1)}

    def is_unknown(self, number: int) -> bool:
        """Whether the `peers` of a class have to be found out."""
        place = self._places.get(number)
        return place is not None and not self.between.knows(place)

    def at(self, found: int) -> Iterator[int]:
        """The numbers of the classes with these bits; of those that are gone there are none."""
        for place in bits(found):
            number = DNS_CLASS if place == 0 else self._at.get(place - 1)
            if number is not None:
                yield number


def _numbered(
    compiled: CompiledPolicy, segments: Iterable[str], numbering: Numbering
) -> tuple[dict[str, int], dict[Class, int]]:
    """The numbers of some segments, and of their classes."""
    found: dict[str, int] = {}
    numbers: dict[Class, int] = {}
    for name in segments:
        asked = compiled.conditions[name]
        found[name], places = _number(name, asked, numbering)
        bit_of = {condition.key: bit for condition, bit in zip(asked, places, strict=True)}
        for one in compiled.classes[name]:
            numbers[one] = session_class(found[name], (bit_of[key] for key in one.held))
    return found, numbers


def _number(segment: str, asked: Sequence[Condition], numbering: Numbering) -> tuple[int, tuple[int, ...]]:
    """The number of a segment, and the bits that these conditions have there; no segment has a space in its name.

    A bit never comes to stand for another condition: where none is left, the segment has one number more. The last one
    in which all of the conditions have a bit is taken.
    """
    numbers = [numbering.number_of("class", f"{segment}/None")]
    while (more := numbering.known("class", f"{segment}/{len(numbers)}")) is not None:
        numbers.append(more)
    for number in reversed(numbers):
        places = numbering.bits_of(number, asked, give=False)
        if places is not None:
            return number, places
    number = numbers[-1]
    places = numbering.bits_of(number, asked, give=True)
    if places is None:
        number = numbering.number_of("class", f"{segment}/{len(numbers)}")
        places = numbering.bits_of(number, asked, give=True)
        if places is None:
            raise CapacityError(f"segment {segment}: {len(asked)} conditions, and no class has room for as many")
    return number, places
