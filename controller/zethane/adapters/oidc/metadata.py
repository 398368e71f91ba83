"""What a provider says of itself (OpenID Connect Discovery 1.0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zethane.adapters.oidc.tokens import ALGORITHMS
from zethane.adapters.oidc.web import Web
from zethane.service.openid import ProviderError

WELL_KNOWN = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Metadata:
    """Endpoints, each at an origin of the provider, and what it can do."""

    authorization: str
    token: str
    keys: str
    userinfo: str | None
    device: str | None
    algorithms: frozenset[str]
    says_issuer: bool
    """Whether answers to the browser name the issuer (RFC 9207)."""


async def discover(web: Web, issuer: str) -> Metadata:
    """Ask the provider. Raises ProviderError."""
    return read(web, issuer, await web.get(issuer.rstrip("/") + WELL_KNOWN))


def read(web: Web, issuer: str, told: Mapping[str, Any]) -> Metadata:
    """The metadata in what was told. Raises ProviderError for what cannot be used."""
    if told.get("issuer") != issuer:  # §4.3: exactly
        raise ProviderError("the provider says that it is another issuer")
    algorithms = ALGORITHMS & _texts(told, "id_token_signing_alg_values_supported", ())
    if not algorithms:
        raise ProviderError("the provider signs with no algorithm that is taken")
    if "S256" not in _texts(told, "code_challenge_methods_supported", ("S256",)):
        raise ProviderError("the provider has no PKCE with S256")
    if "code" not in _texts(told, "response_types_supported", ("code",)):
        raise ProviderError("the provider has no authorization code flow")
    return Metadata(
        _endpoint(web, told, "authorization_endpoint"),
        _endpoint(web, told, "token_endpoint"),
        _endpoint(web, told, "jwks_uri"),
        _endpoint(web, told, "userinfo_endpoint") if "userinfo_endpoint" in told else None,
        _endpoint(web, told, "device_authorization_endpoint") if "device_authorization_endpoint" in told else None,
        algorithms,
        told.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(web: Web, told: Mapping[str, Any], key: str) -> str:
    return web.require_allowed(told.get(key), key)


def _texts(told: Mapping[str, Any], key: str, default: tuple[str, ...]) -> frozenset[str]:
    value = told.get(key, default)
    return frozenset(one for one in value if isinstance(one, str)) if isinstance(value, list | tuple) else frozenset()
