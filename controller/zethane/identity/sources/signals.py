"""The sections `listen`, `signals` and `posture`: what other systems tell about sessions and devices."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from zethane.document import Model
from zethane.document.duration import Duration
from zethane.identity.sources.common import FileName, Listen, SecureUrl, SourceName, is_loopback

_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def _check_hash(secret: SecretStr) -> SecretStr:
    if not _HASH.fullmatch(secret.get_secret_value()):
        raise ValueError('expected "sha256:" and 64 hexadecimal digits; zethane identity token makes a token with both')
    return secret


TokenHash = Annotated[SecretStr, Field(max_length=71), AfterValidator(_check_hash)]
"""SHA-256 of a bearer token of at least 128 random bits; `zethane identity token` makes both."""


DeviceName = Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]*$")]
AttributeName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


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

    `subjects` names the source whose principals it speaks about: an entry of `oidc`, or `embedded`. `devices` are
    those whose compliance it may judge; without it they are all where it speaks about the embedded provider's
    principals, and none elsewhere.
    """

    issuer: SecureUrl
    audience: Annotated[str, Field(min_length=1, max_length=2048)]
    jwks_uri: SecureUrl | None = None
    token: TokenHash
    subjects: SourceName = "embedded"
    devices: Annotated[tuple[DeviceName, ...], Field(max_length=20_000)] | None = None
    ca: FileName | None = None
    clock_skew: Duration = "60s"


class Reporter(Model):
    """An agent or a management system that reports the posture of devices: of all, or of those that it names.

    `attributes` are those that it may tell; without them it may tell any.
    """

    token: TokenHash
    devices: Annotated[tuple[DeviceName, ...], Field(max_length=20_000)] | None = None
    attributes: Annotated[tuple[AttributeName, ...], Field(max_length=64)] | None = None
