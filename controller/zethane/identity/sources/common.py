"""What the sections of sources.yaml share: names, addresses, and secrets that are in no repr and no error."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from zethane.document import Model

SourceName = Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
HostName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_.:\[\]-]+$")]
Listen = Annotated[str, StringConstraints(max_length=270, pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$")]
"""`HOST:PORT`; port 0 takes a free one."""
FileName = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
"""A path, from the topology's folder on."""
Url = Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://[^\s]+$")]


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own, which nobody else can listen in on."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _check_secure(text: str) -> str:
    parts = urlsplit(text)
    if not parts.hostname or parts.username is not None:
        raise ValueError("expected a URL with a host, and without a user")
    if parts.scheme != "https" and not is_loopback(parts.hostname):
        raise ValueError("expected https://, or http:// to a loopback address")
    return text


SecureUrl = Annotated[Url, AfterValidator(_check_secure)]
"""What is fetched from there is trusted."""

Secret = Annotated[SecretStr, Field(min_length=1, max_length=1024)]
Port = Annotated[int, Field(ge=1, le=0xFFFF)]


class WithSecret(Model):
    """A section with a secret: `secret` itself, or `secret_file`, the file that holds it and nothing else."""

    secret: Secret | None = None
    secret_file: FileName | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> Any:
        if (self.secret is None) == (self.secret_file is None):
            raise ValueError("expected either secret or secret_file")
        return self
