"""What the portal may ask of the controller about second factors: the same socket as `portal_backend`."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import pyotp
from fastapi import FastAPI
from pydantic import Field, StringConstraints, model_validator

from zethane.api.portal_schema import Code, Locate, PortalModel, PortalRequest, Tell
from zethane.audit.record import rfc3339, rfc3339_or_none
from zethane.errors import InputError, Problem
from zethane.identity.credential import CODE_DIGITS, is_code
from zethane.identity.factor import Factor, Passkey, RecoveryCode, plain_code, reference
from zethane.service.authentication import Authenticator
from zethane.service.enrolment import Enrolment, Overview
from zethane.service.passkey import RelyingParty, Response

ISSUER = "Zethane"
"""The network's name in authenticator apps."""

MAX_PART = 6000
"""Characters of one part of a passkey's answer."""

Base64Url = Annotated[str, StringConstraints(max_length=MAX_PART, pattern=r"^[A-Za-z0-9_-]*$")]
CredentialId = Annotated[str, StringConstraints(max_length=1400, pattern=r"^[A-Za-z0-9_-]+$")]
FactorName = Annotated[str, Field(max_length=255)]


class PasskeyParts(PortalModel):
    """The `response` of a passkey's answer (WebAuthn level 3 §5.1, RegistrationResponseJSON and its brother)."""

    clientDataJSON: Base64Url  # noqa: N815  # WebAuthn's own name
    attestationObject: Base64Url | None = None  # noqa: N815
    authenticatorData: Base64Url | None = None  # noqa: N815
    signature: Base64Url | None = None
    userHandle: Base64Url | None = None  # noqa: N815


class PasskeyAnswer(PortalModel):
    """A passkey's answer, as the portal's script makes it."""

    id: CredentialId
    rawId: CredentialId  # noqa: N815
    type: Literal["public-key"]
    response: PasskeyParts

    def plain(self) -> Response:
        """As a mapping without what is not there."""
        return self.model_dump(exclude_none=True)


class Party(PortalModel):
    """The portal as browsers know it, from its own configuration."""

    id: Annotated[str, StringConstraints(max_length=253, pattern=r"^[a-z0-9.-]+$")]
    origin: Annotated[str, StringConstraints(max_length=270, pattern=r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$")]

    def relying_party(self) -> RelyingParty:
        """The same for the service."""
        return RelyingParty(self.id, self.origin)


class SecondFactor(PortalModel):
    """A second factor that somebody who is logged in offers: exactly one."""

    code: Code | None = None
    passkey: PasskeyAnswer | None = None

    @model_validator(mode="after")
    def _one(self) -> SecondFactor:
        if (self.code is None) == (self.passkey is None):
            raise ValueError("expected either code or passkey")
        return self

    def offered(self) -> str | Response:
        """What is offered. Raises InputError for what can be no code."""
        return self.passkey.plain() if self.passkey is not None else checked_code(self.code)


def checked_code(code: Code | None) -> str:
    """A code however it is spaced. Raises InputError if it can be none."""
    plain = plain_code(code.get_secret_value()) if code is not None else ""
    if not is_code(plain):
        raise InputError([Problem("factor", f"expected {CODE_DIGITS} digits, or a recovery code", key="code")])
    return plain


class _WithParty(PortalRequest):
    party: Party


class _WithPasskey(PortalRequest):
    passkey: PasskeyAnswer


class _NewPasskey(_WithPasskey):
    name: FactorName


class _Offered(PortalRequest):
    factor: SecondFactor


class _Confirmed(PortalRequest):
    code: Code


class _Named(PortalRequest):
    factor: Annotated[str, Field(max_length=64)]


class _Renamed(_Named):
    name: FactorName


def add_factors(
    app: FastAPI,
    locate: Locate,
    authenticator: Authenticator,
    enrolment: Enrolment,
    answer: Tell,
) -> None:
    """Add it all to the back end. `answer` is what a login is answered with."""
    _add_proving(app, locate, authenticator, answer)
    _add_codes(app, locate, enrolment)
    _add_passkeys(app, locate, enrolment)
    _add_changes(app, locate, enrolment)


def _add_proving(app: FastAPI, locate: Locate, authenticator: Authenticator, answer: Tell) -> None:
    passkeys = authenticator.factors.passkeys

    @app.post("/passkeys/login-options")
    async def login_options(body: _WithParty) -> dict[str, Any]:
        return passkeys.login_options(locate(body.connection), body.party.relying_party())

    @app.post("/passkeys/login")
    async def login(body: _WithPasskey) -> dict[str, Any]:
        return answer(await authenticator.login_by_passkey(locate(body.connection), body.passkey.plain()))

    @app.post("/passkeys/prove-options")
    async def prove_options(body: _WithParty) -> dict[str, Any]:
        return authenticator.prove_options(locate(body.connection), body.party.relying_party())

    @app.post("/prove")
    async def prove(body: _Offered) -> dict[str, Any]:
        offered = body.factor.offered()
        return answer(await authenticator.prove(locate(body.connection), offered))


def _add_codes(app: FastAPI, locate: Locate, enrolment: Enrolment) -> None:
    @app.post("/factors/totp/offer")
    async def offer(body: PortalRequest) -> dict[str, Any]:
        endpoint = locate(body.connection)
        return _secret(enrolment.offer_totp(endpoint), enrolment.overview(endpoint).user)

    @app.post("/factors/totp/shown")
    async def shown(body: PortalRequest) -> dict[str, Any]:
        endpoint = locate(body.connection)
        key = enrolment.offered_totp(endpoint)
        return _secret(key, enrolment.overview(endpoint).user) if key is not None else {"secret": None, "uri": None}

    @app.post("/factors/totp/confirm")
    async def confirm(body: _Confirmed) -> dict[str, Any]:
        endpoint = locate(body.connection)
        enrolment.confirm_totp(endpoint, checked_code(body.code))
        return overview_view(enrolment.overview(endpoint))

    @app.post("/factors/recovery")
    async def recovery(body: PortalRequest) -> dict[str, Any]:
        return {"codes": enrolment.new_recovery_codes(locate(body.connection))}


def _add_passkeys(app: FastAPI, locate: Locate, enrolment: Enrolment) -> None:
    @app.post("/passkeys/enrol-options")
    async def options(body: _WithParty) -> dict[str, Any]:
        return enrolment.passkey_options(locate(body.connection), body.party.relying_party())

    @app.post("/passkeys/enrol")
    async def enrol(body: _NewPasskey) -> dict[str, Any]:
        return factor_view(enrolment.add_passkey(locate(body.connection), body.passkey.plain(), body.name))


def _add_changes(app: FastAPI, locate: Locate, enrolment: Enrolment) -> None:
    @app.post("/factors")
    async def factors(body: PortalRequest) -> dict[str, Any]:
        return overview_view(enrolment.overview(locate(body.connection)))

    @app.post("/factors/rename")
    async def rename(body: _Renamed) -> dict[str, Any]:
        endpoint = locate(body.connection)
        enrolment.rename(endpoint, body.factor, body.name)
        return overview_view(enrolment.overview(endpoint))

    @app.post("/factors/remove")
    async def remove(body: _Named) -> dict[str, Any]:
        enrolment.remove(locate(body.connection), body.factor)
        return {"removed": body.factor}


def _secret(key: bytes, user: str) -> dict[str, Any]:
    """A TOTP key as authenticator apps take it."""
    secret = base64.b32encode(key).decode("ascii")
    return {"secret": secret, "uri": pyotp.TOTP(secret).provisioning_uri(name=user, issuer_name=ISSUER)}


def overview_view(overview: Overview) -> dict[str, Any]:
    """Somebody's factors, JSON-ready and without a secret; recovery codes are only counted."""
    shown = [factor_view(one) for one in overview.factors if not isinstance(one, RecoveryCode)]
    return {
        "user": overview.user,
        "in_file": overview.in_file,
        "factors": shown,
        "recovery_codes": len(overview.factors) - len(shown),
        "needs": overview.needs,
    }


def factor_view(factor: Factor) -> dict[str, Any]:
    """One factor, JSON-ready."""
    view: dict[str, Any] = {"factor": reference(factor), "kind": factor.kind, "created": rfc3339(factor.created)}
    if isinstance(factor, Passkey):
        used = rfc3339_or_none(factor.used)
        view |= {"name": factor.name, "used": used, "synced": factor.synced, "alone": factor.verifies}
    return view
