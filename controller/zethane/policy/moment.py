"""Moments as text (RFC 3339), and text as moments."""

from __future__ import annotations

import math
import re
from datetime import datetime, timezone

EXPECTED = "expected a time with its zone (RFC 3339), such as 2026-11-23T22:00:00+01:00"

FIRST_YEAR, LAST_YEAR = 1970, 9998
"""Of moments that can be given, with room after them for every zone."""

_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)")


def moment_text(moment: float) -> str:
    """Seconds since the epoch as text, in UTC."""
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def moment_or_none(moment: float) -> str | None:
    """The same; None for never."""
    return moment_text(moment) if math.isfinite(moment) else None


def parse_moment(text: str) -> float:
    """Seconds since the epoch. Seconds may be left out. Raises ValueError that says what was expected."""
    if _TEXT.fullmatch(text) is None:
        raise ValueError(EXPECTED)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(EXPECTED) from None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"expected a year from {FIRST_YEAR} to {LAST_YEAR}")
    return moment.timestamp()
