"""A bounded queue that is fair between lanes: one item of each in turn, whatever else a lane has waiting.

A lane is a switch port. Taking is a round robin by packets, for every packet costs the controller about the same
(deficit round robin with a quantum of one; Shreedhar and Varghese, SIGCOMM 1995). Room is shared by dynamic
thresholds (Choudhury and Hahne, 1998): a lane may hold as many bytes as are still free, so that any number of
greedy lanes leaves room for one more. Pure.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")

LEAST_SIZE = 256
"""Bytes that an item counts for at least: what keeping it costs, whatever is in it."""


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """How many items may wait in one lane, and how many bytes in all of them together."""

    lane: int = 1024
    octets: int = 8 * 2**20


class FairQueue(Generic[Item]):
    """Items in lanes."""

    def __init__(self, bounds: QueueBounds | None = None) -> None:
        self._bounds = bounds or QueueBounds()
        self._lanes: OrderedDict[Hashable, deque[tuple[Item, int, float]]] = OrderedDict()
        self._octets: dict[Hashable, int] = {}
        self._free = self._bounds.octets
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __contains__(self, lane: Hashable) -> bool:
        """Whether something of a lane waits."""
        return lane in self._lanes

    @property
    def lanes(self) -> int:
        """Lanes that have something waiting."""
        return len(self._lanes)

    def put(self, lane: Hashable, item: Item, size: int, at: float = 0.0) -> bool:
        """Queue an item of `size` bytes at a moment; False, and nothing is queued, if its lane has no room."""
        size = max(size, LEAST_SIZE)
        waiting = self._lanes.get(lane)
        if waiting is None:
            if size > self._free:
                return False
            waiting = self._lanes[lane] = deque()
            self._octets[lane] = 0
        elif len(waiting) >= self._bounds.lane or self._octets[lane] + size > self._free:
            return False
        waiting.append((item, size, at))
        self._octets[lane] += size
        self._free -= size
        self._length += 1
        return True

    def put_all(self, lane: Hashable, items: Sequence[Item], size: int, at: float = 0.0) -> int:
        """Queue the items of at most `size` bytes each for which there is room, from the first on; how many."""
        size = max(size, LEAST_SIZE)
        waiting = self._lanes.get(lane)
        held, octets = (0, 0) if waiting is None else (len(waiting), self._octets[lane])
        # Each of them has to find as much free as the lane has then.
        room = (self._free - octets + size) // (2 * size)
        taken = max(min(len(items), self._bounds.lane - held, room), 0)
        if taken == 0:
            return 0
        if waiting is None:
            waiting = self._lanes[lane] = deque()
        waiting.extend([(item, size, at) for item in items[:taken]])
        self._octets[lane] = octets + taken * size
        self._free -= taken * size
        self._length += taken
        return taken

    def take(self) -> Item:
        """The first item of the lane whose turn it is. Raises IndexError if nothing waits."""
        if not self._length:
            raise IndexError("nothing waits")
        lane, waiting = next(iter(self._lanes.items()))
        item = self._first(lane, waiting)
        if waiting:
            self._lanes.move_to_end(lane)
        return item

    def take_before(self, moment: float, most: int) -> list[Item]:
        """At most so many of the items that were queued before a moment, the first of each lane first; no turn is
        counted for them."""
        found: list[Item] = []
        for lane, waiting in list(self._lanes.items()):
            while waiting and waiting[0][2] < moment and len(found) < most:
                found.append(self._first(lane, waiting))
        return found

    def _first(self, lane: Hashable, waiting: deque[tuple[Item, int, float]]) -> Item:
        """Take the first item of a lane."""
        item, size, _ = waiting.popleft()
        self._free += size
        self._length -= 1
        if waiting:
            self._octets[lane] -= size
        else:
            del self._lanes[lane], self._octets[lane]
        return item

    def clear(self) -> None:
        """Forget everything that waits."""
        self._lanes.clear()
        self._octets.clear()
        self._free = self._bounds.octets
        self._length = 0
