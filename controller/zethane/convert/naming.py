"""Names for what had none, or one that does not fit: readable, within bounds, each once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

MAX_NAME = 63
"""Characters of a segment's, a rule's and a principal's name."""

_STRANGE = re.compile(r"[^A-Za-z0-9_.-]+")
_DIGEST = 8


def plain(text: str) -> str:
    """The text with a `-` for whatever a name may not hold, and a letter or digit first; may be empty."""
    return _STRANGE.sub("-", text).lstrip("_.-").rstrip("-")


def short(text: str, most: int = MAX_NAME) -> str:
    """The text, or as much of it as fits and a digest of it."""
    if len(text) <= most:
        return text
    digest = hashlib.blake2s(text.encode()).hexdigest()[:_DIGEST]
    return f"{text[: most - _DIGEST - 1].rstrip('_.-')}-{digest}"


class Names:
    """Gives each name once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def give(self, text: str, otherwise: str = "unnamed") -> str:
        """A name like the text: shortened, and with a number where it is taken."""
        base = short(plain(text) or otherwise)
        name, number = base, self._next.get(base, 1)
        while name in self._taken:
            number += 1
            name = f"{short(base, MAX_NAME - 6)}-{number}"
        self._next[base] = number
        self._taken.add(name)
        return name
