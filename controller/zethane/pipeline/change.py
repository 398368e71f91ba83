"""Changes to a switch's tables, and what a switch reports of them, as values."""

from __future__ import annotations

from dataclasses import dataclass

from zethane.pipeline.flow import Flow, Match
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
    """Remove every entry that the match covers and whose cookie agrees under the mask, in one message.

    `table` None: in all tables.
    """

    table: Table | None
    match: Match = ()
    cookie: int = 0
    cookie_mask: int = 0


Change = Add | Remove | RemoveMatching


@dataclass(frozen=True, slots=True)
class Installed:
    """An entry as a switch reports it, with its age in seconds and its counters.

    `flow` is None for an entry that Zethane could not have written; `table`, `priority` and `match` then say
    how to remove it. A match that cannot be read is empty and `readable` is False.
    """

    table: int
    priority: int
    match: Match
    flow: Flow | None
    age: float
    packets: int
    octets: int
    readable: bool = True
    cookie: int = 0
