"""What a conversion could not express, and what its reader has to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zethane.document import Place

MAX_KEPT = 1000
"""Losses, and notes, that one conversion lists; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that the result does not say.

    `opens`: the result may allow what the original denies; otherwise it allows less.
    """

    message: str
    place: Place | None = None
    opens: bool = False

    def __str__(self) -> str:
        if self.place is None:
            return self.message
        key = f"{self.place.key}: " if self.place.key else ""
        return f"{self.place.file}:{self.place.line}:{self.place.column}: {key}{self.message}"

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        place = self.place
        where = {"file": place.file, "line": place.line, "column": place.column, "key": place.key} if place else {}
        return {"message": self.message, "opens": self.opens, **where}


@dataclass(slots=True)
class Ledger:
    """Collects losses and notes, each once. Files may hold hundreds of thousands of either; nobody reads so many."""

    losses: dict[Loss, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    left: int = 0

    def lose(self, message: str, place: Place | None = None, opens: bool = False) -> None:
        """Something could not be expressed."""
        loss = Loss(message, place, opens)
        if loss in self.losses:
            return
        # One that opens is never left out: whether there is one decides what is done with the result.
        if len(self.losses) < MAX_KEPT or (opens and not any(one.opens for one in self.losses)):
            self.losses[loss] = None
        else:
            self.left += 1

    def note(self, message: str) -> None:
        """Something to know; nothing is lost."""
        if len(self.notes) < MAX_KEPT:
            self.notes[message] = None

    def all_losses(self) -> tuple[Loss, ...]:
        """In the order in which they were found, with how many are left out as the last."""
        rest = (Loss(f"and {self.left} more"),) if self.left else ()
        return (*self.losses, *rest)
