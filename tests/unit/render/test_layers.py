"""The layout: nothing overlaps, edges keep to their lanes, and crossings are counted right."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from zethane.render.layers import Item, Wire, crossings, lanes, layers_of, layout

wires = st.lists(
    st.builds(Wire, st.integers(0, 9), st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True).map(tuple)).map(
        lambda wire: Wire(wire.source, tuple(target for target in wire.targets if target != wire.source))
    ),
    max_size=14,
)


@given(wires, st.lists(st.floats(20, 120), min_size=10, max_size=10))
def test_no_two_items_of_a_column_overlap(found: list[Wire], heights: list[float]) -> None:
    drawn = layout(heights, found, layers_of(10, found))
    assert sorted(number for column in drawn.columns for number in column) == list(range(len(drawn.items)))
    for column in drawn.columns:
        for one, other in pairwise(column):
            assert drawn.items[one].y + drawn.items[one].height <= drawn.items[other].y + 1e-6


@given(wires, st.booleans())
def test_every_wire_arrives(found: list[Wire], beside: bool) -> None:
    """Piece by piece between neighbouring columns, by lanes of its own; or around, where all are in one column."""
    columns = [0] * 10 if beside else layers_of(10, found)
    drawn = layout([20.0] * 10, found, columns)
    for number, wire in enumerate(found):
        reached, ends = {wire.source}, set()
        for route in (route for route in drawn.routes if route.wire == number):
            assert route.start in reached
            step = drawn.items[route.end].column - drawn.items[route.start].column
            assert step == (0 if beside else 1 if route.forward else -1)
            (ends if route.ends else reached).add(route.end)
        assert ends == set(wire.targets)
    assert lanes(found, columns) == len(drawn.items) - 10


@given(wires)
def test_connected_boxes_are_in_different_columns(found: list[Wire]) -> None:
    columns = layers_of(10, found)
    assert all(columns[wire.source] != columns[target] for wire in found for target in wire.targets)


def test_a_chain_goes_from_left_to_right() -> None:
    assert layers_of(4, [Wire(2, (0,)), Wire(0, (3,)), Wire(3, (1,))]) == [1, 3, 0, 2]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=10, unique=True))
def test_crossings(edges: list[tuple[int, int]]) -> None:
    items = [Item(1.0, number // 5, None) for number in range(10)]
    for one, other in edges:
        items[one].right.append(5 + other)
    crossing = sum((a - c) * (b - d) < 0 for a, b in edges for c, d in edges) // 2
    assert crossings(items, [list(range(5)), list(range(5, 10))]) == crossing
