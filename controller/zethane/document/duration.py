"""Lengths of time as people write them: `90s`, `15m`, `8h`, `7d`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([1-9][0-9]{0,6})([smhd])")

MAX_SECONDS = 366 * 86400

EXPECTED = "expected a length of time such as 90s, 15m, 8h or 7d, of at most 366 days"


def seconds(text: str) -> float:
    """The length in seconds. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None or int(match[1]) * _UNITS[match[2]] > MAX_SECONDS:
        raise ValueError(EXPECTED)
    return float(int(match[1]) * _UNITS[match[2]])


def _check(text: str) -> str:
    seconds(text)
    return text


Duration = Annotated[str, StringConstraints(max_length=8), AfterValidator(_check)]
"""The text of a length of time, for models of files; `seconds` reads it."""


def duration_text(length: float) -> str:
    """The shortest text for a whole number of seconds: 900 is `15m`."""
    whole = int(length)
    for unit in ("d", "h", "m"):
        if whole and whole % _UNITS[unit] == 0:
            return f"{whole // _UNITS[unit]}{unit}"
    return f"{whole}s"
