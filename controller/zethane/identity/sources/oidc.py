"""The section `oidc`: OpenID providers for single sign-on."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from zethane.document import Model
from zethane.document.duration import Duration
from zethane.identity.sources.common import FileName, Listen, Secret, SecureUrl, Url
from zethane.policy.schema import Name

Scope = Annotated[str, StringConstraints(max_length=63, pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$")]
"""A scope token (RFC 6749 §3.3)."""

Origin = Annotated[str, StringConstraints(max_length=270, pattern=r"^https://[A-Za-z0-9_.:\[\]-]+$")]
"""Scheme, host and port, without a path (RFC 6454)."""


class OpenIdProvider(Model):
    """One provider. `groups` maps values of the claim `groups_claim` to groups; without it they are the groups.

    `acr` gives the assurance level of the provider's `acr` values; what it does not name counts as 1, or as 2 where
    `amr` holds `mfa`. `connect` is where the controller reaches the issuer's host and port if not by its name;
    `origins` are others that its endpoints may be at. `redirect_uri` is what the provider has registered for the
    portal, if not `http://ADDRESS:PORT/oidc/callback`. `max_age` is how old a login at the provider may be.
    """

    issuer: SecureUrl
    client_id: Annotated[str, Field(min_length=1, max_length=255)]
    client_secret: Secret | None = None
    client_secret_file: FileName | None = None
    label: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    scopes: Annotated[tuple[Scope, ...], Field(max_length=32)] = ("openid", "profile", "groups", "offline_access")
    name_claim: Annotated[str, Field(min_length=1, max_length=63)] = "preferred_username"
    groups_claim: Annotated[str, Field(min_length=1, max_length=63)] = "groups"
    groups: Annotated[dict[str, Name], Field(max_length=1024)] | None = None
    acr: dict[str, Annotated[int, Field(ge=1, le=3)]] = Field(default_factory=dict, max_length=64)
    ca: FileName | None = None
    connect: Listen | None = None
    origins: Annotated[tuple[Origin, ...], Field(max_length=8)] = ()
    redirect_uri: Url | None = None
    max_age: Duration | None = None
    clock_skew: Duration = "60s"
    refresh: Duration = "5m"

    @model_validator(mode="after")
    def _check(self) -> Any:
        if self.client_secret is not None and self.client_secret_file is not None:
            raise ValueError("expected client_secret or client_secret_file, not both")
        if "openid" not in self.scopes:
            raise ValueError("expected the scope openid (OpenID Connect Core §3.1.2.1)")
        parts = urlsplit(self.issuer)
        if parts.query or parts.fragment:
            raise ValueError("expected an issuer without query and fragment (OpenID Connect Discovery §3)")
        return self
