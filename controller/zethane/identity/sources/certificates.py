"""The sections `certificates` and `ovsdb`: who vouches for workloads and devices."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from zethane.document import Model
from zethane.document.duration import Duration, seconds
from zethane.identity.sources.common import FileName, HostName

MIN_LEASE = 10
"""Seconds: a server is asked for a sign of life every five."""


class Certificates(Model):
    """Client certificates (RFC 5280) that log workloads and devices in.

    `trust_domain` is the SPIFFE trust domain whose IDs are taken; without it names of SAN dNSName are. `crl` are
    revocation lists (RFC 5280 §5), each of an authority in `ca`; with any, every issuer has to have a current one.
    All are PEM files, and read again when they change.
    """

    ca: Annotated[tuple[FileName, ...], Field(min_length=1, max_length=16)]
    crl: Annotated[tuple[FileName, ...], Field(max_length=16)] = ()
    trust_domain: Annotated[str, Field(max_length=255, pattern=r"^[a-z0-9._-]+$")] | None = None


class Ovsdb(Model):
    """One OVSDB server whose word on interfaces is taken: `unix:PATH`, `tcp:HOST:PORT` or `ssl:HOST:PORT`.

    With `ssl`, `ca` has signed its certificate, and that names the host, or `server_name`. `lease` is how long a
    session holds after the server was last heard of.
    """

    connect: Annotated[str, Field(max_length=1024, pattern=r"^(unix:.+|(tcp|ssl):.+:[0-9]{1,5})$")]
    certificate: FileName | None = None
    key: FileName | None = None
    ca: FileName | None = None
    server_name: HostName | None = None
    lease: Duration = "60s"

    @model_validator(mode="after")
    def _complete(self) -> Ovsdb:
        if self.connect.startswith("ssl:") and self.ca is None:
            raise ValueError("expected ca: without it nobody knows whose word it is")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("expected certificate and key together")
        if seconds(self.lease) < MIN_LEASE:
            raise ValueError(f"expected a lease of at least {MIN_LEASE} seconds")
        return self
