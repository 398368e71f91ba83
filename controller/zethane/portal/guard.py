"""Which requests the portal takes at all, before any of its pages sees them.

Browsers send what other sites tell them to. A request has to name the portal as its host, so that no foreign
name can be pointed at it (DNS rebinding), and one that changes something has to come from the portal's own
pages or from no page at all.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zethane.identity.attempts import Buckets, Rate

REQUEST_RATE = Rate(60, 0.2)
"""Requests from one address: a page is three, with its style sheet and its script."""

_COOKIE = re.compile(r"[A-Za-z0-9_-]{32}")

MAX_REMOTES = 8192
"""Addresses whose rate is remembered."""

HEADERS = (
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
        b"base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # Not no-referrer: with it, browsers send "Origin: null" with the portal's own forms.
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


class Guard:
    """Refuses requests with a foreign host or origin, and too many of them; adds the headers of every answer.

    `names` are host names that the portal may be called by, beside the address that it is reached at.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], clock: Callable[[], float]) -> None:
        self._app = app
        self._names = frozenset(name.lower().rstrip(".") for name in names)
        self._clock = clock
        self._rate = Buckets(REQUEST_RATE, MAX_REMOTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        remote, now = scope["client"][0], self._clock()
        if self._rate.wait(remote, now) > 0:
            return PlainTextResponse("Too many requests.\n", 429, {"retry-after": "1", "connection": "close"})
        self._rate.take(remote, now)
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own_host(hosts[0], scope):
            return PlainTextResponse("This is not the host that you asked for.\n", 421)
        if scope["method"] not in ("GET", "HEAD") and not _is_own_origin(headers, scope["scheme"]):
            return PlainTextResponse("Another site may not do this.\n", 403)
        return None

    def _is_own_host(self, host: str, scope: Scope) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name = parts.hostname or ""
            port = parts.port or (443 if scope["scheme"] == "https" else 80)
        except ValueError:
            return False
        if parts.netloc != host or port != scope["server"][1]:
            return False
        return name.rstrip(".") in self._names or _same_address(name, scope["server"][0])


def _same_address(one: str, other: str) -> bool:
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False


def _is_own_origin(headers: Headers, scheme: str) -> bool:
    """Whether the page that sent this, if a page did, is the portal's own (RFC 6454; Fetch Metadata)."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.lower() == f"{scheme}://{headers['host']}".lower()


class FormTokens:
    """Ties a form to the browser that it was given to: the form holds what only its cookie can be turned into."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    @staticmethod
    def new_cookie() -> str:
        """A fresh cookie value."""
        return secrets.token_urlsafe(24)

    @staticmethod
    def is_cookie(text: str) -> bool:
        """Whether a cookie has the form of one of ours."""
        return _COOKIE.fullmatch(text) is not None

    def token(self, cookie: str) -> str:
        """What a form holds for this cookie."""
        return hmac.new(self._key, cookie.encode("ascii"), hashlib.sha256).hexdigest()

    def fits(self, cookie: str, token: str) -> bool:
        """Whether form and cookie belong together, compared in constant time."""
        if not self.is_cookie(cookie):
            return False
        return hmac.compare_digest(self.token(cookie).encode("ascii"), token.encode("utf-8", "replace"))
