"""JSON from other systems, read without tolerance."""

from __future__ import annotations

import json
from typing import Any


def loads(text: bytes) -> Any:
    """JSON as RFC 8259 has it: UTF-8, no NaN, no name twice, no half of a surrogate pair.

    Raises ValueError, which repeats nothing of the text.
    """
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_object)
        if b"\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # half a pair has no bytes, and could not be logged
    except (ValueError, RecursionError):
        raise ValueError("expected JSON in UTF-8, with no name twice in one object") from None
    return value


def _no_constant(_: str) -> Any:
    raise ValueError


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found
