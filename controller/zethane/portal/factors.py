"""Second factors at the portal: logging in by passkey, proving a factor again, and changing one's own."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import ValidationError

from zethane.api.portal_factors import PasskeyAnswer
from zethane.api.portal_schema import Proof
from zethane.api.problem_details import problem
from zethane.errors import InputError
from zethane.portal.backend import Answer, Backend
from zethane.portal.factor_pages import Place, factors_page, login_extra, recovery_page, session_extra, totp_page
from zethane.portal.forms import STALE, Forms, connection_of, sentence
from zethane.service.passkey import RelyingParty

SCRIPT = files("zethane.portal").joinpath("passkeys.js").read_bytes()

OPTIONS = ("login-options", "prove-options", "enrol-options")

BACK = ("/", "/factors")
"""Where a browser may want to go on after a proof."""

Home = Callable[[Request, int, str], Awaitable[Response]]


class FactorPages:
    """What people see of their second factors. `party` is what passkeys are for; None: there can be none."""

    def __init__(self, backend: Backend, forms: Forms, party: RelyingParty | None, home: Home) -> None:
        self._backend = backend
        self._forms = forms
        self._party = party
        self._home = home

    def add_to(self, app: FastAPI) -> None:
        """Add the routes."""
        app.add_route("/passkeys.js", self.script, ["GET"])
        app.add_route("/passkeys/login", self.login, ["POST"])
        for name in OPTIONS:
            app.add_route(f"/passkeys/{name}", self.options, ["POST"])
        app.add_route("/prove", self.prove, ["POST"])
        app.add_route("/factors", self.show, ["GET"])
        app.add_route("/factors/password", self.password, ["POST"])
        app.add_route("/factors/passkey", self.add_passkey, ["POST"])
        app.add_route("/factors/totp", self.offer_totp, ["POST"])
        app.add_route("/factors/totp", self.show_totp, ["GET"])
        app.add_route("/factors/totp/confirm", self.confirm_totp, ["POST"])
        app.add_route("/factors/recovery", self.recovery, ["POST"])
        app.add_route("/factors/rename", self.rename, ["POST"])
        app.add_route("/factors/remove", self.remove, ["POST"])

    # parts of other pages

    def place(self, request: Request) -> Place:
        """Whether passkeys work where this request was made: by the name that they are for."""
        if self._party is None:
            return Place(here=False)
        own = f"{request.url.scheme}://{request.headers['host']}".lower() == self._party.origin
        return Place(own, f"{self._party.origin}/")

    def beside_login(self, request: Request) -> Callable[[str], str]:
        """What goes under the login form, by the token of the form."""
        place = self.place(request)
        return lambda token: login_extra(token, place)

    async def beside_session(self, request: Request, session: Mapping[str, Any]) -> Callable[[str], str]:
        """What goes under the session, by the token of the form."""
        answer = await self._ask(request, "/factors")
        factors, place = answer.body if answer.ok else None, self.place(request)
        return lambda token: session_extra(token, factors, session.get("wanting", ()), place)

    # passkeys and proofs

    async def script(self, _: Request) -> Response:
        """The script that asks the browser for passkeys."""
        return Response(SCRIPT, media_type="text/javascript")

    async def options(self, request: Request) -> Response:
        """What the script needs to ask. Other sites' forms cannot send this type."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return problem(415, "The request is wrong", "expected Content-Type: application/json")
        if self._party is None or not self.place(request).here:
            return problem(409, "Not here", "passkeys do not work at this address")
        party = {"id": self._party.id, "origin": self._party.origin}
        answer = await self._ask(request, request.url.path, party=party)
        return JSONResponse(dict(answer.body), answer.status)

    async def login(self, request: Request) -> Response:
        """Take the answer of a passkey that logs its user in."""
        form = await self._forms.read(request)
        passkey = _passkey(form)
        if form is None or passkey is None:
            return await self._home(request, 403, STALE)
        answer = await self._ask(request, "/passkeys/login", passkey=passkey)
        if answer.ok:
            return RedirectResponse("/", 303)
        detail = "the passkey is not known here" if answer.status == 403 else answer.detail
        return await self._home(request, answer.status, sentence(detail))

    async def prove(self, request: Request) -> Response:
        """Take a second factor of who is logged in."""
        form = await self._forms.read(request)
        if form is None:
            return await self._home(request, 403, STALE)
        back = form.get("back", "/")
        passkey = _passkey(form)
        factor = {"passkey": passkey} if passkey is not None else {"code": form.get("code", "")[:32]}
        answer = await self._ask(request, "/prove", factor=factor)
        if answer.ok:
            return RedirectResponse(back if back in BACK else "/", 303)
        detail = "the code or passkey is wrong" if answer.status in (403, 422) else answer.detail
        show = self._factors if back == "/factors" else self._home
        return await show(request, answer.status, sentence(detail))

    # one's own factors

    async def show(self, request: Request) -> Response:
        """All of them."""
        return await self._factors(request, 200, "")

    async def _factors(self, request: Request, status: int, error: str) -> Response:
        answer = await self._ask(request, "/factors")
        if not answer.ok:
            return RedirectResponse("/", 303)
        place = self.place(request)
        return self._forms.page(request, lambda token: factors_page(token, answer.body, place, error), status)

    async def password(self, request: Request) -> Response:
        """Take the password of who has no second factor yet."""
        form = await self._forms.read(request)
        if form is None:
            return await self._factors(request, 403, STALE)
        try:
            proof = Proof.model_validate({"user": form.get("user", ""), "secret": form.get("secret", "")})
            proof.credential()
        except (ValidationError, InputError):
            return await self._factors(request, 422, "Check the password.")
        answer = await self._backend.login(connection_of(request), proof)
        if answer.ok:
            return RedirectResponse("/factors", 303)
        return await self._factors(request, answer.status, sentence(answer.detail))

    async def add_passkey(self, request: Request) -> Response:
        """Take the passkey that a browser has made."""
        form = await self._forms.read(request)
        passkey = _passkey(form)
        if form is None or passkey is None:
            return await self._factors(request, 403, STALE)
        answer = await self._ask(request, "/passkeys/enrol", passkey=passkey, name=form.get("name", ""))
        return await self._changed(request, answer)

    async def offer_totp(self, request: Request) -> Response:
        """Begin with an authenticator app."""
        if await self._forms.read(request) is None:
            return await self._factors(request, 403, STALE)
        answer = await self._ask(request, "/factors/totp/offer")
        return RedirectResponse("/factors/totp", 303) if answer.ok else await self._changed(request, answer)

    async def show_totp(self, request: Request) -> Response:
        """The secret that was begun with."""
        return await self._totp(request, 200, "")

    async def _totp(self, request: Request, status: int, error: str) -> Response:
        answer = await self._ask(request, "/factors/totp/shown")
        secret, uri = answer.body.get("secret"), answer.body.get("uri")
        if not answer.ok or secret is None:
            return RedirectResponse("/factors", 303)
        return self._forms.page(request, lambda token: totp_page(token, str(secret), str(uri), error), status)

    async def confirm_totp(self, request: Request) -> Response:
        """Take the first code of an authenticator app."""
        form = await self._forms.read(request)
        if form is None:
            return await self._totp(request, 403, STALE)
        answer = await self._ask(request, "/factors/totp/confirm", code=form.get("code", "")[:32])
        if answer.ok:
            return RedirectResponse("/factors", 303)
        detail = "the code has six digits" if answer.status == 422 else answer.detail
        return await self._totp(request, answer.status, sentence(detail))

    async def recovery(self, request: Request) -> Response:
        """Show new recovery codes, once."""
        if await self._forms.read(request) is None:
            return await self._factors(request, 403, STALE)
        answer = await self._ask(request, "/factors/recovery")
        if not answer.ok:
            return await self._changed(request, answer)
        codes = [str(code) for code in answer.body.get("codes", ())]
        return self._forms.page(request, lambda _: recovery_page(codes))

    async def rename(self, request: Request) -> Response:
        """Give a passkey another name."""
        form = await self._forms.read(request)
        if form is None:
            return await self._factors(request, 403, STALE)
        named = {"factor": form.get("factor", ""), "name": form.get("name", "")}
        return await self._changed(request, await self._ask(request, "/factors/rename", **named))

    async def remove(self, request: Request) -> Response:
        """Remove a factor."""
        form = await self._forms.read(request)
        if form is None:
            return await self._factors(request, 403, STALE)
        return await self._changed(request, await self._ask(request, "/factors/remove", factor=form.get("factor", "")))

    async def _changed(self, request: Request, answer: Answer) -> Response:
        if answer.ok:
            return RedirectResponse("/factors", 303)
        return await self._factors(request, answer.status, sentence(answer.detail))

    async def _ask(self, request: Request, path: str, **body: Any) -> Answer:
        return await self._backend.ask(path, connection_of(request), body)


def _passkey(form: Mapping[str, str] | None) -> dict[str, Any] | None:
    """The passkey's answer that a form holds; None if it holds none."""
    try:
        answer = json.loads((form or {}).get("answer", ""))
        return PasskeyAnswer.model_validate(answer).plain()
    except (ValueError, RecursionError):
        return None
