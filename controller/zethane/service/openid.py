"""What single sign-on asks of an OpenID provider; `adapters.oidc` implements it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from zethane.errors import SourceError, ZethaneError
from zethane.identity.openid import Claims, LogoutToken
from zethane.identity.sources.oidc import OpenIdProvider


class ProviderError(SourceError):
    """The provider does not answer, or not in a way that makes sense. The message is for the log."""


class GrantRefusedError(ZethaneError):
    """The provider says no; `code` is its word for it (RFC 6749 §5.2, RFC 8628 §3.5)."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(f"the provider says {code}")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The claims of an ID token that was checked, what was said at the userinfo endpoint with them, and the refresh
    token, which is a secret."""

    claims: Claims
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """An answer to a device authorization request (RFC 8628 §3.2). Times in seconds."""

    device_code: str = field(repr=False)
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_in: float
    interval: float


class OpenIdSource(Protocol):
    """One provider. Coroutines raise ProviderError; what brings tokens also GrantRefusedError, InvalidTokenError."""

    @property
    def name(self) -> str:
        """Its name in sources.yaml."""

    @property
    def settings(self) -> OpenIdProvider:
        """What sources.yaml says of it."""

    async def authorization(self, redirect_uri: str, state: str, nonce: str, verifier: str, *, fresh: bool) -> str:
        """The address to send a browser to. `fresh`: the person has to prove herself anew."""

    async def says_issuer(self) -> bool:
        """Whether its answers to the browser name the issuer (RFC 9207)."""

    async def exchange(self, code: str, redirect_uri: str, nonce: str, verifier: str, *, fresh: bool) -> Tokens:
        """Tokens for an authorization code."""

    async def device(self) -> DeviceCode:
        """Begin a device grant."""

    async def device_tokens(self, device_code: str) -> Tokens:
        """Tokens for a device code; GrantRefusedError("authorization_pending") as long as nobody has said yes."""

    async def refresh(self, refresh_token: str, before: Claims) -> Tokens:
        """Tokens for a refresh token; `before` are the claims at the login."""

    async def logout(self, token: str) -> LogoutToken:
        """The logout that a token asks for, checked; whether it was taken before is not."""
