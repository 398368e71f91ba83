"""The sections `listen`, `signals` and `posture`: what other systems tell about sessions and devices."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, SecretStr, model_validator

from zethane.document import Model
from zethane.document.duration import Duration
from zethane.identity.sources.common import FileName, Listen, SecureUrl, SourceName, is_loopback

TokenHash = Annotated[SecretStr, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
"""SHA-256 of a bearer token of at least 128 random bits; `zethane identity token` makes both."""


class SignalsListener(Model):
    """Where identity providers, transmitters and reporters reach the controller: HTTPS, or HTTP on loopback."""

    address: Listen
    certificate: FileName | None = None
    key: FileName | None = None

    @model_validator(mode="after")
    def _confidential(self) -> Any:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("expected both certificate and key, or neither")
        if self.certificate is None and not is_loopback(self.host):
            raise ValueError("expected certificate and key: without them only a loopback address may be listened on")
        return self

    @property
    def host(self) -> str:
        """The host of the address, without brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port of the address; 0 takes a free one."""
        return int(self.address.rpartition(":")[2])


class Transmitter(Model):
    """A transmitter of shared signals (OpenID SSF 1.0) that pushes Security Event Tokens (RFC 8417, RFC 8935).

    `subjects` names the source whose principals it speaks about: an entry of `oidc`, or `embedded`.
    """

    issuer: SecureUrl
    audience: Annotated[str, Field(min_length=1, max_length=2048)]
    jwks_uri: SecureUrl | None = None
    token: TokenHash
    subjects: SourceName = "embedded"
    ca: FileName | None = None
    clock_skew: Duration = "60s"


class Reporter(Model):
    """An agent or a management system that reports the posture of devices: of all, or of those that it names."""

    token: TokenHash
    devices: Annotated[tuple[str, ...], Field(max_length=20_000)] | None = None
