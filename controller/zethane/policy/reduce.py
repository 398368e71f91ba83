"""Cubes that people can read: few, each as wide as it may be, with no more conditions than it takes to tell them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from zethane.policy.bits import bits
from zethane.policy.cube import Cube, subtract
from zethane.policy.space import Space

MAX_ALTERNATIVES = 32
"""Cubes of the same places and services beyond which their conditions are told as they are."""

MAX_ROUNDS = 4

Standing = tuple[int, int]
"""The atoms that hold, and those that do not, as in a cube."""


@dataclass(frozen=True, slots=True)
class Block:
    """The product of places and services, under any of these standings."""

    subjects: int
    objects: int
    services: int
    standings: tuple[Standing, ...]

    @property
    def cubes(self) -> list[Cube]:
        """The same as cubes, which may overlap."""
        return [Cube(self.subjects, self.objects, self.services, *standing) for standing in self.standings]


def blocks(space: Space, cubes: Iterable[Cube]) -> list[Block]:
    """The same questions in blocks that are easy to tell."""
    found = [Block(cube.subjects, cube.objects, cube.services, ((cube.held, cube.lacking),)) for cube in cubes]
    for _ in range(MAX_ROUNDS):
        before = len(found)
        found = _reduced(space, found)
        for merge in (_by_services, _by_objects, _by_subjects):
            found = merge(found)
        if len(found) == before:
            break
    return _reduced(space, found)


def _reduced(space: Space, found: Sequence[Block]) -> list[Block]:
    """Those of the same places and services as one, with the fewest conditions."""
    same: dict[tuple[int, int, int], list[Standing]] = defaultdict(list)
    for block in found:
        same[block.subjects, block.objects, block.services].extend(block.standings)
    return [Block(*where, _fewest(space, where, standings)) for where, standings in same.items()]


def _fewest(space: Space, where: tuple[int, int, int], standings: Sequence[Standing]) -> tuple[Standing, ...]:
    cubes = [Cube(*where, *standing) for standing in dict.fromkeys(standings)]
    if cubes == [Cube(*where)]:
        return ((0, 0),)
    if len(cubes) <= MAX_ALTERNATIVES:
        cubes = list(dict.fromkeys(_widened(space, cube, cubes) for cube in cubes))
        for cube in list(cubes):
            others = [other for other in cubes if other != cube]
            if _is_within(space, cube, others):
                cubes = others
    return tuple(sorted((cube.held, cube.lacking) for cube in cubes))


def _widened(space: Space, cube: Cube, cubes: Sequence[Cube]) -> Cube:
    """The cube without the conditions that make no difference: without them, it is no more than all of the cubes."""
    for bit in (*bits(cube.lacking), *bits(cube.held)):
        one = 1 << bit
        held, lacking = cube.held & ~one, cube.lacking & ~one
        other = cube._replace(held=held | cube.lacking & one, lacking=lacking | cube.held & one)
        if _is_within(space, other, cubes):
            cube = cube._replace(held=held, lacking=lacking)
    return cube


def _is_within(space: Space, cube: Cube, cubes: Sequence[Cube]) -> bool:
    """Whether all that can be in a cube is in one of the others."""
    return not any(space.possible(rest) for rest in subtract([cube], cubes, space.work))


def _merged(
    found: Sequence[Block], rest: Callable[[Block], object], join: Callable[[Block, Block], Block]
) -> list[Block]:
    by_rest: dict[object, Block] = {}
    for block in found:
        key = rest(block)
        by_rest[key] = join(by_rest[key], block) if key in by_rest else block
    return list(by_rest.values())


def _by_services(found: Sequence[Block]) -> list[Block]:
    return _merged(
        found,
        lambda one: (one.subjects, one.objects, one.standings),
        lambda one, other: Block(one.subjects, one.objects, one.services | other.services, one.standings),
    )


def _by_objects(found: Sequence[Block]) -> list[Block]:
    return _merged(
        found,
        lambda one: (one.subjects, one.services, one.standings),
        lambda one, other: Block(one.subjects, one.objects | other.objects, one.services, one.standings),
    )


def _by_subjects(found: Sequence[Block]) -> list[Block]:
    return _merged(
        found,
        lambda one: (one.objects, one.services, one.standings),
        lambda one, other: Block(one.subjects | other.subjects, one.objects, one.services, one.standings),
    )
