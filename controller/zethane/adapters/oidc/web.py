"""Requests to a provider, bounded in every way: where they go, how long they take, and how much is read."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx

from zethane.adapters.http.strict_json import loads
from zethane.identity.sources.common import is_loopback
from zethane.identity.sources.oidc import OpenIdProvider
from zethane.service.openid import ProviderError

TIMEOUT = 8.0
"""Seconds for a whole request, however slowly its answer comes."""

MAX_ANSWER = 256 * 1024
"""Bytes of an answer."""

MAX_CONNECTIONS = 16
"""Connections to one provider at a time."""


class Web:
    """One provider's origins. Nothing is asked of any other, no redirect is followed, no proxy is used."""

    def __init__(self, settings: OpenIdProvider, tls: ssl.SSLContext) -> None:
        issuer = urlsplit(settings.issuer)
        self._issuer = _origin(issuer)
        self._origins = {self._issuer, *(_origin(urlsplit(one)) for one in settings.origins)}
        self._connect = settings.connect
        self._client = httpx.AsyncClient(
            verify=tls,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=4),
            timeout=httpx.Timeout(TIMEOUT),
            # A compressed answer could be far larger than what is read of it.
            headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "zethane"},
        )

    async def close(self) -> None:
        """End all connections."""
        await self._client.aclose()

    def require_allowed(self, url: object, what: str) -> str:
        """An endpoint's address, if it is one and at an origin of the provider. Raises ProviderError."""
        if isinstance(url, str) and len(url) <= 2048 and url.isascii() and url.isprintable():
            try:
                parts = urlsplit(url)
                good = _origin(parts) in self._origins and parts.username is None and not parts.fragment
            except ValueError:
                good = False
            if good and (parts.scheme == "https" or is_loopback(parts.hostname or "")):
                return url
        raise ProviderError(f"{what} is no address at the provider")

    async def get(self, url: str, token: str | None = None) -> dict[str, Any]:
        """The JSON object at an address; `token` is an access token (RFC 6750). Raises ProviderError."""
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        status, answer = await self._exchange("GET", url, headers)
        if status != httpx.codes.OK:
            raise ProviderError(f"the provider answered with status {status}")
        return answer

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of the answer to a form. Raises ProviderError."""
        return await self._exchange("POST", url, headers, form)

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        request = self._request(method, url, headers, form)
        try:
            status, body = await asyncio.wait_for(self._send(request), TIMEOUT)
        except (httpx.HTTPError, asyncio.TimeoutError, TimeoutError, OSError) as error:
            # Never the error's own words: they may hold the address, and what was in it.
            raise ProviderError(f"the provider does not answer ({type(error).__name__})") from None
        return status, _parse(body)

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> httpx.Request:
        """The request; one to the issuer's own origin goes to where the settings say that it is."""
        data = dict(form) if form is not None else None
        parts = urlsplit(url)
        if self._connect is None or _origin(parts) != self._issuer:
            return self._client.build_request(method, url, headers=dict(headers), data=data)
        return self._client.build_request(
            method,
            parts._replace(netloc=self._connect).geturl(),
            headers={**headers, "host": parts.netloc},
            data=data,
            extensions={"sni_hostname": parts.hostname},  # whose certificate it has to be, too
        )

    async def _send(self, request: httpx.Request) -> tuple[int, bytes]:
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) > MAX_ANSWER:
                    raise ProviderError("the provider's answer is too long")
        finally:
            await response.aclose()
        return response.status_code, bytes(body)


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port. Raises ValueError for a port that is none."""
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        answer = loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ProviderError("the provider's answer is no JSON object")
    return answer
