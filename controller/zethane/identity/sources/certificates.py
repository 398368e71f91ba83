"""The sections `certificates` and `ovsdb`: who vouches for workloads and devices."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zethane.document import Model
from zethane.identity.sources.common import FileName


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
    """One OVSDB server whose word on interfaces is taken: `unix:PATH`, `tcp:HOST:PORT` or `ssl:HOST:PORT`."""

    connect: Annotated[str, Field(max_length=1024, pattern=r"^(unix:.+|(tcp|ssl):.+:[0-9]{1,5})$")]
    certificate: FileName | None = None
    key: FileName | None = None
    ca: FileName | None = None
