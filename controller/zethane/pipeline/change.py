"""Changes to a switch's tables, and what a switch reports of them, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from zethane.pipeline.flow import EntryKey, Flow, Match
from zethane.pipeline.tables import Table


@dataclass(frozen=True, slots=True)
class Add:
    """Add the entry, or replace the one with the same key."""

    flow: Flow


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove exactly this entry."""

    table: Table
    priority: int
    match: Match


@dataclass(frozen=True, slots=True)
class RemoveMatching:
    """Remove every entry of a table that the match covers and whose cookie agrees under the mask, in one message.

    Always of one table: in those that are not Zethane's, other owners' cookies may look like its own.
    """

    table: Table
    match: Match = ()
    cookie: int = 0
    cookie_mask: int = 0

    def takes(self, key: EntryKey, cookie: int) -> bool:
        """Whether it removes an entry: every packet of the entry is one of the match (OpenFlow 1.3.5 §6.4)."""
        table, _, specific = key
        if table != self.table or cookie & self.cookie_mask != self.cookie:
            return False
        have = {name: (value, mask) for name, value, mask in specific}
        return all(
            name in have and have[name][1] & mask == mask and have[name][0] & mask == value
            for name, value, mask in self.match
        )


@dataclass(frozen=True, slots=True)
class RemoveRaw:
    """Remove exactly the entry with this match, in the bytes in which the switch reported it.

    For entries of others, whose matches Zethane has no names for.
    """

    table: Table
    priority: int
    raw: bytes


Change = Add | Remove | RemoveMatching | RemoveRaw


class Installed(NamedTuple):
    """An entry as a switch reports it, with its age in seconds and its counters.

    `flow` is None for an entry that Zethane could not have written; `table`, `priority` and `match` then say
    how to remove it. A match that cannot be read is empty; `raw` has it in the switch's own bytes then.

    `says` is a number for all that the entry is but for its age and its counters: what has the same number is the same.
    0 says nothing.
    """

    table: int
    priority: int
    match: Match
    flow: Flow | None
    age: float
    packets: int
    octets: int
    cookie: int = 0
    raw: bytes = b""
    says: int = 0

    @property
    def removal(self) -> Change:
        """What removes this entry and nothing else."""
        if self.raw:
            return RemoveRaw(Table(self.table), self.priority, self.raw)
        return Remove(Table(self.table), self.priority, self.match)
