"""Signatures against published keys: which are taken, which are not, and what a rotation or a dead issuer does."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from fakes.issuer import Issuer, issuer
from zethane.adapters.http.client import MAX_BYTES, JsonClient
from zethane.adapters.jwks import FETCHES, LIFETIME, STALE, KeySource, SignatureError, published_at
from zethane.errors import SourceError


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer() -> Iterator[Issuer]:
    with issuer() as made:
        yield made


@pytest.fixture
async def keys(signer: Issuer, clock: Clock) -> AsyncIterator[KeySource]:
    client = JsonClient(timeout=5)
    yield KeySource("test", published_at(client, signer.jwks_uri), clock)
    await client.close()


async def test_a_signed_token_gives_its_claims_and_keys_are_fetched_once(signer: Issuer, keys: KeySource) -> None:
    token = await keys.verified(signer.sign({"sub": "alice"}))
    assert (token.claims, token.header["kid"]) == ({"sub": "alice"}, "key-1")
    await asyncio.gather(*(keys.verified(signer.sign({"n": n})) for n in range(5)))
    assert signer.asked == 1


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (RSAKey.generate_key(2048, {"kid": "r"}), "RS256"),
        (OKPKey.generate_key("Ed25519", {"kid": "o"}), "EdDSA"),
        (OKPKey.generate_key("Ed25519", {"kid": "o"}), "Ed25519"),
    ],
)
async def test_every_kind_of_public_key_works(signer: Issuer, keys: KeySource, key: RSAKey | OKPKey, alg: str) -> None:
    signer.key = key
    signer.publish(key)
    assert (await keys.verified(signer.sign({"a": 1}, alg=alg))).claims == {"a": 1}


async def test_without_a_kid_every_key_of_the_type_is_tried(signer: Issuer, keys: KeySource) -> None:
    signer.publish(ECKey.generate_key("P-256"), signer.key)
    assert (await keys.verified(signer.sign({"a": 1}, kid=None))).claims == {"a": 1}


async def refused(keys: KeySource, token: str) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        await keys.verified(token)
    return caught.value


async def test_what_is_no_signed_token_is_refused(signer: Issuer, keys: KeySource) -> None:
    good = signer.sign({"a": 1})
    deep = base64.urlsafe_b64encode(b"[" * 4000).decode().rstrip("=")
    for token in ("", "a", "a.b", "a.b.c", good + ".x", "é" + good, deep + good[good.index(".") :], "." * 3):
        assert not (await refused(keys, token)).key
    header, _, signature = good.split(".")
    changed = base64.urlsafe_b64encode(b'{"a":2}').decode().rstrip("=")
    assert (await refused(keys, f"{header}.{changed}.{signature}")).key


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{", b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":"\\ud800"}', b"\xff", b"[" * 5000]
)
async def test_a_payload_that_is_no_object_is_refused(signer: Issuer, keys: KeySource, payload: bytes) -> None:
    assert not (await refused(keys, signer.sign(payload))).key


async def test_no_signature_and_a_shared_secret_are_no_proof(signer: Issuer, keys: KeySource) -> None:
    good = signer.sign({"a": 1})
    none = base64.urlsafe_b64encode(b'{"alg":"none","kid":"key-1"}').decode().rstrip("=")
    assert (await refused(keys, f"{none}.{good.split('.')[1]}.")).key
    public = json.dumps(signer.documents["/jwks.json"]["keys"][0]).encode()
    signer.documents["/jwks.json"]["keys"].append(OctKey.import_key(public, {"kid": "oct"}).as_dict())
    signer.key = OctKey.import_key(public, {"kid": "key-1"})  # type: ignore[assignment]  # as an attacker would
    assert (await refused(keys, signer.sign({"a": 1}, alg="HS256"))).key


async def test_headers_that_change_the_meaning_are_refused(signer: Issuer, keys: KeySource) -> None:
    await refused(keys, signer.sign({"a": 1}, crit=["b64"], b64=True))


async def test_a_small_rsa_key_is_not_used(signer: Issuer, keys: KeySource) -> None:
    modulus = base64.urlsafe_b64encode(b"\xff" * 64).decode().rstrip("=")
    weak = {"kty": "RSA", "kid": "key-1", "e": "AQAB", "n": modulus}
    signer.documents["/jwks.json"] = {"keys": [weak]}
    with pytest.raises(SourceError):
        await keys.verified(signer.sign({"a": 1}))


async def test_a_rotated_key_is_fetched_when_a_token_names_it(signer: Issuer, keys: KeySource) -> None:
    old = signer.sign({"a": 1})
    await keys.verified(old)
    signer.rotate("key-2")
    assert (await keys.verified(signer.sign({"a": 2}))).claims == {"a": 2}
    assert signer.asked == 2
    assert (await refused(keys, old)).key


async def test_unknown_names_do_not_make_it_fetch_for_ever(signer: Issuer, keys: KeySource, clock: Clock) -> None:
    """As long as it may look, a key that is not there is the token's fault; then nobody knows."""
    await keys.verified(signer.sign({"a": 1}))
    for number in range(50):
        expected = SignatureError if number < FETCHES.burst - 1 else SourceError
        with pytest.raises(expected):
            await keys.verified(signer.sign({"a": 1}, kid=f"made-up-{number}"))
    assert signer.asked == FETCHES.burst
    assert (await keys.verified(signer.sign({"a": 2}))).claims == {"a": 2}
    clock.now += FETCHES.interval
    await refused(keys, signer.sign({"a": 1}, kid="another"))
    assert signer.asked == FETCHES.burst + 1


async def test_an_unknown_key_of_an_issuer_that_does_not_answer_is_nobodys_fault(
    signer: Issuer, keys: KeySource
) -> None:
    await keys.verified(signer.sign({"a": 1}))
    signer.rotate("key-2")
    signer.status = 500
    with pytest.raises(SourceError):
        await keys.verified(signer.sign({"a": 1}))
    assert keys.state()[0] == "degraded"
    signer.status = 200
    assert (await keys.verified(signer.sign({"a": 1}))).claims == {"a": 1}
    assert keys.state()[0] == "up"


async def test_known_keys_serve_while_the_issuer_is_away_and_no_longer(
    signer: Issuer, keys: KeySource, clock: Clock
) -> None:
    token = signer.sign({"a": 1})
    await keys.verified(token)
    signer.status = 500
    clock.now += LIFETIME
    assert (await keys.verified(token)).claims == {"a": 1}
    clock.now += STALE
    with pytest.raises(SourceError):
        await keys.verified(token)
    signer.status = 200
    clock.now += FETCHES.interval
    assert (await keys.verified(token)).claims == {"a": 1}


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys":{}}', b"x" * (MAX_BYTES + 1), {"keys": [1, {}]}])
async def test_what_is_no_key_set_gives_no_keys(signer: Issuer, keys: KeySource, document: object) -> None:
    signer.documents["/jwks.json"] = document
    with pytest.raises(SourceError):
        await keys.verified(signer.sign({"a": 1}))


async def test_a_key_set_with_parts_that_make_no_sense_keeps_the_rest(signer: Issuer, keys: KeySource) -> None:
    good = signer.documents["/jwks.json"]["keys"]
    bad = [
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": 7},
        {"kty": "RSA", "n": 1, "e": []},
    ]
    bad += [{"kty": "ML-DSA"}, {**good[0], "use": "enc", "kid": "enc"}, {"kty": "OKP", "crv": "X25519", "x": "AAAA"}]
    signer.documents["/jwks.json"]["keys"] = [*bad, *good]
    assert (await keys.verified(signer.sign({"a": 1}))).claims == {"a": 1}
    assert (await refused(keys, signer.sign({"a": 1}, kid="enc"))).key
