"""How words appear in a message: those of a file quoted, bounded, and with the nearest known beside them; counts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

MAX_QUOTED = 64
"""Characters of a foreign word that a message repeats."""
_HISSING = ("s", "x", "ch", "sh")


def quote(word: str) -> str:
    """The word in quotes, shortened, with control characters escaped: messages end up on terminals."""
    short = word if len(word) <= MAX_QUOTED else word[: MAX_QUOTED - 1] + "…"
    return ascii(short) if not short.isprintable() else repr(short)


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 rule`, `2 rules`, `1,024 switches`: the plural has `s` or `es` unless it is given."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {plural or noun + ('es' if noun.endswith(_HISSING) else 's')}"


def some(words: Sequence[str], most: int, between: str = ", ") -> str:
    """`a, b and 3 more`: the first words, at most so many, and how many there are besides."""
    more = len(words) - most
    return between.join(words[:most]) + (f" and {more:,} more" if more > 0 else "")


def closest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known word, or the empty string if none is near."""
    near = difflib.get_close_matches(word[:MAX_QUOTED], list(known)[:1000], n=1)
    return f"; did you mean {quote(near[0])}?" if near else ""
