"""A layout of boxes in columns, by the direction of the edges between them (Sugiyama, Tagawa and Toda, 1981).

Boxes have ports: an edge leaves its source at a port and may lead to several targets; where it passes a column it takes
a lane of its own there, so that it never crosses a box. Columns are ordered by barycentres for few crossings, and boxes
placed as near to their neighbours as the order allows (isotonic regression).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

LANE = 9.0
"""Height of the lane of an edge that passes a column."""

GAP = 13.0
"""Height between two boxes."""

SWEEPS = 14


@dataclass(frozen=True, slots=True)
class Wire:
    """An edge from a box, `port` pixels below its upper side, to some boxes, by their numbers."""

    source: int
    targets: tuple[int, ...]
    port: float = 0.0


@dataclass(slots=True)
class Item:
    """A box, or the lane of a wire, in a column. `y` is its upper side."""

    height: float
    column: int
    box: int | None
    y: float = 0.0
    right: list[int] = field(default_factory=list)
    """The items in the next column that it is connected with."""
    left: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Route:
    """One piece of a wire between neighbouring columns, between two items; `ends` if it ends at the target's box.

    Between two boxes of one column it goes around on the right.
    """

    wire: int
    start: int
    end: int
    forward: bool
    ends: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes first, then lanes; the columns in their order, and how the wires go."""

    items: tuple[Item, ...]
    columns: tuple[tuple[int, ...], ...]
    routes: tuple[Route, ...]


def layers_of(count: int, wires: Sequence[Wire]) -> list[int]:
    """The column of each box: as few wires as may be go backwards, and forward ones are short."""
    ahead: dict[int, set[int]] = defaultdict(set)
    for wire in wires:
        ahead[wire.source].update(target for target in wire.targets if target != wire.source)
    order = _sequence(count, ahead)
    place = {box: index for index, box in enumerate(order)}
    linked: dict[int, set[int]] = defaultdict(set)
    for box, targets in ahead.items():
        for target in targets:
            linked[box].add(target)
            linked[target].add(box)
    column = [0] * count
    for box in order:
        column[box] = max((column[other] + 1 for other in linked[box] if place[other] < place[box]), default=0)
    for box in reversed(order):
        later = [column[other] for other in linked[box] if place[other] > place[box]]
        if later and len(later) * 2 > len(linked[box]):
            column[box] = max(column[box], min(later) - 1)
    return column


def _sequence(count: int, ahead: Mapping[int, set[int]]) -> list[int]:
    """An order of the boxes in which few edges go backwards (Eades, Lin and Smyth, 1993)."""
    out = {box: set(ahead.get(box, ())) for box in range(count)}
    into: dict[int, set[int]] = {box: set() for box in range(count)}
    for box, targets in out.items():
        for target in targets:
            into[target].add(box)
    first: list[int] = []
    last: list[int] = []
    left = set(range(count))

    def take(box: int) -> None:
        left.discard(box)
        for target in out[box]:
            into[target].discard(box)
        for source in into[box]:
            out[source].discard(box)

    while left:
        sinks = [box for box in sorted(left) if not out[box]]
        for box in sinks:
            take(box)
        last += reversed(sinks)
        sources = [box for box in sorted(left) if not into[box]]
        for box in sources:
            take(box)
        first += sources
        if left and not sinks and not sources:
            box = max(sorted(left), key=lambda one: len(out[one]) - len(into[one]))
            take(box)
            first.append(box)
    return [*first, *reversed(last)]


def lanes(wires: Sequence[Wire], columns: Sequence[int]) -> int:
    """How many lanes these wires take."""
    spans = [[columns[target] - columns[wire.source] for target in wire.targets] for wire in wires]
    return sum(max(0, max(span, default=0) - 1) + max(0, -min(span, default=0) - 1) for span in spans)


def layout(heights: Sequence[float], wires: Sequence[Wire], columns: Sequence[int]) -> Layout:
    """The layout of boxes of these heights in these columns."""
    items = [Item(height, column, box) for box, (height, column) in enumerate(zip(heights, columns, strict=True))]
    routes = tuple(_routes(items, wires, columns))
    for route in (route for route in routes if items[route.start].column != items[route.end].column):
        one, other = (route.start, route.end) if route.forward else (route.end, route.start)
        items[one].right.append(other)
        items[other].left.append(one)
    ordered = _ordered(items)
    _place(items, ordered)
    return Layout(tuple(items), tuple(tuple(column) for column in ordered), routes)


def _routes(items: list[Item], wires: Sequence[Wire], columns: Sequence[int]) -> Iterator[Route]:
    """Every wire as pieces; it has one lane in each column that it passes, whatever number of targets lies beyond."""
    for number, wire in enumerate(wires):
        home = columns[wire.source]
        beside = (target for target in wire.targets if columns[target] == home and target != wire.source)
        yield from (Route(number, wire.source, target, True, True) for target in beside)
        for forward in (True, False):
            step = 1 if forward else -1
            targets = [target for target in wire.targets if (columns[target] - home) * step > 0]
            farthest = max((columns[target] * step for target in targets), default=home * step) * step
            at = wire.source
            for column in range(home + step, farthest + step, step):
                yield from (Route(number, at, t, forward, True) for t in targets if columns[t] == column)
                if column != farthest:
                    items.append(Item(LANE, column, None))
                    yield Route(number, at, len(items) - 1, forward, False)
                    at = len(items) - 1


def _ordered(items: Sequence[Item]) -> list[list[int]]:
    """The columns, each in an order in which few wires cross."""
    columns: list[list[int]] = [[] for _ in range(max((item.column for item in items), default=-1) + 1)]
    seen: set[int] = set()
    for start in sorted(range(len(items)), key=lambda number: (items[number].column, number)):
        stack = [start]
        while stack:
            number = stack.pop()
            if number not in seen:
                seen.add(number)
                columns[items[number].column].append(number)
                stack += reversed([*items[number].right, *items[number].left])
    best, fewest = [list(column) for column in columns], crossings(items, columns)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        _sweep(items, columns, rightwards=sweep % 2 == 0)
        now = crossings(items, columns)
        if now < fewest:
            best, fewest = [list(column) for column in columns], now
    return best


def _sweep(items: Sequence[Item], columns: list[list[int]], rightwards: bool) -> None:
    rank = {number: index for column in columns for index, number in enumerate(column)}
    for column in columns if rightwards else columns[::-1]:
        wanted = {}
        for index, number in enumerate(column):
            near = items[number].left if rightwards else items[number].right
            wanted[number] = sum(rank[other] for other in near) / len(near) if near else float(index)
        column.sort(key=lambda number: wanted[number])
        rank.update((number, index) for index, number in enumerate(column))


def crossings(items: Sequence[Item], columns: Sequence[Sequence[int]]) -> int:
    """How many pairs of pieces between neighbouring columns cross (Barth, Mutzel and Jünger, 2004)."""
    total = 0
    for column, following in pairwise(columns):
        rank = {number: index for index, number in enumerate(following)}
        tree = [0] * (len(following) + 1)
        done = 0
        for number in column:
            ends = [rank[other] for other in items[number].right]
            for end in ends:
                total += done - _count(tree, end + 1)
            for end in ends:
                _add(tree, end + 1)
            done += len(ends)
    return total


def _add(tree: list[int], index: int) -> None:
    while index < len(tree):
        tree[index] += 1
        index += index & -index


def _count(tree: Sequence[int], index: int) -> int:
    found = 0
    while index:
        found += tree[index]
        index -= index & -index
    return found


def _place(items: Sequence[Item], columns: Sequence[Sequence[int]]) -> None:
    """Give each item its height above the others, near to what it is connected with."""
    for column in columns:
        at = 0.0
        for number in column:
            items[number].y = at
            at += items[number].height + _gap(items[number])
    for sweep in range(SWEEPS):
        for column in columns if sweep % 2 == 0 else columns[::-1]:
            _settle(items, column, sweep)
    lowest = min((item.y for item in items), default=0.0)
    for item in items:
        item.y -= lowest


def _gap(item: Item) -> float:
    return GAP if item.box is not None else 0.0


def _settle(items: Sequence[Item], column: Sequence[int], sweep: int) -> None:
    """The places nearest to what each item of a column would like that keep their order and distances.

    Neighbours that would overlap form a block, which goes to the mean of what its members would like.
    """
    offset = 0.0
    blocks: list[tuple[float, float, int]] = []  # sum of wishes, weight, members
    offsets = []
    for number in column:
        item = items[number]
        near = [*item.left, *item.right] if sweep > 1 else (item.left or item.right)
        wish = item.y
        if near:
            middle = sum(items[other].y + items[other].height / 2 for other in near) / len(near)
            wish = middle - item.height / 2
        weight = 1.0 if item.box is not None else 4.0
        blocks.append(((wish - offset) * weight, weight, 1))
        offsets.append(offset)
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, heavy, members = blocks.pop()
            blocks[-1] = (blocks[-1][0] + total, blocks[-1][1] + heavy, blocks[-1][2] + members)
        offset += item.height + _gap(item)
    index = 0
    for total, heavy, members in blocks:
        for _ in range(members):
            items[column[index]].y = total / heavy + offsets[index]
            index += 1
