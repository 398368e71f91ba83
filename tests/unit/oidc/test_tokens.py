"""Signatures: by which keys and algorithms they are taken."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from zethane.adapters.jwks import KeySource
from zethane.adapters.oidc.tokens import verified_claims
from zethane.identity.openid import InvalidTokenError

RSA = RSAKey.generate_key(2048, parameters={"kid": "rsa"})
EC = ECKey.generate_key("P-256", parameters={"kid": "ec"})
OKP = OKPKey.generate_key("Ed25519", parameters={"kid": "okp"})
OTHER = ECKey.generate_key("P-256", parameters={"kid": "ec"})
ALL = frozenset({"RS256", "PS256", "ES256", "EdDSA", "Ed25519"})


async def published() -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in (RSA, EC, OKP)]}


def verify(token: str, algorithms: frozenset[str] | set[str] = ALL, types: tuple[str, ...] = ()) -> dict[str, Any]:
    """The claims of a token, if it is taken; each time with keys that are fetched anew."""

    async def verified() -> dict[str, Any]:
        return dict(await verified_claims(KeySource("issuer", published, lambda: 0.0), token, algorithms, types))

    return asyncio.run(verified())


BY_ALGORITHM = {"RS256": RSA, "PS256": RSA, "ES256": EC, "Ed25519": OKP}


def signed(algorithm: str, key: Any, **header: Any) -> str:
    return jwt.encode({"alg": algorithm, "kid": key.kid, **header}, {"a": 1}, key, algorithms=[algorithm])


def made(header: dict[str, Any], payload: bytes, signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), payload, signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize("algorithm", BY_ALGORITHM)
def test_what_the_issuers_keys_have_signed_is_taken(algorithm: str) -> None:
    assert verify(signed(algorithm, BY_ALGORITHM[algorithm])) == {"a": 1}


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_edwards_signatures_are_taken_by_their_older_name() -> None:
    assert verify(signed("EdDSA", OKP)) == {"a": 1}


def test_no_signature_is_none() -> None:
    for header in ({"alg": "none"}, {"alg": "None", "kid": "ec"}, {"kid": "ec"}, {"alg": ["ES256"], "kid": "ec"}):
        with pytest.raises(InvalidTokenError):
            verify(made(header, b'{"a": 1}'))


def test_a_public_key_is_no_secret_to_sign_with() -> None:
    """The key that everybody can read, used as that of an HMAC."""
    unsigned = made({"alg": "HS256", "kid": "rsa"}, b'{"a": 1}').rpartition(".")[0]
    mac = hmac.new(RSA.as_pem(private=False), unsigned.encode(), "sha256").digest()
    token = f"{unsigned}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    with pytest.raises(InvalidTokenError, match="algorithm"):
        verify(token)


def test_an_algorithm_that_the_provider_does_not_announce_is_not_taken() -> None:
    with pytest.raises(InvalidTokenError, match="algorithm"):
        verify(signed("ES256", EC), {"RS256"})


def test_a_foreign_key_of_the_same_name_is_not_the_issuers() -> None:
    with pytest.raises(InvalidTokenError, match="signature"):
        verify(signed("ES256", OTHER))


def test_keys_in_the_header_are_not_looked_at() -> None:
    """`jwk` and `jku` would let a token say by itself what it is checked with (RFC 8725 §3.10)."""
    token = jwt.encode(
        {"alg": "ES256", "kid": "mine", "jwk": OTHER.as_dict(private=False), "jku": "https://evil.example"},
        {"a": 1},
        OTHER,
        algorithms=["ES256"],
    )
    with pytest.raises(InvalidTokenError):
        verify(token)


def test_what_is_critical_and_unknown_is_refused() -> None:
    with pytest.raises(InvalidTokenError):
        verify(made({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": False}, b"{}", b"x" * 64))


def test_a_token_of_another_type_is_refused_where_the_type_matters() -> None:
    assert verify(signed("ES256", EC, typ="logout+jwt"), types=("logout+jwt",)) == {"a": 1}
    with pytest.raises(InvalidTokenError, match="type"):
        verify(signed("ES256", EC, typ="at+jwt"), types=("logout+jwt", "jwt", ""))


@pytest.mark.parametrize("payload", [b"[]", b"7", b'{"exp": NaN}', b'{"sub": "a", "sub": "b"}', b"[" * 5000, b"\xff"])
def test_claims_that_are_no_plain_object_are_refused(payload: bytes) -> None:
    from joserfc import jws

    token = jws.serialize_compact({"alg": "ES256", "kid": "ec"}, payload, EC, algorithms=["ES256"])
    with pytest.raises(InvalidTokenError, match=r"claims|JSON"):
        verify(token)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.text(max_size=200) | st.builds(made, st.dictionaries(st.sampled_from(["alg", "kid", "typ"]), JSON), st.binary())
)
def test_text_of_any_kind_is_refused_and_nothing_else_happens(token: str) -> None:
    with pytest.raises(InvalidTokenError):
        verify(token)
