"""Mappings of which the next version shares all that is the same, so that it costs what is different.

A copy of a dictionary is work for each of its values, however few are others, and more where they are no longer in the
processor's cache: with 10,000 rules most of what a change of one of them took.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from immutables import Map

K = TypeVar("K")
V = TypeVar("V")


def version(held: Mapping[K, V]) -> Map[K, V]:
    """The same mapping, as one that others can follow at little cost. In no particular order."""
    return held if isinstance(held, Map) else following(Map(), held)


def following(held: Mapping[K, V], others: Mapping[K, V], gone: Iterable[K] = ()) -> Map[K, V]:
    """One in which first some keys are gone, whether they were there or not, and then others have other values."""
    changing = version(held).mutate()
    for key in gone:
        changing.pop(key, None)
    # One by one: what is done for all of them in one call holds the interpreter's lock for milliseconds.
    for key, value in others.items():
        changing[key] = value
    return changing.finish()
