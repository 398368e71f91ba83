"""The section `oidc`: OpenID providers for single sign-on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zethane.document import Model
from zethane.document.duration import Duration
from zethane.identity.sources.common import FileName, Secret, Url
from zethane.policy.schema import Name


class OpenIdProvider(Model):
    """One provider. `groups` maps values of the claim `groups_claim` to groups; without it they are the groups.

    `acr` gives the assurance level of the provider's `acr` values; what it does not name counts as 1, or as 2 where
    `amr` holds `mfa`.
    """

    issuer: Url
    client_id: Annotated[str, Field(min_length=1, max_length=255)]
    client_secret: Secret | None = None
    client_secret_file: FileName | None = None
    label: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    scopes: Annotated[tuple[str, ...], Field(max_length=32)] = ("openid", "profile", "groups", "offline_access")
    name_claim: Annotated[str, Field(min_length=1, max_length=63)] = "preferred_username"
    groups_claim: Annotated[str, Field(min_length=1, max_length=63)] = "groups"
    groups: Annotated[dict[str, Name], Field(max_length=1024)] | None = None
    acr: dict[str, Annotated[int, Field(ge=1, le=3)]] = Field(default_factory=dict, max_length=64)
    ca: FileName | None = None
    clock_skew: Duration = "60s"
    refresh: Duration = "5m"
