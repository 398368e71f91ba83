"""How far it is from switch to switch, and which switches the links leave out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def distances(neighbours: Mapping[T, Iterable[T]], start: T) -> dict[T, int]:
    """The links on a shortest path from `start` to everything that can be reached: breadth first."""
    found, due = {start: 0}, deque((start,))
    while due:
        here = due.popleft()
        for there in neighbours.get(here, ()):
            if there not in found:
                found[there] = found[here] + 1
                due.append(there)
    return found


def unreachable(switches: Sequence[str], links: Iterable[tuple[str, str]]) -> list[str]:
    """The switches, in order, to which no path leads from the first one."""
    neighbours: dict[str, set[str]] = {name: set() for name in switches}
    for a, b in links:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    reached = distances(neighbours, switches[0])
    return [name for name in switches if name not in reached]
