"""One-time codes: HOTP (RFC 4226) over the time (TOTP, RFC 6238), with SHA-1 and six digits as authenticator apps do.

Written out rather than taken from a library: libraries disagree on how short a secret they work with, and
identities.yaml has the say in that.
"""

from __future__ import annotations

import hmac

from zethane.identity.credential import CODE_DIGITS

STEP = 30
"""Seconds that a code stands for (RFC 6238 §4.1)."""

WINDOW = 1
"""Steps before and after the present one whose codes are taken, for clocks that differ (RFC 6238 §5.2)."""


def code_at(key: bytes, step: int) -> str:
    """The code of a time step (RFC 4226 §5.3); `key` is the secret's bytes."""
    digest = hmac.digest(key, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**CODE_DIGITS:0{CODE_DIGITS}}"


def accepted_step(key: bytes, code: str, now: float) -> int | None:
    """The time step whose code this is (RFC 6238 §4.2), or None. `now` is in seconds since 1970.

    Every step of the window is compared, each in constant time, so that the time taken tells nothing.
    """
    present = int(now // STEP)
    given = code.encode("utf-8", "surrogatepass")
    found = None
    for step in range(max(0, present - WINDOW), present + WINDOW + 1):
        if hmac.compare_digest(code_at(key, step).encode("ascii"), given):
            found = step
    return found
