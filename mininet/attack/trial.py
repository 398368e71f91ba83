"""One attempt at an attack: what the attacker may use, and what has been marked and noted meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attack.cast import Cast, Permit
from attack.evidence import Mark

if TYPE_CHECKING:
    from attack.arena import Arena

TOKEN = 8
"""Bytes of a mark: by chance, no frame of a run has them."""


class Trial:
    """What an attack function is given."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.marks: dict[str, Mark] = {}
        self.observed: dict[str, Any] = {}

    @property
    def cast(self) -> Cast:
        """Who plays which part."""
        return self.arena.cast

    @property
    def attackers(self) -> tuple[str, str]:
        """A host that is not logged in and one that is."""
        return self.cast.stranger, self.cast.insider

    def mark(self, sender: str, label: str, token: bytes | None = None) -> bytes:
        """Bytes that the frames of this variant have to carry; fresh ones, or those of an attack's own."""
        made = self.marks.setdefault(label, Mark(token or os.urandom(TOKEN), sender))
        return made.token

    def note(self, label: str, got_through: object) -> None:
        """Note an observation; an empty text is no success."""
        self.observed[label] = got_through

    def send(self, sender: str, frames: Iterable[Any], *, gap: float = 0.0) -> None:
        """Put frames on a host's cable, `gap` seconds apart."""
        for frame in frames:
            self.arena.tap(sender).send([bytes(frame)])
            if gap:
                time.sleep(gap)

    def mac(self, host: str) -> str:
        """A host's MAC address."""
        return self.arena.mac(host)

    def ip(self, host: str, version: int = 4) -> str:
        """A host's first address of an IP version."""
        return self.arena.ip(host, version)

    def permit(self, proto: str, *, source: str | None = None, password_only: bool = False) -> Permit:
        """A pair of hosts that a rule lets talk over a protocol. Raises NotHereError."""
        return self.cast.permit(proto, source=source, password_only=password_only)
