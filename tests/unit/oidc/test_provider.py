"""A provider on loopback that does what it should, or lies."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import ECKey
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from fakes.openid_server import OpenIdServer, openid_server
from zethane.adapters.jwks import FETCHES
from zethane.adapters.oidc import provider as module
from zethane.adapters.oidc.provider import Provider
from zethane.identity.openid import InvalidTokenError
from zethane.service.openid import GrantRefusedError, ProviderError

BACK = "http://10.0.0.254:8080/oidc/callback"


class Timer:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def server() -> AsyncIterator[OpenIdServer]:
    async with openid_server() as made:
        yield made


@pytest.fixture
async def timer() -> Timer:
    return Timer()


@pytest.fixture
async def provider(server: OpenIdServer, timer: Timer) -> AsyncIterator[Provider]:
    async with made_for(server, timer) as made:
        yield made


class made_for:  # noqa: N801  # used as a function
    def __init__(self, server: OpenIdServer, timer: Timer, secret: str | None = None, **settings: Any) -> None:
        self.provider = Provider(
            "corp", server.settings(**settings), secret, ssl.create_default_context(), time.time, timer
        )

    async def __aenter__(self) -> Provider:
        return self.provider

    async def __aexit__(self, *_: object) -> None:
        await self.provider.close()


async def exchange(provider: Provider, server: OpenIdServer, nonce: str = "n1") -> dict[str, Any]:
    server.nonce = "n1"
    tokens = await provider.exchange("code", BACK, nonce, "v" * 64, fresh=False)
    return dict(tokens.claims)


async def test_the_browser_is_sent_with_everything_that_ties_the_answer_to_it(
    provider: Provider, server: OpenIdServer
) -> None:
    url = urlsplit(await provider.authorization(BACK, "s1", "n1", "v" * 64, fresh=False))
    query = {key: value for key, (value,) in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{server.issuer}/auth"
    assert query["state"] == "s1"
    assert query["nonce"] == "n1"
    assert query["redirect_uri"] == BACK
    assert query["code_challenge_method"] == "S256"
    assert "v" * 64 not in url.query
    assert query["prompt"] == "consent"
    fresh = await provider.authorization(BACK, "s1", "n1", "v" * 64, fresh=True)
    assert "prompt=login+consent" in fresh
    assert "max_age=60" in fresh


async def test_a_code_becomes_claims(provider: Provider, server: OpenIdServer) -> None:
    claims = await exchange(provider, server)
    assert claims["preferred_username"] == "alice"
    (asked,) = server.tokens
    assert asked["code_verifier"] == ["v" * 64]
    assert asked["client_id"] == ["zethane"]


async def test_a_client_with_a_secret_shows_it_in_the_header_alone(server: OpenIdServer, timer: Timer) -> None:
    async with made_for(server, timer, "s3cret:/") as provider:
        await exchange(provider, server)
        assert "s3cret" not in repr(provider.settings)
    assert "client_id" not in server.tokens[0]
    assert "s3cret" not in str(server.tokens)


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"claims": {"iss": "https://other.example"}}, "iss"),
    "another client": ({"claims": {"aud": "other"}}, "aud"),
    "another nonce": ({"claims": {"nonce": "n2"}}, "nonce"),
    "expired": ({"claims": {"exp": 1}}, "expired"),
    "no nonce": ({"without": ("nonce",)}, "nonce"),
    "a wrong hash of the access token": ({"claims": {"at_hash": "AAAA"}}, "at_hash"),
    "no token": ({"id_token": ""}, "compact"),
    "no signature": ({"id_token": "eyJhbGciOiJub25lIn0.e30."}, "algorithm"),
    "somebody else at userinfo": ({"without": ("groups",), "userinfo": {"sub": "b2"}}, "userinfo"),
}


@pytest.mark.parametrize("name", LIES)
async def test_a_lie_is_refused(provider: Provider, server: OpenIdServer, name: str) -> None:
    lie, reason = LIES[name]
    for attribute, value in lie.items():
        setattr(server, attribute, server.claims | value if attribute == "claims" else value)
    with pytest.raises(InvalidTokenError, match=reason):
        await exchange(provider, server)


METADATA: dict[str, dict[str, Any]] = {
    "another issuer": {"issuer": "https://other.example"},
    "the issuer with a slash": {"issuer": "/"},
    "an endpoint elsewhere": {"token_endpoint": "http://169.254.169.254/latest"},
    "keys elsewhere": {"jwks_uri": "https://other.example/jwks"},
    "a login page elsewhere": {"authorization_endpoint": "https://phish.example/auth"},
    "an endpoint that is a file": {"token_endpoint": "file:///etc/passwd"},
    "an endpoint that is no text": {"token_endpoint": 7},
    "no endpoint": {"token_endpoint": None},
    "signatures by shared secrets only": {"id_token_signing_alg_values_supported": ["HS256", "none"]},
    "no PKCE": {"code_challenge_methods_supported": ["plain"]},
    "no code": {"response_types_supported": ["id_token"]},
}


@pytest.mark.parametrize("name", METADATA)
async def test_metadata_that_cannot_be_right_is_not_used(provider: Provider, server: OpenIdServer, name: str) -> None:
    change = METADATA[name]
    server.metadata = {"issuer": f"{server.issuer}/"} if change == {"issuer": "/"} else change
    with pytest.raises(ProviderError):
        await provider.metadata()


async def test_endpoints_may_be_at_the_origins_that_are_named(server: OpenIdServer, timer: Timer) -> None:
    server.metadata = {"userinfo_endpoint": "https://api.example/me"}
    async with made_for(server, timer, origins=["https://api.example"]) as provider:
        assert (await provider.metadata()).userinfo == "https://api.example/me"


ANSWERS: dict[str, Any] = {
    "an error": lambda: Response(status_code=500),
    "a redirect": lambda: RedirectResponse("http://127.0.0.1:1/"),
    "no JSON": lambda: PlainTextResponse("<html>"),
    "a list": lambda: JSONResponse([]),
    "too much": lambda: PlainTextResponse('{"a": "' + "x" * 300_000 + '"}'),
    "too deep": lambda: PlainTextResponse("[" * 100_000),
    "compressed": lambda: Response(b"\x1f\x8b\x08", headers={"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_that_makes_no_sense_is_no_answer(provider: Provider, server: OpenIdServer, name: str) -> None:
    server.answer = ANSWERS[name]
    with pytest.raises(ProviderError):
        await provider.metadata()


async def test_a_slow_answer_is_given_up(
    provider: Provider, server: OpenIdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that come one by one do not help: the time is that of the whole request."""
    from starlette.responses import StreamingResponse

    from zethane.adapters.oidc import web

    async def drip() -> AsyncIterator[bytes]:
        import asyncio

        while True:
            yield b" "
            await asyncio.sleep(0.02)

    monkeypatch.setattr(web, "TIMEOUT", 0.3)
    server.answer = lambda: StreamingResponse(drip())
    with pytest.raises(ProviderError, match="does not answer"):
        await provider.metadata()


async def test_a_provider_that_was_away_is_asked_again_but_not_at_once(
    provider: Provider, server: OpenIdServer, timer: Timer
) -> None:
    server.answer = lambda: Response(status_code=500)
    with pytest.raises(ProviderError):
        await provider.metadata()
    server.answer = None
    with pytest.raises(ProviderError):
        await provider.metadata()
    timer.now += module.ASK_AGAIN
    await provider.metadata()


async def test_new_keys_are_fetched_when_a_token_needs_them(provider: Provider, server: OpenIdServer) -> None:
    await exchange(provider, server)
    server.key = ECKey.generate_key("P-256", parameters={"kid": "two", "use": "sig", "alg": "ES256"})
    server.header = {"kid": "two"}
    await exchange(provider, server)
    assert server.key_requests == 2


async def test_made_up_key_names_do_not_make_the_controller_fetch_for_ever(
    provider: Provider, server: OpenIdServer, timer: Timer
) -> None:
    await exchange(provider, server)
    for number in range(20):
        server.header = {"kid": f"made-up-{number}"}
        with pytest.raises((InvalidTokenError, ProviderError)):
            await exchange(provider, server)
    asked = server.key_requests
    assert asked <= FETCHES.burst
    timer.now += FETCHES.interval
    with pytest.raises(InvalidTokenError):
        await exchange(provider, server)
    assert server.key_requests == asked + 1


async def test_a_key_that_was_withdrawn_is_not_taken_for_ever(
    provider: Provider, server: OpenIdServer, timer: Timer
) -> None:
    await exchange(provider, server)
    server.published = [ECKey.generate_key("P-256", parameters={"kid": "two"}).as_dict(private=False)]
    timer.now += 3601
    with pytest.raises(InvalidTokenError):
        await exchange(provider, server)


async def test_groups_that_the_token_lacks_come_from_userinfo(provider: Provider, server: OpenIdServer) -> None:
    server.without, server.userinfo = ("groups",), {"groups": ["guests"], "preferred_username": "mallory"}
    claims = await exchange(provider, server)
    assert (claims["groups"], claims["preferred_username"]) == (["guests"], "alice")


async def test_a_refusal_is_told_by_a_known_word(provider: Provider, server: OpenIdServer) -> None:
    for refusal, word in (("invalid_grant", "invalid_grant"), ("evil\nword", "something else")):
        server.refusal = refusal
        with pytest.raises(GrantRefusedError) as caught:
            await exchange(provider, server)
        assert caught.value.code == word


async def test_a_device_grant_is_begun_and_asked_after(provider: Provider, server: OpenIdServer) -> None:
    code = await provider.device()
    assert (code.user_code, code.interval) == ("WDJB-MJHT", 5.0)
    assert "secret-device-code" not in repr(code)
    server.refusal = "authorization_pending"
    with pytest.raises(GrantRefusedError, match="authorization_pending"):
        await provider.device_tokens(code.device_code)
    server.refusal, server.nonce = None, None
    assert (await provider.device_tokens(code.device_code)).claims["sub"] == "a1"


async def test_a_refresh_keeps_what_the_new_token_leaves_out(provider: Provider, server: OpenIdServer) -> None:
    before = await exchange(provider, server) | {"amr": ["mfa"]}
    server.nonce, server.claims = None, {"preferred_username": "alice", "groups": ["guests"]}
    after = await provider.refresh("r0", before)
    assert (after.claims["groups"], after.claims["amr"], after.refresh_token) == (["guests"], ["mfa"], "r1")
    assert "r1" not in repr(after)
    server.claims = {**server.claims, "sub": "b2"}
    with pytest.raises(InvalidTokenError, match="sub"):
        await provider.refresh("r0", before)


async def test_the_issuer_is_reached_where_the_settings_say(server: OpenIdServer, timer: Timer) -> None:
    """Its name need not lead anywhere: only the connection goes elsewhere, and the host that is asked stays."""
    real = server.issuer.removeprefix("http://")
    server.issuer = "http://127.0.0.9:1"
    async with made_for(server, timer, connect=real) as provider:
        assert (await exchange(provider, server))["sub"] == "a1"
