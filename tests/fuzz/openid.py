"""Targets: tokens of an OpenID provider, and the claims in them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey

from fuzz.target import Target
from zethane.adapters.http.strict_json import loads
from zethane.adapters.jwks import KeySource
from zethane.adapters.oidc.tokens import ALGORITHMS, verified_claims
from zethane.identity.openid import (
    LOGOUT_EVENT,
    Expected,
    InvalidTokenError,
    check_id_token,
    check_logout_token,
    proof_of,
)
from zethane.identity.sources.oidc import OpenIdProvider

_NOW = 1_000_000_000.0
_ISSUER = "https://id.example"
_EXPECTED = Expected(_ISSUER, "zethane", "n1")
_SETTINGS = OpenIdProvider.model_validate({"issuer": _ISSUER, "client_id": "zethane", "acr": {"gold": 3}})
_KEY = ECKey.generate_key("P-256", parameters={"kid": "one"})
_GOOD: dict[str, Any] = {
    "iss": _ISSUER,
    "sub": "a1",
    "aud": ["zethane"],
    "exp": _NOW + 300,
    "iat": _NOW,
    "nonce": "n1",
    "auth_time": _NOW - 5,
    "preferred_username": "alice",
    "groups": ["staff"],
    "amr": ["pwd", "mfa"],
    "acr": "gold",
    "sid": "s1",
}


def check_claims(data: bytes) -> None:
    """Whatever claims there are, they make a proof for a name of this provider, or are refused."""
    try:
        claims = loads(data)
    except ValueError:
        return
    if not isinstance(claims, dict):
        return
    try:
        check_id_token(claims, _EXPECTED, _NOW)
        proof = proof_of("corp", _SETTINGS, claims, _NOW)
    except InvalidTokenError:
        pass
    else:
        assert (claims["iss"], claims["nonce"]) == (_ISSUER, "n1")
        assert proof.name.endswith("@corp")
        assert len(proof.name) <= 63
        assert proof.at <= _NOW
        assert 1 <= proof.aal <= 3
    try:
        logout = check_logout_token(claims, _EXPECTED, _NOW)
    except InvalidTokenError:
        return
    assert logout.subject or logout.sid


def check_token(data: bytes) -> None:
    """Nothing but what the key has signed is taken."""

    async def published() -> dict[str, Any]:
        return {"keys": [_KEY.as_dict(private=False)]}

    async def verify() -> None:
        keys = KeySource("issuer", published, lambda: 0.0)
        text = data.decode("utf-8", "surrogateescape")
        try:
            claims = await verified_claims(keys, text, ALGORITHMS)
        except InvalidTokenError:
            return
        assert claims == _GOOD, "claims that were never signed"

    asyncio.run(verify())


_SIGNED = jws.serialize_compact({"alg": "ES256", "kid": "one"}, json.dumps(_GOOD), _KEY, algorithms=["ES256"])


def seed_claims() -> dict[str, bytes]:
    logout = {key: _GOOD[key] for key in ("iss", "aud", "iat", "sub")} | {"jti": "j", "events": {LOGOUT_EVENT: {}}}
    return {"login": json.dumps(_GOOD).encode(), "logout": json.dumps(logout).encode()}


def seed_tokens() -> dict[str, bytes]:
    head, payload, signature = _SIGNED.split(".")
    return {
        "signed": _SIGNED.encode(),
        "unsigned": f"eyJhbGciOiJub25lIn0.{payload}.".encode(),
        "cut": f"{head}.{payload}.{signature[:-8]}".encode(),
    }


TARGETS = (
    Target("openid-claims", check_claims, seed_claims),
    Target("openid-token", check_token, seed_tokens),
)
