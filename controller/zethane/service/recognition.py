"""Entries that were found right before, known again by what the switch says of them.

What is of no session is the same each time a switch is read, and on many switches. The reader numbers what it reads:
two entries with one number are the same bytes but for age and counters. Intent has one object for one entry as long as
nothing changes. So where a switch says again what was found to be what such an object intends, nothing has to be
compared; whatever else it says, or is intended, is compared in full. Nothing here is a digest that a switch could make
another entry fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from zethane.pipeline.change import Installed
from zethane.pipeline.flow import Flow

MAX_KNOWN = 300_000
"""Entries of all switches that are known again, some 150 bytes each; others are compared each time."""

_NONE: Mapping[int, Flow] = {}


class Recognition:
    """What passes have found, by switch."""

    def __init__(self, most: int = MAX_KNOWN) -> None:
        self._most = most
        self._known: dict[int, Mapping[int, Flow]] = {}
        self._count = 0

    def begin(self, switch: int) -> Recognized:
        """A pass over a switch, by its number in the fabric."""
        return Recognized(self._known.get(switch, _NONE))

    def keep(self, switch: int, recognized: Recognized) -> None:
        """What a pass has found takes the place of what the one before had, as far as there is room."""
        self._count -= len(self._known.pop(switch, _NONE))
        right = recognized.right
        if right and self._count + len(right) <= self._most:
            self._known[switch] = right
            self._count += len(right)


class Recognized:
    """Of one pass: entries that are there as they were, until somebody claims them."""

    def __init__(self, known: Mapping[int, Flow]) -> None:
        self._known = known
        self._there: dict[int, Installed] = {}
        self.right: dict[int, Flow] = {}
        """By what the switch says: the object that was intended."""

    def has(self, entry: Installed) -> bool:
        """Take an entry that the switch holds, if it says what was right before."""
        intended = self._known.get(entry.says)
        if intended is None:
            return False
        self._there[id(intended)] = entry  # `_known` keeps the object, so that no other has its place in memory
        return True

    def claim(self, intended: Flow) -> bool:
        """Whether the very entry that this object intends is there as it was."""
        entry = self._there.pop(id(intended), None)
        if entry is None:
            return False
        self.right[entry.says] = intended
        return True

    def unclaimed(self) -> Iterator[Installed]:
        """What is there as it was, and not intended any more, or by another object."""
        yield from self._there.values()

    def learn(self, entry: Installed, intended: Flow) -> None:
        """An entry was compared in full and is right; one that has a lease is not so for long."""
        if entry.says and not intended.hard_timeout:
            self.right[entry.says] = intended
