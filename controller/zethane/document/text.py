"""How words from a file appear in a message: quoted, bounded, and with the nearest known word beside them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_QUOTED = 64
"""Characters of a foreign word that a message repeats."""


def quote(word: str) -> str:
    """The word in quotes, shortened, with control characters escaped: messages end up on terminals."""
    short = word if len(word) <= MAX_QUOTED else word[: MAX_QUOTED - 1] + "…"
    return ascii(short) if not short.isprintable() else repr(short)


def closest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known word, or the empty string if none is near."""
    near = difflib.get_close_matches(word[:MAX_QUOTED], list(known)[:1000], n=1)
    return f"; did you mean {quote(near[0])}?" if near else ""
