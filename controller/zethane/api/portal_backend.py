"""What the portal may ask of the controller, on a unix socket of its own. It leads to nothing else.

Every request names the connection that the client has to the portal; the switches say where that connection
comes from, and that is the endpoint.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from zethane.api.body_limit import BodyLimit
from zethane.api.portal_certificate import certificate_router
from zethane.api.portal_factors import add_factors
from zethane.api.portal_oidc import sign_on_router
from zethane.api.portal_schema import MAX_BODY, Connection, Locate, PortalClaim, PortalLogin, PortalRequest, Tell
from zethane.api.problem_details import problem, validation_problem
from zethane.audit.record import rfc3339, rfc3339_or_none
from zethane.errors import AuthenticationError, CapacityError, InputError, SessionError, ZethaneError
from zethane.identity.proof import Proof
from zethane.identity.session import Endpoint, Session
from zethane.service.authentication import Authenticator, LoginLimitError
from zethane.service.certificate_login import CertificateLogin
from zethane.service.claims import ClaimTokens
from zethane.service.enrolment import Enrolment
from zethane.service.facade import ControllerFacade
from zethane.service.sign_on import SignOn

_log = structlog.get_logger("zethane.portal")

UNKNOWN_CONNECTION = "no switch carries this connection"


class UnknownConnectionError(ZethaneError):
    """No switch carries the connection that a request claims to have come over."""


def create_app(
    facade: ControllerFacade,
    authenticator: Authenticator,
    clock: Callable[[], float] = time.monotonic,
    certificates: CertificateLogin | None = None,
    sign_on: SignOn | None = None,
    enrolment: Enrolment | None = None,
) -> FastAPI:
    """The portal's back end. `clock` times the tokens for further addresses; `certificates` is the login by those,
    `sign_on` that at OpenID providers. Without `enrolment` there are no second factors but those of identities.yaml.
    """
    app = FastAPI(title="Zethane portal back end", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(BodyLimit, limit=2 * MAX_BODY)
    _add_error_handlers(app)
    tokens = ClaimTokens(clock)

    def locate(connection: Connection) -> Endpoint:
        return _locate(facade, connection)

    def answer(session: Session) -> dict[str, Any]:
        return {**session_view(session), "token": tokens.issue(session.number)}

    if enrolment is not None:
        add_factors(app, locate, authenticator, enrolment, answer)
    _add_login(app, authenticator, locate, answer)
    _add_addresses(app, facade, tokens, locate, answer)
    _add_session(app, facade, sign_on, locate)
    app.include_router(certificate_router(certificates, locate, answer))
    if sign_on is not None:
        app.include_router(sign_on_router(sign_on, locate, answer))
    return app


def _add_login(app: FastAPI, authenticator: Authenticator, locate: Locate, answer: Tell) -> None:
    @app.post("/login")
    async def login(body: PortalLogin) -> dict[str, Any]:
        credential = body.proof.credential()
        endpoint = locate(body.connection)
        return answer(await authenticator.login(endpoint, credential))


def _add_addresses(app: FastAPI, facade: ControllerFacade, tokens: ClaimTokens, locate: Locate, answer: Tell) -> None:
    @app.post("/addresses")
    async def addresses(body: PortalClaim) -> dict[str, Any]:
        endpoint = locate(body.connection)
        number = tokens.redeem(body.claim.token.get_secret_value())
        if number is None:
            raise AuthenticationError("the token is unknown, used or too old; log in again")
        return answer(facade.claim_address(endpoint, number))


def _add_session(app: FastAPI, facade: ControllerFacade, sign_on: SignOn | None, locate: Locate) -> None:
    @app.post("/session")
    async def session(body: PortalRequest) -> dict[str, Any]:
        found = facade.session_at(locate(body.connection))
        providers = sign_on.labels() if sign_on is not None else []
        if found is None:
            return {"session": None, "providers": providers}
        view = {**session_view(found), "wanting": list(facade.wanting(found.number))}
        return {"session": view, "providers": providers}

    @app.post("/logout")
    async def logout(body: PortalRequest) -> dict[str, Any]:
        session = facade.session_at(locate(body.connection))
        if session is None or not facade.logout(session.number):
            raise SessionError("nobody is logged in at this address")
        return {"session": session.number}


def session_view(session: Session) -> dict[str, Any]:
    """A session for those whom it belongs to. Times are RFC 3339, UTC; `ends` is when it stops to work."""
    return {
        "session": session.number,
        "principal": f"{session.principal.kind}:{session.principal.name}",
        "kind": session.principal.kind,
        "name": session.principal.name,
        "segment": session.segment,
        "methods": list(session.methods),
        "mfa": session.principal.mfa,
        "aal": session.aal,
        "proofs": [_proof_view(proof) for proof in session.proofs],
        "mfa_at": rfc3339_or_none(session.principal.mfa_at),
        "addresses": [str(ipaddress.ip_address(address)) for address in session.addresses],
        "device": session.device,
        "started": rfc3339(session.started),
        "expires": rfc3339(session.expires),
        "reauthenticate": rfc3339(session.reauthenticate),
        "ends": rfc3339(session.ends),
    }


def _proof_view(proof: Proof) -> dict[str, Any]:
    """What one of the session's principals may know of the others: who, by which method, since when, until when."""
    return {
        "account": proof.account,
        "method": proof.method,
        "authenticated": rfc3339(proof.at),
        "ends": rfc3339(proof.ends),
    }


def _locate(facade: ControllerFacade, connection: Connection) -> Endpoint:
    remote, local = (ipaddress.ip_address(text).packed for text in (connection.remote, connection.local))
    endpoint = facade.locate(remote, connection.remote_port, local, connection.local_port)
    if endpoint is None:
        _log.warning("connection-unknown", remote=connection.remote, port=connection.remote_port)
        raise UnknownConnectionError(UNKNOWN_CONNECTION)
    return endpoint


_STATUS: tuple[tuple[type[ZethaneError], int, str], ...] = (
    (InputError, 422, "The request is wrong"),
    (UnknownConnectionError, 403, "Unknown connection"),
    (AuthenticationError, 403, "Login refused"),
    (LoginLimitError, 429, "Too many attempts"),
    (CapacityError, 503, "No room"),
    (SessionError, 409, "No session"),
)
"""The first class that fits gives status and title. 403, not 401: HTTP's own authentication is not used."""


def zethane_problem(error: ZethaneError) -> JSONResponse:
    """The problem details of an error that was raised on purpose."""
    headers = {"retry-after": str(error.retry_after)} if isinstance(error, LoginLimitError) else None
    for kind, status, title in _STATUS:
        if isinstance(error, kind):
            return problem(status, title, str(error), headers)
    return problem(500, "Failed", str(error))


Handler = Callable[[Request, Exception], Awaitable[JSONResponse]]


def _add_error_handlers(app: FastAPI) -> None:
    async def on_error(_: Request, error: Exception) -> JSONResponse:
        if isinstance(error, RequestValidationError):
            return validation_problem(error)
        if isinstance(error, HTTPException):
            return problem(error.status_code, "The request is wrong", str(error.detail), error.headers)
        if isinstance(error, ZethaneError):
            return zethane_problem(error)
        raise error

    for kind in (RequestValidationError, HTTPException, ZethaneError):
        app.add_exception_handler(kind, on_error)
