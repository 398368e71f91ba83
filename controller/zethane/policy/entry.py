"""What a compiled policy consists of: classes of sessions and of addresses outside, and entries about them."""

from __future__ import annotations

from dataclasses import dataclass

from zethane.net.prefix import Prefix
from zethane.policy.model import Rule
from zethane.policy.service import Service


@dataclass(frozen=True, slots=True, order=True)
class SessionClass:
    """Sessions that no rule can tell apart.

    `held` are the keys of those conditions in `CompiledPolicy.conditions` of the segment that hold, in order. What else
    is asked of the segment is no part of it: a class stays the same when conditions are asked that it does not meet.
    """

    segment: str
    held: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.segment}{'+' * len(self.held)}"


@dataclass(frozen=True, slots=True)
class NetworkClass:
    """The addresses outside whose longest prefix among the named ones is this one."""

    prefix: Prefix

    def __str__(self) -> str:
        return str(self.prefix)


Class = SessionClass | NetworkClass

End = str | Class | None
"""What an entry is about at one end: all sessions of a segment, by its name; one class; or, None, any authenticated
session, and no network."""

Pair = tuple[End, End]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the compiled policy.

    Of the entries that match a flow the one with the lowest `rank` decides. All denies rank before all allows.
    """

    rule: str
    allow: bool
    subject: End
    object: End
    service: Service
    relation: str | None = None
    """An expression about both ends: where it does not hold, it is as if the entry were not there."""
    grant: bool = False
    """The switch lets flows in by itself."""

    @property
    def rank(self) -> tuple[bool, str]:
        """The same for all entries of a rule, and another one for each rule."""
        return self.allow, self.rule


@dataclass(frozen=True, slots=True)
class Compiled:
    """A rule with its entries, and what they are about at both ends."""

    rule: Rule
    subjects: tuple[End, ...]
    objects: tuple[End, ...]
    services: tuple[Service, ...]
    entries: tuple[Entry, ...]
    sources: int
    targets: int
    """The classes of both ends as bits, by their places (`policy.peers`); those of any session are not among them."""
