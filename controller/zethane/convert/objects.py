"""Text of other systems to trees: YAML of several documents, or JSON; larger than files of this project may be."""

from __future__ import annotations

import re
from collections.abc import Mapping

from zethane.document import quote
from zethane.document.compose import Bounds, compose_all
from zethane.document.node import Node
from zethane.errors import InputError, Problem

MAX_FILES = 64
BOUNDS = Bounds(text=32 * 1024 * 1024, nodes=2_000_000, documents=10_000)
"""Of one file."""

MAX_BYTES = BOUNDS.text

_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
"""A character beyond the first 65,536 as JSON escapes it (RFC 8259 §7); YAML has `\\U` for it."""


def trees(text: str, file: str) -> list[Node]:
    """The documents of a text, empty ones left out. Raises InputError."""
    if text[:64].lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        text = _PAIR.sub(_joined, text)
    roots = compose_all(text.removeprefix("\ufeff"), file, BOUNDS)
    return [root for root in roots if root.members is not None or root.items is not None or root.scalar is not None]


def check_files(texts: Mapping[str, str]) -> None:
    """Refuse more files than anybody means. Raises InputError."""
    if len(texts) > MAX_FILES:
        raise InputError([Problem(quote(next(iter(texts))), f"expected at most {MAX_FILES} files")])


def _joined(match: re.Match[str]) -> str:
    high, low = int(match[2], 16), int(match[3], 16)
    return f"{match[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"
