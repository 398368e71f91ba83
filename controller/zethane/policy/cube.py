"""Cubes: sets of questions to a policy, as the product of who asks, for whom, for what, and what holds and does not.

What two policies say can be compared, however they are written, by taking the cubes of the one from those of the other:
what is left is exactly what only one of them says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from zethane.errors import CapacityError
from zethane.policy.bits import bits

MAX_STEPS = 20_000_000
"""Cubes held against one another for one answer."""

MAX_PARTS = 200_000
"""Cubes that one may fall into."""


class Cube(NamedTuple):
    """A set of questions. Each field is a set of bits; whoever made the cube knows what they stand for.

    A question is in it if its subject's place is one of `subjects`, its object's one of `objects`, its service one of
    `services`, and all of `held` and none of `lacking` are true of it.
    """

    subjects: int
    objects: int
    services: int
    held: int = 0
    lacking: int = 0


class Work:
    """How much may still be done for one answer."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Raises CapacityError where nothing is left."""
        self._left -= steps
        if self._left < 0:
            raise CapacityError("this takes more work than one answer may; expected fewer or simpler rules")


def meet(one: Cube, other: Cube) -> Cube | None:
    """What is in both; None if nothing can be."""
    subjects, objects, services = one[0] & other[0], one[1] & other[1], one[2] & other[2]
    if not (subjects and objects and services):
        return None
    if one[3] & other[4] or one[4] & other[3]:
        return None
    return Cube(subjects, objects, services, one[3] | other[3], one[4] | other[4])


def minus(one: Cube, other: Cube) -> list[Cube]:
    """What is in one and not in the other, as cubes that do not overlap."""
    if meet(one, other) is None:
        return [one]
    subjects, objects, services, held, lacking = one
    left = []
    if rest := subjects & ~other.subjects:
        left.append(Cube(rest, objects, services, held, lacking))
        subjects &= other.subjects
    if rest := objects & ~other.objects:
        left.append(Cube(subjects, rest, services, held, lacking))
        objects &= other.objects
    if rest := services & ~other.services:
        left.append(Cube(subjects, objects, rest, held, lacking))
        services &= other.services
    for bit in bits(other.held & ~held):
        left.append(Cube(subjects, objects, services, held, lacking | 1 << bit))
        held |= 1 << bit
    for bit in bits(other.lacking & ~lacking):
        left.append(Cube(subjects, objects, services, held | 1 << bit, lacking))
        lacking |= 1 << bit
    return left


def subtract(cubes: Sequence[Cube], others: Iterable[Cube], work: Work) -> list[Cube]:
    """What is in one of the cubes and in none of the others."""
    left = list(cubes)
    for other in others:
        work.spend(len(left) + 1)
        if not left:
            break
        left = [part for one in left for part in minus(one, other)]
        if len(left) > MAX_PARTS:
            raise CapacityError("the conditions of rules combine in too many ways; expected fewer or simpler rules")
    return left


class CubeIndex:
    """Cubes by the places they are about, so that those which overlap another are found without a look at all."""

    WIDE = 32
    """Places of one side from which on a cube is looked at for each of them."""

    def __init__(self, cubes: Iterable[Cube] = ()) -> None:
        self.cubes: list[Cube] = []
        self._narrow: tuple[dict[int, list[int]], dict[int, list[int]]] = ({}, {})
        self._wide: tuple[list[int], list[int]] = ([], [])
        for cube in cubes:
            self.add(cube)

    def add(self, cube: Cube) -> None:
        """One cube more."""
        number = len(self.cubes)
        self.cubes.append(cube)
        for side in (0, 1):
            if cube[side].bit_count() > self.WIDE:
                self._wide[side].append(number)
            else:
                for bit in bits(cube[side]):
                    self._narrow[side].setdefault(bit, []).append(number)

    def overlapping(self, cube: Cube, work: Work) -> list[int]:
        """The numbers of the cubes that have something in common with this one, in the order they came in."""
        found = min((self._near(cube, side) for side in (0, 1)), key=len)
        work.spend(len(found) + 1)
        subjects, objects, services, held, lacking = cube
        cubes = self.cubes
        return [
            number
            for number in found
            if (other := cubes[number])[0] & subjects
            and other[1] & objects
            and other[2] & services
            and not (other[3] & lacking or other[4] & held)
        ]

    def _near(self, cube: Cube, side: int) -> Sequence[int]:
        if cube[side].bit_count() > self.WIDE:
            return range(len(self.cubes))
        narrow = self._narrow[side]
        places = [narrow[bit] for bit in bits(cube[side]) if bit in narrow]
        if len(places) == 1 and not self._wide[side]:
            return places[0]
        return sorted({*chain.from_iterable(places), *self._wide[side]})
