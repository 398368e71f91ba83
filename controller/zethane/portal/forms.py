"""Forms that a browser was given, and pages that hold them: what all of the portal's pages share."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from zethane.api.portal_schema import Connection
from zethane.portal.guard import FormTokens

COOKIE = "zethane-form"

STALE = "This form was not made for this browser, or is too old."

MAX_FIELDS = 8


def connection_of(request: Request) -> Connection:
    """The connection that a request came over, as the socket has it. No header has a say."""
    client, server = request.scope["client"], request.scope["server"]
    return Connection(remote=client[0], remote_port=client[1], local=server[0], local_port=server[1])


def sentence(text: str) -> str:
    """A message as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."


class Forms:
    """Ties every form to the browser that it was given to."""

    def __init__(self) -> None:
        self._tokens = FormTokens()

    async def read(self, request: Request) -> dict[str, str] | None:
        """The fields of a form that this browser was given; None if it was not."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            return None
        try:
            # Strictly: a body that is no form, or has a field twice, was not made by a browser.
            text = (await request.body()).decode("ascii")
            fields = parse_qs(
                text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=MAX_FIELDS
            )
        except ValueError:
            return None
        form = {key: values[0] for key, values in fields.items() if len(values) == 1}
        fits = self._tokens.fits(request.cookies.get(COOKIE, ""), form.get("token", ""))
        return form if fits and len(form) == len(fields) else None

    def fits(self, request: Request, token: str) -> bool:
        """Whether a link's token was given to this browser."""
        return self._tokens.fits(request.cookies.get(COOKIE, ""), token)

    def page(self, request: Request, make: Callable[[str], str], status: int = 200) -> Response:
        """A page made with the token for the forms in it, and the cookie that the token belongs to."""
        cookie = request.cookies.get(COOKIE, "")
        if not self._tokens.is_cookie(cookie):
            cookie = self._tokens.new_cookie()
        response = HTMLResponse(make(self._tokens.token(cookie)), status)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", secure=secure)
        return response
