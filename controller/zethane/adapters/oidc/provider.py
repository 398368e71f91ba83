"""One OpenID provider: the authorization code flow with PKCE, the device grant, refreshes, and logout tokens."""

from __future__ import annotations

import asyncio
import base64
import hmac
import ssl
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlencode

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core.util import create_half_hash

from zethane.adapters.jwks import KeySource
from zethane.adapters.oidc.metadata import Metadata, discover
from zethane.adapters.oidc.tokens import algorithm_of, verified_claims
from zethane.adapters.oidc.web import Web
from zethane.document.duration import seconds
from zethane.identity.openid import (
    Claims,
    Expected,
    InvalidTokenError,
    LogoutToken,
    check_id_token,
    check_logout_token,
    check_refreshed,
    expected_of,
)
from zethane.identity.sources.oidc import OpenIdProvider
from zethane.service.openid import DeviceCode, GrantRefusedError, ProviderError, Tokens
from zethane.service.sources import SourceState, SourceView
from zethane.service.state import Clock

T = TypeVar("T")

METADATA_AGE = 3600.0
"""Seconds after which a provider is asked again what it can do."""

PATIENCE = 15.0
"""Seconds for all the requests that one step of a login takes: a person waits."""

ASK_AGAIN = 2.0
"""Seconds after which one that did not answer is asked again: those in between are told at once."""

FRESH = 60.0
"""Seconds that a login at the provider may be old where the person was to prove herself anew."""

MAX_SECRET = 8 * 1024
"""Characters of a code or token that is passed on."""

LOGOUT_TYPES = ("logout+jwt", "jwt", "")

_ERRORS = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "access_denied",
        "authorization_pending",
        "slow_down",
        "expired_token",
    }
)
"""The words for a no of RFC 6749 §5.2 and RFC 8628 §3.5."""


class Provider:
    """Implements `service.openid.OpenIdSource`. `clock` tells the time of day, `timer` seconds of a steady clock."""

    def __init__(
        self,
        name: str,
        settings: OpenIdProvider,
        secret: str | None,
        tls: ssl.SSLContext,
        clock: Clock = time.time,
        timer: Clock = time.monotonic,
    ) -> None:
        self.name = name
        self.settings = settings
        self._secret = secret
        self._clock = clock
        self._timer = timer
        self._web = Web(settings, tls)
        self._keys = KeySource(name, self._fetch_keys, timer)
        self._metadata: Metadata | None = None
        self._asked = -METADATA_AGE
        self._failure: str | None = None
        self._changed: float | None = None

    async def close(self) -> None:
        """End all connections."""
        await self._web.close()

    async def metadata(self) -> Metadata:
        """What the provider says of itself, at most an hour old. Raises ProviderError."""
        age = self._timer() - self._asked
        if self._metadata is not None and age < METADATA_AGE:
            return self._metadata
        if self._failure is not None and age < ASK_AGAIN:
            raise ProviderError(self._failure)
        self._asked, self._metadata = self._timer(), None
        with self._answers():
            self._metadata = await discover(self._web, self.settings.issuer)
        return self._metadata

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Note how the provider does when something is asked of it."""
        before = self._failure
        try:
            yield
            self._failure = None
        except ProviderError as error:
            self._failure = str(error)
            raise
        finally:
            if self._changed is None or (before is None) != (self._failure is None):
                self._changed = self._clock()

    def view(self) -> SourceView:
        """How it does, for operators."""
        state: SourceState = "idle" if self._changed is None else "up" if self._failure is None else "down"
        return SourceView(self.name, "oidc", state, self._changed, self._failure or "")

    async def _fetch_keys(self) -> dict[str, Any]:
        return await self._web.get((await self.metadata()).keys)

    async def says_issuer(self) -> bool:
        """Whether its answers to the browser name the issuer (RFC 9207)."""
        return (await self.metadata()).says_issuer

    # The authorization code flow

    async def authorization(self, redirect_uri: str, state: str, nonce: str, verifier: str, *, fresh: bool) -> str:
        """The address to send a browser to (OpenID Connect Core §3.1.2.1, RFC 7636 §4.3)."""
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self.settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        prompts = [*(["login"] if fresh else []), *(["consent"] if "offline_access" in self.settings.scopes else [])]
        if prompts:
            query["prompt"] = " ".join(prompts)  # a refresh token needs a consent (§11)
        max_age = self._max_age(fresh)
        if max_age is not None:
            query["max_age"] = str(int(max_age))
        endpoint = (await _soon(self.metadata())).authorization
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def _max_age(self, fresh: bool) -> float | None:
        wanted = seconds(self.settings.max_age) if self.settings.max_age is not None else None
        return min(wanted or FRESH, FRESH) if fresh else wanted

    async def exchange(self, code: str, redirect_uri: str, nonce: str, verifier: str, *, fresh: bool) -> Tokens:
        """Tokens for an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.5)."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        return await _soon(self._tokens(form, expected_of(self.settings, nonce, self._max_age(fresh))))

    # The device grant

    async def device(self) -> DeviceCode:
        """Begin a device grant (RFC 8628 §3.1)."""
        endpoint = (await self.metadata()).device
        if endpoint is None:
            raise GrantRefusedError("unsupported_grant_type")
        status, answer = await self._post(endpoint, {"scope": " ".join(self.settings.scopes)})
        if status != 200:
            raise GrantRefusedError(_error_code(answer))
        complete = answer.get("verification_uri_complete")
        return DeviceCode(
            _text(answer, "device_code"),
            _shown(_text(answer, "user_code")),
            self._web.require_allowed(answer.get("verification_uri"), "verification_uri"),
            self._web.require_allowed(complete, "verification_uri_complete") if complete is not None else None,
            _length(answer.get("expires_in"), 300.0, 1800.0),
            _length(answer.get("interval"), 5.0, 60.0),
        )

    async def device_tokens(self, device_code: str) -> Tokens:
        """Tokens for a device code (RFC 8628 §3.4)."""
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": device_code}
        return await _soon(self._tokens(form, expected_of(self.settings)))

    # Later

    async def refresh(self, refresh_token: str, before: Claims) -> Tokens:
        """Tokens for a refresh token (RFC 6749 §6, OpenID Connect Core §12)."""
        answer = await self._grant({"grant_type": "refresh_token", "refresh_token": refresh_token})
        renewed = _optional_text(answer, "refresh_token") or refresh_token
        if "id_token" in answer:
            claims = await self._verify(answer)
            check_refreshed(claims, before, expected_of(self.settings), self._clock())
            claims = {**{key: before[key] for key in ("auth_time", "amr", "acr", "sid") if key in before}, **claims}
        else:  # then only the userinfo endpoint can say what has changed, if there is one
            asked = (await self.metadata()).userinfo is not None
            claims = {key: value for key, value in before.items() if not asked or key != self.settings.groups_claim}
        return Tokens(await self._with_userinfo(claims, answer), renewed)

    async def logout(self, token: str) -> LogoutToken:
        """The logout that a token asks for (OpenID Connect Back-Channel Logout 1.0 §2.6)."""
        claims = await verified_claims(self._keys, token, (await self.metadata()).algorithms, LOGOUT_TYPES)
        return check_logout_token(claims, expected_of(self.settings), self._clock())

    # Tokens

    async def _tokens(self, form: Mapping[str, str], expected: Expected) -> Tokens:
        """What a grant brings, checked."""
        answer = await self._grant(form)
        claims = await self._verify(answer)
        check_id_token(claims, expected, self._clock())
        return Tokens(await self._with_userinfo(claims, answer), _optional_text(answer, "refresh_token"))

    async def _verify(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The claims of the ID token in an answer; its hash of the access token has to be right if there is one."""
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise InvalidTokenError("the answer holds no ID token")
        claims = dict(await verified_claims(self._keys, token, (await self.metadata()).algorithms))
        said, access = claims.get("at_hash"), answer.get("access_token")
        if said is not None and isinstance(access, str):
            made = create_half_hash(access, algorithm_of(token))
            if not isinstance(said, str) or made is None or not hmac.compare_digest(made, said.encode()):
                raise InvalidTokenError("at_hash is not that of the access token")
        return claims

    async def _with_userinfo(self, claims: dict[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
        """The claims, with name and groups from the userinfo endpoint where the ID token has none (§5.3)."""
        wanted = [one for one in (self.settings.name_claim, self.settings.groups_claim) if one not in claims]
        endpoint, access = (await self.metadata()).userinfo, _optional_text(answer, "access_token")
        if not wanted or endpoint is None or access is None:
            return claims
        told = await self._web.get(endpoint, access)
        if told.get("sub") != claims["sub"]:  # §5.3.2
            raise InvalidTokenError("userinfo is another person's")
        return claims | {key: told[key] for key in wanted if key in told}

    async def _grant(self, form: Mapping[str, str]) -> dict[str, Any]:
        """The answer of the token endpoint. Raises GrantRefusedError if it says no, ProviderError."""
        status, answer = await self._post((await self.metadata()).token, form)
        if status == 200:
            return answer
        if status in (400, 401, 403):  # a word is needed: a proxy's page is no answer of the provider
            raise GrantRefusedError(_error_code(answer))
        raise ProviderError(f"the provider answered with status {status}")

    async def _post(self, endpoint: str, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """Send a form as this client: with its secret (client_secret_basic, RFC 6749 §2.3.1), or by its name."""
        client = self.settings.client_id
        with self._answers():
            if self._secret is None:
                return await self._web.post(endpoint, {**form, "client_id": client}, {})
            basic = base64.b64encode(f"{quote_plus(client)}:{quote_plus(self._secret)}".encode()).decode()
            return await self._web.post(endpoint, form, {"authorization": f"Basic {basic}"})


async def _soon(work: Coroutine[Any, Any, T]) -> T:
    """The result, if it comes while somebody waits for it. Raises ProviderError."""
    try:
        return await asyncio.wait_for(work, PATIENCE)
    except (asyncio.TimeoutError, TimeoutError):
        raise ProviderError("the provider is too slow") from None


def _error_code(answer: Mapping[str, Any]) -> str:
    """The provider's word for its no, if it is one that is known: whatever else it says stays out of logs."""
    code = answer.get("error")
    return code if isinstance(code, str) and code in _ERRORS else "something else"


def _text(answer: Mapping[str, Any], key: str) -> str:
    value = _optional_text(answer, key)
    if value is None:
        raise ProviderError(f"the provider's answer has no {key}")
    return value


def _optional_text(answer: Mapping[str, Any], key: str) -> str | None:
    value = answer.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_SECRET or not value.isascii() or not value.isprintable():
        raise ProviderError(f"the provider's {key} is no text")
    return value


def _shown(code: str) -> str:
    if len(code) > 64:
        raise ProviderError("the provider's user_code is too long to type")
    return code


def _length(value: object, default: float, most: float) -> float:
    """Seconds, from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= most:
        return default if value is None else min(most, max(1.0, default))
    return float(value)
