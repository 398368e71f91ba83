"""Tokens that tie a second connection, from another address of the same host, to the session of the first.

A token works once and not for long. Only its hash is kept: what reads the memory cannot claim an address.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

LIFETIME = 60.0
"""Seconds that a token is good for."""

MAX_TOKENS = 4096
"""Tokens that wait to be used; one more takes the place of the oldest."""

TOKEN_BYTES = 32
MAX_TOKEN = 64
"""Characters of a token at the most."""


class ClaimTokens:
    """The tokens given out and not used. `clock` gives seconds; any clock will do."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens: dict[bytes, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    def issue(self, number: int) -> str:
        """A new token for the session of this number."""
        if len(self._tokens) >= MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._tokens[_digest(token)] = (number, self._clock() + LIFETIME)
        return token

    def redeem(self, token: str) -> int | None:
        """The number of the token's session, once; None if it is unknown, used or too old."""
        number, expires = self._tokens.pop(_digest(token), (None, 0.0))
        return number if self._clock() < expires else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
