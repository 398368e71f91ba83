"""The systems outside that say who somebody is, as operators see them: what each is, and how it does.

Every part of the controller that relies on one registers a function that tells how it is now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from zethane.service.facade import View

SourceState = Literal["up", "degraded", "down", "idle"]
"""`up`: its word is taken; `degraded`: it is, but something is wrong; `down`: it cannot be relied on, so that nobody
new gets in by it; `idle`: it has not been needed yet, so that nothing is known."""


@dataclass(frozen=True, slots=True)
class SourceView:
    """One source. `kind` is the section of sources.yaml; `since` the moment of its last change, in seconds since the
    epoch; `detail` says in a few words what is wrong, or what it serves. There is no secret in any of them."""

    name: str
    kind: str
    state: SourceState
    since: float | None = None
    detail: str = ""

    def view(self) -> View:
        """JSON-ready."""
        return {
            "name": self.name,
            "kind": self.kind,
            "state": self.state,
            "since": self.since,
            "detail": self.detail or None,
        }


Tell = Callable[[], Sequence[SourceView]]
"""Returns at once, and does not raise."""


class SourceRegistry:
    """Everything that is relied on, in the order in which it was registered."""

    def __init__(self) -> None:
        self._tell: list[Tell] = []

    def register(self, tell: Tell) -> None:
        """Show what `tell` returns from now on."""
        self._tell.append(tell)

    def all(self) -> list[SourceView]:
        """How every source does now."""
        return [source for tell in self._tell for source in tell()]
