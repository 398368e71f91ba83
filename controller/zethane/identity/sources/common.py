"""What the sections of sources.yaml share: names, addresses, and secrets that are in no repr and no error."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, SecretStr, StringConstraints, model_validator

from zethane.document import Model

SourceName = Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
HostName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_.:\[\]-]+$")]
Listen = Annotated[str, StringConstraints(max_length=270, pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$")]
"""`HOST:PORT`; port 0 takes a free one."""
FileName = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
"""A path, from the topology's folder on."""
Url = Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://[^\s]+$")]
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
