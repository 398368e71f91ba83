"""Single sign-on at the portal: it sends browsers to a provider and hands over what they bring back.

It knows no secret of it, and decides nothing: the controller does, with what the switches say of the connection.
Links and not forms lead to a provider, as its pages may lead on to others that no policy for forms here could name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import Field

from zethane.api.portal_oidc import Handle, ProviderName
from zethane.api.portal_schema import PortalModel
from zethane.portal.backend import Answer, Backend
from zethane.portal.forms import STALE, Forms, connection_of, sentence
from zethane.portal.guard import FormTokens
from zethane.portal.pages import error_page

COOKIE = "zethane-sign-on"

COOKIE_LIFETIME = 900
"""Seconds: longer than a login at the controller may take."""

_HANDED_OVER = ("state", "code", "iss", "error")


class DeviceRequest(PortalModel):
    """A host without a browser asks to be let in."""

    provider: ProviderName | None = None


class DeviceQuestion(PortalModel):
    """It asks whether it was."""

    handle: Annotated[Handle, Field(repr=False)]


def provider_links(token: str, providers: Iterable[Mapping[str, Any]]) -> str:
    """A link for each provider, for the login page; `token` is that of the page's forms."""
    query = urlencode({"token": token})
    return "".join(
        f'<p><a class="button quiet" href="/oidc/{escape(quote(str(one["name"])))}/start?{escape(query)}">'
        f"Log in with {escape(str(one['label']))}</a></p>\n"
        for one in providers
    )


def renewal_links(token: str, session: Mapping[str, Any], providers: Iterable[Mapping[str, Any]]) -> str:
    """For the page of a session that a provider vouches for: how to prove oneself anew there."""
    query = urlencode({"token": token, "fresh": "1"})
    return "".join(
        f'<p><a class="button quiet" href="/oidc/{escape(quote(str(one["name"])))}/start?{escape(query)}">'
        f"Prove yourself again with {escape(str(one['label']))}</a></p>\n"
        for one in providers
        if str(session["name"]).endswith(f"@{one['name']}")
    )


def add_sign_on(app: FastAPI, backend: Backend, forms: Forms) -> None:
    """Add the routes for browsers, and for `zethane login --device`."""
    pages = _SignOn(backend, forms)
    app.add_route("/oidc/{name}/start", pages.start, ["GET"])
    app.add_route("/oidc/callback", pages.callback, ["GET"])

    @app.post("/v1/device")
    async def device(request: Request, body: DeviceRequest) -> Response:
        return _json(await backend.ask("/oidc/device", connection_of(request), body.model_dump(exclude_none=True)))

    @app.post("/v1/device/poll")
    async def poll(request: Request, body: DeviceQuestion) -> Response:
        return _json(await backend.ask("/oidc/device/poll", connection_of(request), body.model_dump()))


class _SignOn:
    """What browsers ask for."""

    def __init__(self, backend: Backend, forms: Forms) -> None:
        self._backend = backend
        self._forms = forms

    async def start(self, request: Request) -> Response:
        """Send a browser to a provider, if it was given the link here."""
        if not self._forms.fits(request, request.query_params.get("token", "")):
            return HTMLResponse(error_page(STALE), 403)
        browser = request.cookies.get(COOKIE, "")
        if not FormTokens.is_cookie(browser):
            browser = FormTokens.new_cookie()
        wanted: dict[str, Any] = {"provider": request.path_params["name"], "browser": browser}
        if request.query_params.get("fresh") == "1":
            wanted["fresh"] = True
        answer = await self._backend.ask("/oidc/start", connection_of(request), wanted)
        if not answer.ok:
            return _failed(answer)
        response = RedirectResponse(str(answer.body["url"]), 303)
        # Lax: it has to come along when the provider sends the browser back.
        response.set_cookie(
            COOKIE,
            browser,
            COOKIE_LIFETIME,
            path="/oidc/",
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return response

    async def callback(self, request: Request) -> Response:
        """Hand over what a browser has brought back."""
        query, browser = request.query_params, request.cookies.get(COOKIE, "")
        brought = {key: query.getlist(key) for key in _HANDED_OVER if key in query}
        if not FormTokens.is_cookie(browser) or "state" not in brought or any(len(v) != 1 for v in brought.values()):
            return HTMLResponse(error_page("This login was not begun in this browser, or too long ago."), 403)
        body = {key: values[0] for key, values in brought.items()}
        answer = await self._backend.ask("/oidc/callback", connection_of(request), {**body, "browser": browser})
        return RedirectResponse("/", 303) if answer.ok else _failed(answer)


def _failed(answer: Answer) -> Response:
    headers = {"retry-after": answer.retry_after} if answer.retry_after else None
    return HTMLResponse(error_page(sentence(answer.detail)), answer.status, headers)


def _json(answer: Answer) -> JSONResponse:
    headers = {"retry-after": answer.retry_after} if answer.retry_after else None
    media = "application/json" if answer.ok else "application/problem+json"
    return JSONResponse(dict(answer.body), answer.status, headers, media)
