"""The portal: a login page for people, and the same as JSON for `zethane login`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from zethane.api.body_limit import BodyLimit
from zethane.api.portal_schema import MAX_BODY, Claim, Proof
from zethane.api.problem_details import problem, validation_problem
from zethane.errors import InputError
from zethane.portal.backend import Answer, Backend, BackendUnavailableError
from zethane.portal.certificate import add_certificate_login
from zethane.portal.factors import FactorPages
from zethane.portal.forms import STALE, Forms, connection_of, sentence
from zethane.portal.guard import Guard
from zethane.portal.pages import STYLE, error_page, login_page, session_page
from zethane.portal.sign_on import add_sign_on, provider_links, renewal_links
from zethane.service.passkey import RelyingParty

Handler = Callable[[Request], Awaitable[Response]]


def create_app(
    backend: Backend,
    names: Collection[str] = (),
    clock: Callable[[], float] = time.monotonic,
    party: RelyingParty | None = None,
) -> FastAPI:
    """The portal's application. `names` are host names that it may be called by, beside its addresses.

    `party` is the one of them that passkeys are for; None: there are none.
    """
    app = FastAPI(title="Zethane portal", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.add_middleware(BodyLimit, limit=MAX_BODY)
    app.add_middleware(Guard, names=names, clock=clock)
    _add_api(app, backend)
    forms = Forms()
    pages = _Pages(backend, forms, party)
    _add_pages(app, pages)
    pages.factors.add_to(app)
    add_sign_on(app, backend, forms)
    _add_error_handlers(app)
    return app


def _add_api(app: FastAPI, backend: Backend) -> None:
    @app.post("/v1/login")
    async def login(request: Request, proof: Proof) -> Response:
        proof.credential()  # what cannot be a credential is told so here, and does not reach the controller
        return _json(await backend.login(connection_of(request), proof))

    @app.post("/v1/logout")
    async def logout(request: Request) -> Response:
        _require_json(request)
        return _json(await backend.logout(connection_of(request)))

    @app.post("/v1/addresses")
    async def addresses(request: Request, claim: Claim) -> Response:
        return _json(await backend.claim(connection_of(request), claim))

    add_certificate_login(app, backend, _require_json, _json)

    @app.get("/v1/session")
    async def session(request: Request) -> Response:
        return _json(await backend.session(connection_of(request)))


def _require_json(request: Request) -> None:
    """Another site's form cannot send this type: a browser would ask first, and get no for an answer."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "expected Content-Type: application/json")


def _json(answer: Answer) -> JSONResponse:
    headers = {"retry-after": answer.retry_after} if answer.retry_after else None
    media = "application/json" if answer.ok else "application/problem+json"
    return JSONResponse(dict(answer.body), answer.status, headers, media)


class _Pages:
    """What people see."""

    def __init__(self, backend: Backend, forms: Forms, party: RelyingParty | None) -> None:
        self._backend = backend
        self._forms = forms
        self._providers: list[Mapping[str, Any]] = []
        self.factors = FactorPages(backend, forms, party, self._show)

    async def home(self, request: Request) -> Response:
        """The form, or the session of who is logged in."""
        return await self._show(request, 200)

    async def login(self, request: Request) -> Response:
        """Take the login form."""
        form = await self._forms.read(request)
        if form is None:
            return await self._show(request, 403, STALE)
        user = form.get("user", "")
        try:
            code = form.get("totp", "").replace(" ", "") or None
            proof = Proof.model_validate({"user": user, "secret": form.get("secret", ""), "totp": code})
            proof.credential()
        except (ValidationError, InputError):
            # The form has the bounds already: a browser does not send such a thing.
            return self._login_page(request, 422, "Check name, password and code.")
        answer = await self._backend.login(connection_of(request), proof)
        if answer.ok:
            return RedirectResponse("/", 303)
        return self._login_page(request, answer.status, sentence(answer.detail), user)

    async def logout(self, request: Request) -> Response:
        """Take the logout form."""
        if await self._forms.read(request) is None:
            return await self._show(request, 403, STALE)
        answer = await self._backend.logout(connection_of(request))
        if answer.ok:
            return RedirectResponse("/", 303)
        return await self._show(request, answer.status, sentence(answer.detail))

    async def style(self, _: Request) -> Response:
        """The style sheet."""
        return Response(STYLE, media_type="text/css")

    async def _show(self, request: Request, status: int, error: str = "") -> Response:
        answer = await self._backend.session(connection_of(request))
        if not answer.ok:
            return HTMLResponse(error_page(sentence(answer.detail)), answer.status)
        session = answer.body.get("session")
        if session is None:
            self._providers = answer.body.get("providers", [])
            return self._login_page(request, status, error)
        more = await self.factors.beside_session(request, session)
        providers = answer.body.get("providers", [])

        def make(token: str) -> str:
            return session_page(token, session, error, more(token) + renewal_links(token, session, providers))

        return self._forms.page(request, make, status)

    def _login_page(self, request: Request, status: int, error: str = "", user: str = "") -> Response:
        more = self.factors.beside_login(request)

        def make(token: str) -> str:
            return login_page(token, error, user, more(token) + provider_links(token, self._providers))

        return self._forms.page(request, make, status)


def _add_pages(app: FastAPI, pages: _Pages) -> None:
    app.add_route("/", pages.home, ["GET"])
    app.add_route("/login", pages.login, ["POST"])
    app.add_route("/logout", pages.logout, ["POST"])
    app.add_route("/style.css", pages.style, ["GET"])


def _add_error_handlers(app: FastAPI) -> None:
    async def on_error(request: Request, error: Exception) -> Response:
        if isinstance(error, RequestValidationError):
            return validation_problem(error)
        if isinstance(error, InputError):
            return problem(422, "The request is wrong", str(error))
        if isinstance(error, BackendUnavailableError):
            return _failed(request, 503, "Not available", str(error), {"retry-after": "5"})
        if isinstance(error, HTTPException):
            return _failed(request, error.status_code, "The request is wrong", str(error.detail), error.headers)
        raise error

    for kind in (RequestValidationError, HTTPException, InputError, BackendUnavailableError):
        app.add_exception_handler(kind, on_error)


def _failed(request: Request, status: int, title: str, detail: str, headers: object) -> Response:
    known = {str(key): str(value) for key, value in headers.items()} if isinstance(headers, dict) else None
    if request.url.path.startswith("/v1/"):
        return problem(status, title, detail, known)
    return HTMLResponse(error_page(sentence(detail)), status, known)
