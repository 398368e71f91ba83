"""What a loader finds wrong with a document: at most MAX_PROBLEMS problems, and how many more there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zethane.document.compose import MAX_PROBLEMS
from zethane.document.parse import Document
from zethane.errors import InputError, Problem


class Findings:
    """Collects problems. A file may hold hundreds of thousands of mistakes; nobody reads so many."""

    def __init__(self, document: Document[Any]) -> None:
        self._document = document
        self._kept: list[Problem] = []
        self._number = 0

    def __bool__(self) -> bool:
        return self._number > 0

    def add(self, message: str | Callable[[], str], *path: str | int, key: bool = False) -> None:
        """A problem at the value at `path`, or at its key. A message that takes work is a function: it may be left."""
        self._number += 1
        if self._number <= MAX_PROBLEMS:
            text = message if isinstance(message, str) else message()
            self._kept.append(self._document.problem(text, *path, key=key))

    @property
    def problems(self) -> list[Problem]:
        """Those that were kept, in the order of the file, and a last one that says how many were not."""
        found = sorted(self._kept, key=lambda problem: (problem.line or 0, problem.column or 0))
        left = self._number - len(found)
        return [*found, Problem(self._document.file, f"and {left} more problems")] if left else found

    def raise_any(self) -> None:
        """Raise InputError if there are problems."""
        if self:
            raise InputError(self.problems)
