"""Moments at which something has to be looked at."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from zethane.service.moments import SPARE, Moments

steps = st.one_of(
    st.tuples(st.just("plan"), st.integers(1, 5), st.sampled_from((1.0, 2.0, 3.0, math.inf))),
    st.tuples(st.just("forget"), st.integers(1, 5), st.just(0.0)),
    st.tuples(st.just("take"), st.just(0), st.sampled_from((0.5, 1.0, 2.5, 3.0))),
)


@given(st.lists(steps, max_size=40))
def test_what_is_taken_is_what_a_look_at_all_would_find(done: list[tuple[str, int, float]]) -> None:
    moments, planned = Moments(), dict[int, float]()
    for what, number, when in done:
        if what == "plan":
            moments.plan(number, when)
            if when < planned.get(number, math.inf):
                planned[number] = when
        elif what == "forget":
            moments.forget(number)
            planned.pop(number, None)
        else:
            due = [moment for moment in planned.values() if moment <= when]
            taken = moments.take(when)
            assert (taken is not None) == bool(due)
            if taken is not None:
                assert planned.pop(taken) == min(due), "the soonest first"
        assert len(moments) == len(planned)


def test_what_is_not_in_force_any_more_does_not_pile_up() -> None:
    moments = Moments()
    for number in range(10 * SPARE):
        moments.plan(number, 1e9)
        moments.forget(number)
    assert len(moments) == 0
    assert len(moments._heap) <= SPARE + 1
    assert moments.take(2e9) is None
