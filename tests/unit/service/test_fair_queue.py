"""The queue of packet-ins: bounded, in order within a lane, and fair between lanes."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zethane.service.fair_queue import LEAST_SIZE, FairQueue, QueueBounds

LANES = st.integers(0, 5)
SIZES = st.integers(0, 2000)


def filled(*lanes: int) -> FairQueue[tuple[int, int]]:
    """A queue with an item for each lane named, numbered in the order of arrival."""
    queue: FairQueue[tuple[int, int]] = FairQueue()
    for number, lane in enumerate(lanes):
        assert queue.put(lane, (lane, number), 100)
    return queue


def drained(queue: FairQueue[tuple[int, int]]) -> list[int]:
    return [queue.take()[0] for _ in range(len(queue))]


def test_every_lane_has_its_turn_whatever_the_others_have_waiting() -> None:
    assert drained(filled(1, 1, 1, 1, 2, 3)) == [1, 2, 3, 1, 1, 1]


def test_a_lane_that_was_empty_waits_for_one_item_of_each_other_lane_and_no_more() -> None:
    queue = filled(*[1] * 200, *[2] * 200)
    assert queue.take()[0] == 1
    assert queue.put(3, (3, 0), 100)
    assert [queue.take()[0] for _ in range(3)] == [2, 1, 3]


def test_an_empty_queue_has_nothing_to_take() -> None:
    queue = filled(1)
    queue.take()
    with pytest.raises(IndexError):
        queue.take()


def test_a_full_lane_takes_no_more_and_another_does() -> None:
    queue: FairQueue[int] = FairQueue(QueueBounds(lane=3))
    assert [queue.put("flood", 0, 64) for _ in range(5)] == [True, True, True, False, False]
    assert queue.put("other", 1, 64)
    assert len(queue) == 4


@pytest.mark.parametrize("greedy", [1, 2, 10, 100])
def test_greedy_lanes_leave_room_for_one_more(greedy: int) -> None:
    queue: FairQueue[int] = FairQueue(QueueBounds(lane=10**6, octets=1000 * LEAST_SIZE))
    for _ in range(1000):
        for lane in range(greedy):
            queue.put(lane, 0, 1)
    assert queue.put("new", 1, 1)


def test_what_is_larger_than_the_room_is_not_taken() -> None:
    queue: FairQueue[int] = FairQueue(QueueBounds(octets=1000))
    assert not queue.put(1, 0, 1001)
    assert queue.put(1, 0, 1000)
    assert not queue.put(2, 0, 0)
    queue.clear()
    assert (len(queue), queue.lanes) == (0, 0)
    assert queue.put(2, 0, 1000)


@given(st.lists(st.none() | st.tuples(LANES, SIZES), max_size=300))
def test_nothing_is_lost_or_reordered_and_no_bound_is_passed(steps: list[tuple[int, int] | None]) -> None:
    """None takes an item, a pair puts one."""
    bounds = QueueBounds(lane=4, octets=6000)
    queue: FairQueue[tuple[int, int]] = FairQueue(bounds)
    waiting: dict[int, list[int]] = defaultdict(list)
    sizes: dict[int, int] = {}
    for number, step in enumerate(steps):
        if step is not None:
            lane, size = step
            if queue.put(lane, (lane, number), size):
                waiting[lane].append(number)
                sizes[number] = max(size, LEAST_SIZE)
        elif len(queue):
            lane, taken = queue.take()
            assert waiting[lane].pop(0) == taken
        numbers = [number for lane in waiting.values() for number in lane]
        assert len(queue) == len(numbers)
        assert queue.lanes == sum(map(bool, waiting.values()))
        assert sum(sizes[number] for number in numbers) <= bounds.octets
        assert all(len(lane) <= bounds.lane for lane in waiting.values())


@given(st.lists(st.tuples(LANES, st.integers(1, 30), SIZES), max_size=20))
def test_many_at_once_are_as_many_as_one_by_one(steps: list[tuple[int, int, int]]) -> None:
    bounds = QueueBounds(lane=16, octets=20_000)
    one_by_one: FairQueue[int] = FairQueue(bounds)
    at_once: FairQueue[int] = FairQueue(bounds)
    for lane, count, size in steps:
        numbers = list(range(count))
        assert at_once.put_all(lane, numbers, size) == sum(one_by_one.put(lane, number, size) for number in numbers)
        assert (len(at_once), at_once.lanes, at_once._free) == (len(one_by_one), one_by_one.lanes, one_by_one._free)
    assert [at_once.take() for _ in range(len(at_once))] == [one_by_one.take() for _ in range(len(one_by_one))]


@given(st.lists(LANES, min_size=1, max_size=200))
def test_while_lanes_wait_none_is_served_twice_before_another_once(lanes: list[int]) -> None:
    queue = filled(*lanes)
    left = Counter(lanes)
    turns: Counter[int] = Counter()
    while queue:
        lane, _ = queue.take()
        turns[lane] += 1
        left[lane] -= 1
        behind = [turns[other] for other in left if left[other] > 0]
        assert all(turns[lane] - other <= 1 for other in behind)


@given(st.lists(st.tuples(LANES, st.integers(0, 9)), max_size=60), st.integers(0, 10), st.integers(0, 60))
def test_what_was_queued_before_a_moment_is_taken_and_the_rest_stays_in_order(
    put: list[tuple[int, int]], moment: int, most: int
) -> None:
    put.sort(key=lambda one: one[1])
    queue: FairQueue[tuple[int, int, int]] = FairQueue()
    for number, (lane, at) in enumerate(put):
        assert queue.put(lane, (lane, at, number), 100, at)
    old = [(lane, at, number) for number, (lane, at) in enumerate(put) if at < moment]
    found = queue.take_before(moment, most)
    assert len(found) == min(len(old), most)
    assert set(found) <= set(old)
    left: dict[int, list[int]] = defaultdict(list)
    while queue:
        lane, _, number = queue.take()
        left[lane].append(number)
    taken = {number for _, _, number in found}
    for lane in {lane for lane, _ in put}:
        assert left[lane] == [number for number, one in enumerate(put) if one[0] == lane and number not in taken]
    assert queue.put(0, (0, 0, 0), QueueBounds().octets)
