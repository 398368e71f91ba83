"""The portal's back end for logins by client certificate: what the client presented in its TLS handshake."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from zethane.api.portal_schema import Connection, Locate, Tell
from zethane.errors import AuthenticationError
from zethane.identity.certificates import MAX_CERTIFICATE, MAX_CHAIN
from zethane.service.certificate_login import REFUSED, CertificateLogin

Der = Annotated[Base64Bytes, Field(min_length=1, max_length=MAX_CERTIFICATE)]


class PortalCertificate(BaseModel):
    """A login that came in over a connection, with the certificates of its handshake, the client's own first."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    connection: Connection
    certificates: Annotated[tuple[Der, ...], Field(min_length=1, max_length=MAX_CHAIN)]


def certificate_router(
    login: CertificateLogin | None,
    locate: Locate,
    answer: Tell,
) -> APIRouter:
    """`POST /certificate-login`. Without a `login`, no certificate is accepted."""
    router = APIRouter()

    @router.post("/certificate-login")
    async def certificate_login(body: PortalCertificate) -> dict[str, Any]:
        if login is None:
            raise AuthenticationError(REFUSED)
        return answer(login.login(locate(body.connection), body.certificates))

    return router
