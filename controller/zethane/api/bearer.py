"""Bearer tokens (RFC 6750) of other systems: only their SHA-256 is known here."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from pydantic import SecretStr
from starlette.requests import Request

MAX_TOKEN = 1024


def bearer_hash(request: Request) -> str:
    """`sha256:…` of the token that a request has in its header; of nothing where there is none, which none has."""
    values = request.headers.getlist("authorization")
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN:
        return ""
    return "sha256:" + hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).hexdigest()


def owners(presented: str, known: Mapping[str, SecretStr]) -> frozenset[str]:
    """The names whose token was presented. All of them are compared, each in constant time."""
    return frozenset(
        [name for name, token in known.items() if hmac.compare_digest(token.get_secret_value(), presented)]
    )
