"""Fetches small JSON documents from the systems that vouch for others. Bounded in size and time; no redirects."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import httpx

from zethane.adapters.http.strict_json import loads
from zethane.errors import InputError, Problem, SourceError

MAX_BYTES = 256 * 1024
TIMEOUT = 10.0
"""Seconds for one answer, all of it."""


class JsonClient:
    """Asks over HTTPS. `ca` are the authorities whose certificates are taken; without it the system's are."""

    def __init__(self, ca: Path | None = None, timeout: float = TIMEOUT) -> None:
        """Raises InputError for a `ca` that cannot be used."""
        context = trust(ca)
        self._timeout = timeout
        self._client = httpx.AsyncClient(
            verify=context,
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,
            headers={"accept": "application/json"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, url: str) -> Any:
        """The JSON document there. Raises SourceError, which repeats nothing of the answer."""
        try:
            body = await asyncio.wait_for(self._get(url), self._timeout)
            return loads(body)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, asyncio.TimeoutError) as error:
            raise SourceError(f"{url}: no answer: {type(error).__name__}") from error
        except ValueError as error:
            raise SourceError(f"{url}: {error}") from None

    async def _get(self, url: str) -> bytes:
        async with self._client.stream("GET", url) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"answered with status {response.status_code}")
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > MAX_BYTES:
                    raise ValueError(f"answered with more than {MAX_BYTES} bytes")
            return bytes(body)


def trust(ca: Path | None) -> ssl.SSLContext:
    """TLS for a client that takes the certificates of these authorities. Raises InputError."""
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise InputError([Problem(str(ca), f"expected certificates in PEM: {error}")]) from None
