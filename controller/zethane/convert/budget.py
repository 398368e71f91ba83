"""How much work an import may take: what comes from elsewhere may be made to take for ever."""

from __future__ import annotations

from zethane.errors import InputError, Problem

MAX_STEPS = 40_000_000
"""Comparisons of one thing with another; about a minute."""


class Budget:
    """Counts steps, and ends an import that takes more than anybody would wait for."""

    def __init__(self, files: str) -> None:
        self._files = files
        self._left = MAX_STEPS

    def spend(self, steps: int) -> None:
        """Some steps are about to be taken. Raises InputError if that is too many in all."""
        self._left -= steps
        if self._left < 0:
            message = "too many rules and workloads to hold against each other; expected fewer: import it in parts"
            raise InputError([Problem(self._files, message)])
