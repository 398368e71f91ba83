"""Where a transmitter's keys are (OpenID SSF 1.0 §7): at `jwks_uri`, or where its configuration says."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import TypeAdapter, ValidationError

from zethane.adapters.http.client import JsonClient
from zethane.adapters.jwks import KeySource
from zethane.errors import SourceError
from zethane.identity.sources.common import SecureUrl
from zethane.identity.sources.signals import Transmitter

_URL: TypeAdapter[str] = TypeAdapter(SecureUrl)


def keys_of(name: str, transmitter: Transmitter, folder: Path) -> tuple[KeySource, JsonClient]:
    """The keys of a transmitter, and the client that fetches them and has to be closed. Raises InputError."""
    client = JsonClient(folder / transmitter.ca if transmitter.ca is not None else None)

    async def fetch() -> Any:
        return await client.get(transmitter.jwks_uri or await discovered(client, transmitter.issuer))

    return KeySource(name, fetch, time.monotonic), client


async def discovered(client: JsonClient, issuer: str) -> str:
    """`jwks_uri` of the configuration of an issuer. Raises SourceError."""
    where = configuration_url(issuer)
    document = await client.get(where)
    if not isinstance(document, dict) or document.get("issuer") != issuer:
        raise SourceError(f"{where}: expected the configuration of {issuer}")
    try:
        return _URL.validate_python(document.get("jwks_uri"), strict=True)
    except ValidationError:
        raise SourceError(f"{where}: expected a jwks_uri with https") from None


def configuration_url(issuer: str) -> str:
    """Where the configuration of an issuer is (SSF 1.0 §7.2): the well-known part comes before the issuer's path."""
    parts = urlsplit(issuer)
    path = "/.well-known/ssf-configuration" + parts.path.rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))
