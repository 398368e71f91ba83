"""Sets of small numbers as bits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zethane.policy.bits import bits


@given(st.sets(st.integers(0, 5000)))
def test_the_places_of_bits_are_the_numbers_of_the_set_in_order(numbers: set[int]) -> None:
    assert list(bits(sum(1 << number for number in numbers))) == sorted(numbers)
