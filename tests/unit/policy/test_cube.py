"""Cubes hold what they say, take away what they shall, and stop where that would be too much."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zethane.errors import CapacityError
from zethane.policy.cube import Cube, CubeIndex, Work, meet, subtract

_BITS = 3


@st.composite
def cubes(draw: st.DrawFn) -> Cube:
    """A cube over three places, services and atoms each, that is not empty."""
    some = st.integers(1, 2**_BITS - 1)
    held = draw(st.integers(0, 2**_BITS - 1))
    return Cube(draw(some), draw(some), draw(some), held, draw(st.integers(0, 2**_BITS - 1)) & ~held)


def questions(cube: Cube) -> set[tuple[int, int, int, int]]:
    """Every question in a cube: a place, a place, a service, and the atoms that hold."""
    return {
        (*where, atoms)
        for where in product(range(_BITS), repeat=3)
        if all(cube[side] >> bit & 1 for side, bit in enumerate(where))
        for atoms in range(2**_BITS)
        if not cube.held & ~atoms and not cube.lacking & atoms
    }


@given(st.lists(cubes(), max_size=4), st.lists(cubes(), max_size=4))
def test_what_is_left_is_what_was_not_taken(some: list[Cube], others: list[Cube]) -> None:
    left = subtract(some, others, Work())
    wanted = set[tuple[int, int, int, int]]().union(*map(questions, some)) - set().union(*map(questions, others))
    assert set().union(*map(questions, left)) == wanted


@given(cubes(), st.lists(cubes(), max_size=4))
def test_parts_of_one_cube_do_not_overlap(one: Cube, others: list[Cube]) -> None:
    left = subtract([one], others, Work())
    assert sum(len(questions(part)) for part in left) == len(set().union(*map(questions, left)))


@given(st.lists(cubes(), max_size=6), cubes())
def test_an_index_finds_what_overlaps(some: list[Cube], cube: Cube) -> None:
    found = CubeIndex(some).overlapping(cube, Work())
    assert found == [number for number, one in enumerate(some) if questions(one) & questions(cube)]
    assert found == [number for number, one in enumerate(some) if meet(one, cube) is not None]


def test_work_is_bounded() -> None:
    """Conditions in pairs that have nothing to do with one another make twice as many cubes each."""
    others = [Cube(1, 1, 1, 0b11 << 2 * number) for number in range(30)]
    with pytest.raises(CapacityError, match="too many ways"):
        subtract([Cube(1, 1, 1)], others, Work())
    with pytest.raises(CapacityError, match="more work than one answer may"):
        subtract([Cube(1, 1, 1)], others, Work(1000))
