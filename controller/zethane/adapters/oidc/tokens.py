"""Signatures of a provider's tokens (RFC 7515), by the keys that it publishes; `identity.openid` reads them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Collection, Mapping
from typing import Any

from zethane.adapters.jwks import KeySource, SignatureError
from zethane.errors import SourceError
from zethane.identity.openid import InvalidTokenError
from zethane.service.openid import ProviderError

ALGORITHMS = frozenset({"RS256", "PS256", "ES256", "EdDSA", "Ed25519"})
"""Those that are taken. Never `none`, and none with a secret that both sides have."""

MAX_TOKEN = 16 * 1024
"""Characters of a token."""


async def verified_claims(
    keys: KeySource, token: str, algorithms: Collection[str], types: Collection[str] = ()
) -> Mapping[str, Any]:
    """The claims in a token that one of the keys has signed, by one of the algorithms.

    `types` are the values that the header's `typ` may have; without them any. Raises InvalidTokenError, ProviderError.
    """
    if len(token) > MAX_TOKEN or not token.isascii():
        raise InvalidTokenError("the token is too long, or no text of base64url")
    try:
        verified = await keys.verified(token)
    except SignatureError as error:
        raise InvalidTokenError(str(error)) from None
    except SourceError as error:
        raise ProviderError(str(error)) from None
    if verified.header["alg"] not in ALGORITHMS or verified.header["alg"] not in algorithms:
        raise InvalidTokenError("the token's algorithm is not one that the provider announces and that is taken")
    if types and str(verified.header.get("typ", "")).lower().removeprefix("application/") not in types:
        raise InvalidTokenError("the token is of another type")
    return verified.claims


def algorithm_of(token: str) -> str:
    """The algorithm of a token that was verified, by the name that says which hash goes with it."""
    head = token.partition(".")[0]
    algorithm = str(json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))["alg"])
    return "EdDSA" if algorithm == "Ed25519" else algorithm
