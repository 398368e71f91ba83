"""MAC addresses: integers inside, colon-separated text outside."""

from __future__ import annotations

import re

_TEXT = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)


def parse_mac(text: str) -> int:
    """The 48-bit integer of `02:00:00:00:00:15`. Raises ValueError for anything else."""
    if not _TEXT.fullmatch(text):
        raise ValueError(f"{text!r} is not a MAC address like 02:00:00:00:00:15")
    return int(text.replace(":", ""), 16)


def format_mac(mac: int) -> str:
    """`02:00:00:00:00:15` for the integer."""
    return ":".join(f"{byte:02x}" for byte in mac.to_bytes(6, "big"))


def is_multicast(mac: int) -> bool:
    """Whether the group bit is set (IEEE 802-2014 §8.2.2); broadcast counts."""
    return bool(mac >> 40 & 1)
