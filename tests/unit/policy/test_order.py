"""The order of many names is that of `sorted`, of however many runs it is made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zethane.policy.order import RUN, ordered


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 99)), max_size=3 * RUN))
def test_it_is_that_of_sorted(every: list[tuple[bool, int]]) -> None:
    assert ordered(every) == sorted(every)
    assert ordered(iter(every), key=lambda one: one[0]) == sorted(every, key=lambda one: one[0])


def test_many_names_are_put_in_order_by_more_than_one_call() -> None:
    names = [f"rule{number * 7919 % 10_000}" for number in range(10_000)]
    assert ordered(names) == sorted(names)
    assert ordered(names, key=len) == sorted(names, key=len)
