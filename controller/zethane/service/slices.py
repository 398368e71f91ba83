"""Long work on the event loop, in slices: whatever else is to be done comes between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")

SLICE = 16
"""Entries that are looked at, or made, in one go: some 0.3 ms."""


READ_SLICE = 128
"""The same of entries that only have to be told apart, as nearly all per-flow rules."""


async def in_slices(items: Iterable[T], size: int = SLICE) -> AsyncIterator[T]:
    """The items, giving way after each slice."""
    for number, item in enumerate(items, 1):
        yield item
        if number % size == 0:
            await asyncio.sleep(0)
