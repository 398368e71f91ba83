"""Hypothesis strategies for fabrics: switches, numbered from 1, with links between numbered ports."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st

from zethane.pipeline.fabric import FabricLink

Fabric = tuple[tuple[int, ...], tuple[FabricLink, ...]]


def linked(pairs: list[tuple[int, int]]) -> tuple[FabricLink, ...]:
    """Links between these switches; each takes the next free port at both ends."""
    used: Counter[int] = Counter()
    links = []
    for a, b in pairs:
        used.update((a, b))
        links.append(FabricLink(a, used[a], b, used[b]))
    return tuple(links)


@st.composite
def fabrics(draw: st.DrawFn, max_switches: int = 8) -> Fabric:
    """A connected fabric: a tree and some links more, so with loops and parallel links."""
    count = draw(st.integers(1, max_switches))
    pairs = [(draw(st.integers(1, number - 1)), number) for number in range(2, count + 1)]
    if count > 1:
        ends = st.lists(st.integers(1, count), min_size=2, max_size=2, unique=True)
        pairs += [(pair[0], pair[1]) for pair in draw(st.lists(ends, max_size=6))]
    return tuple(range(1, count + 1)), linked(pairs)


def leaf_spine(spines: int, leaves: int) -> Fabric:
    """Every leaf linked to every spine; spines have the lower numbers."""
    switches = tuple(range(1, spines + leaves + 1))
    return switches, linked([(spine, leaf) for leaf in switches[spines:] for spine in switches[:spines]])
