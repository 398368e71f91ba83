"""The portal as a host's browser, or an attacker's program, sees it."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from attack.scenario import NotHereError
from attack.trial import Trial
from lab.network import PORTAL
from zethane.network.model import Login

_TOKEN = re.compile(r'name="token" value="([^"]+)"')
TIMEOUT = 8.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and text; status 0 if there was no answer, with the reason as text."""

    status: int
    text: str
    cookie: str = ""

    @property
    def json(self) -> Mapping[str, Any]:
        """The body as JSON; nothing if it is none."""
        try:
            told = json.loads(self.text)
        except ValueError:
            return {}
        return told if isinstance(told, dict) else {}


def ask(
    trial: Trial,
    host: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    source: str = "",
    port: int = 0,
    timeout: float = TIMEOUT,
) -> Answer:
    """One request from a host to the portal, from its own or another of its addresses."""
    server, number = trial.ip(PORTAL), port or trial.arena.portal_port

    def exchange() -> Answer:
        connection = http.client.HTTPConnection(server, number, timeout, (source or trial.ip(host), 0))
        try:
            connection.request(method, path, body, dict(headers or {}))
            got = connection.getresponse()
            cookie = (got.getheader("set-cookie") or "").partition(";")[0]
            return Answer(got.status, got.read(100_000).decode(errors="replace"), cookie)
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, f"{type(error).__name__}: {error}")
        finally:
            connection.close()

    return trial.arena.inside(host, exchange)


def post_json(trial: Trial, host: str, path: str, body: Mapping[str, Any], *, source: str = "") -> Answer:
    """A request with a JSON body."""
    headers = {"Content-Type": "application/json"}
    return ask(trial, host, "POST", path, json.dumps(body).encode(), headers, source=source)


def log_in(trial: Trial, host: str, who: Login, *, secret: str = "", source: str = "") -> Answer:
    """A login with a password alone, as `zethane login` makes it."""
    return post_json(trial, host, "/v1/login", {who.kind: who.name, "secret": secret or who.secret}, source=source)


def log_in_by_form(trial: Trial, host: str, who: Login, cookie: str, token: str) -> Answer:
    """A login with the page's form."""
    form = urlencode({"user": who.name, "secret": who.secret, "totp": "", "token": token}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
    return ask(trial, host, "POST", "/login", form, headers)


def form_of(trial: Trial, host: str) -> tuple[str, str]:
    """A cookie and the token of the form that belongs to it."""
    page = ask(trial, host, "GET", "/")
    found = _TOKEN.search(page.text)
    return page.cookie, found[1] if found else ""


def session_seen(trial: Trial, host: str, cookie: str = "") -> str:
    """The session that the portal takes a host for; empty for none."""
    session = ask(trial, host, "GET", "/v1/session", headers={"Cookie": cookie} if cookie else {}).json.get("session")
    return f"session of {session['principal']}" if isinstance(session, dict) else ""


def password_user(trial: Trial, *, kind: str = "") -> tuple[str, Login]:
    """A host, and how it logs in without a second factor. Raises NotHereError."""
    for name, host in trial.arena.network.network.hosts.items():
        if (
            host.login is not None
            and host.login.via == "portal"
            and not host.login.totp
            and kind in ("", host.login.kind)
        ):
            return name, host.login
    raise NotHereError("nobody logs in without a second factor")
