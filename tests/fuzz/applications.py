"""Targets: the operators' API, the portal, and the portal's back end, as ASGI applications.

A request is written in bytes as HTTP/1.1 would: a line with method and target, headers, an empty line, a body.
The HTTP parser in front of the applications is not part of this; what it refuses is not sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from fakes.authenticator import Authenticator
from fakes.operated import Operated
from fakes.portal_site import PortalSite, directory
from fakes.records import MemoryStore
from fuzz.target import Target
from zethane.api.app import create_app as create_api
from zethane.api.portal_backend import create_app as create_backend
from zethane.api.portal_schema import Claim, Connection, Proof
from zethane.identity.proof import Proof as SessionProof
from zethane.portal.app import create_app as create_portal
from zethane.portal.backend import Answer
from zethane.portal.guard import HEADERS
from zethane.service.authentication import Authenticator as Logins
from zethane.service.enrolment import Enrolment
from zethane.service.passkey import RelyingParty

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SERVER = ("10.0.0.254", 8080)
_STATUSES = range(200, 500)
_UNAVAILABLE = 503
HANGS = 30.0
"""Seconds after which a request counts as never answered."""


@dataclass
class Exchange:
    """One request, and what the application has answered."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: list[bytes]
    sent: list[dict[str, Any]] = field(default_factory=list)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def scope(self) -> dict[str, Any]:
        path, _, query = self.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": self.headers,
            "client": ("10.0.0.21", 40000),
            "server": _SERVER,
            "state": {},
        }

    async def receive(self) -> dict[str, Any]:
        if self.body:
            part = self.body.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self.body)}
        await self.answered.wait()  # who leaves before gets no more of a list that is sent in pieces
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.answered.set()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])


def read_request(data: bytes) -> Exchange | None:
    """The request in some bytes; None for what h11 does not let through."""
    head, _, body = data.partition(b"\n\n")
    line, *rest = head.split(b"\n")
    method, _, target = line.partition(b" ")
    if not method or not set(method) <= _TOKEN or not target.startswith(b"/") or not _visible(target):
        return None
    headers = []
    for header in rest:
        name, colon, value = header.partition(b":")
        value = value.strip(b" \t")
        if not colon or not name or not set(name) <= _TOKEN or not set(value).isdisjoint(b"\0\r\n\x0b\x0c"):
            return None
        name = name.lower()
        if name == b"content-length" and (not value.isdigit() or len(value) > 20):
            return None
        headers.append((name, value))
    half = len(body) // 2
    return Exchange(method.decode(), target, headers, [body[:half], body[half:]])


def _visible(target: bytes) -> bool:
    return all(0x21 <= byte <= 0x7E for byte in target)


def _check(make: Callable[[], Any], *, guarded: bool = False) -> Callable[[bytes], None]:
    """A check that an application answers every request once and whole, and never with a failure of its own."""

    def check(data: bytes) -> None:
        exchange = read_request(data)
        if exchange is None:
            return
        is_stream = exchange.target.partition(b"?")[0].endswith(b"/stream")
        if is_stream:
            return  # an answer that never ends
        asyncio.run(asyncio.wait_for(make()(exchange.scope(), exchange.receive, exchange.send), HANGS))
        assert [message["type"] for message in exchange.sent[:1]] == ["http.response.start"]
        assert all(message["type"] == "http.response.body" for message in exchange.sent[1:])
        assert not exchange.sent[-1].get("more_body", False)
        assert exchange.status in _STATUSES or exchange.status == _UNAVAILABLE, exchange.sent
        headers = exchange.sent[0]["headers"]
        assert all(b"\n" not in value and b"\r" not in value for _, value in headers)
        assert not guarded or set(HEADERS) <= set(headers)

    return check


class _Controller:
    """A back end for the portal that knows one login."""

    async def login(self, connection: Connection, proof: Proof) -> Answer:
        assert connection.remote == "10.0.0.21", "only the socket says where a request comes from"
        if proof.secret.get_secret_value() == "lab-bob":
            return Answer(200, {"session": 1})
        return Answer(401, {"detail": "name, password or code is wrong"}, "3")

    async def logout(self, connection: Connection) -> Answer:
        assert connection.remote_port == 40000
        return Answer(409, {"detail": "nobody is logged in at this address"})

    async def claim(self, connection: Connection, claim: Claim) -> Answer:
        assert connection.local == _SERVER[0]
        return Answer(200 if claim.token.get_secret_value() == "right" else 401, {"session": 1})

    async def session(self, connection: Connection) -> Answer:
        assert connection.local_port == _SERVER[1]
        return Answer(200, {"session": None})

    async def ask(self, path: str, connection: Connection, body: Mapping[str, Any]) -> Answer:
        assert connection.remote == "10.0.0.21"
        assert json.dumps(body)
        return Answer(200, {"interval": 5.0}) if path == "/oidc/device/poll" else Answer(403, {"detail": "refused"})


def _api() -> Any:
    return create_api(Operated())


def _portal() -> Any:
    party = RelyingParty("portal.example", "http://portal.example:8080")
    return create_portal(_Controller(), ("portal.example",), party=party)


_ASKED = {"challenge": "AAAA", "rp": {"id": "portal.example"}, "user": {"id": "AA"}}
_DEVICE = Authenticator()
_MADE, _FOUND = _DEVICE.create(_ASKED), _DEVICE.get(_ASKED)  # once: a signature is another each time


def _backend() -> Any:
    """With bob logged in at the requests' endpoint, and a passkey whose challenges are not to be guessed."""
    site, store = PortalSite(), MemoryStore()
    bob = SessionProof("user", "bob", "portal", site.now, ("pwd",))
    site.start_session(site.place, bob, bytes((10, 0, 0, 21)))
    authenticator = Locked(site, store)
    enrolment = Enrolment(site, authenticator, store, site.clock, site.factor_changed)
    return create_backend(site, authenticator, site.clock, enrolment=enrolment)


class Locked(Logins):
    """Refuses every login without the work of checking a password."""

    def __init__(self, site: PortalSite, store: MemoryStore) -> None:
        super().__init__(site, directory(), store, site.clock, ThreadPoolExecutor(1), site.refused)

    async def login(self, endpoint: Any, credential: Any) -> Any:  # noqa: ARG002  # the Authenticator's signature
        from zethane.errors import AuthenticationError

        raise AuthenticationError("name, password or code is wrong")


def _request(line: str, body: bytes = b"", **headers: str) -> bytes:
    named = {"host": f"{_SERVER[0]}:{_SERVER[1]}", **headers}
    if body:
        named["content-length"] = str(len(body))
    lines = [line, *(f"{name.replace('_', '-')}: {value}" for name, value in named.items())]
    return "\n".join(lines).encode() + b"\n\n" + body


def _json(line: str, body: Any) -> bytes:
    return _request(line, json.dumps(body).encode(), content_type="application/json")


def seed_api() -> dict[str, bytes]:
    gets = ("sessions", "sessions/1", "flows?session=1&limit=3", "decisions?limit=5", "policy", "switches", "health")
    seeds = {name.partition("?")[0].replace("/", "-"): _request(f"GET /v1/{name}") for name in gets}
    return seeds | {
        "metrics": _request("GET /v1/metrics"),
        "counters": _request("GET /v1/counters"),
        "openapi": _request("GET /v1/openapi.json"),
        "explain": _request("GET /v1/explain?from=laptop&to=web1&service=tcp/443"),
        "end": _request("DELETE /v1/sessions/1"),
        "reload": _request("POST /v1/policy/reload"),
        "revoke": _json("POST /v1/revoke", {"principal": "user:alice"}),
        "revoke-session": _json("POST /v1/revoke", {"session": 1}),
        "revoke-address": _json("POST /v1/revoke", {"address": "10.0.0.21"}),
    }


_FORM = "application/x-www-form-urlencoded"
_COOKIE = "zethane-form=" + "A" * 32


def seed_portal() -> dict[str, bytes]:
    form = b"token=" + b"0" * 64 + b"&user=bob&secret=lab-bob&totp=123456"
    return {
        "home": _request("GET /"),
        "home-cookie": _request("GET /", cookie=_COOKIE),
        "style": _request("GET /style.css"),
        "form": _request("POST /login", form, content_type=_FORM, cookie=_COOKIE, origin="http://10.0.0.254:8080"),
        "logout-form": _request("POST /logout", b"token=1", content_type=_FORM, cookie=_COOKIE),
        "login": _json("POST /v1/login", {"user": "bob", "secret": "lab-bob", "totp": None}),
        "workload": _json("POST /v1/login", {"workload": "web1", "secret": "x"}),
        "logout": _json("POST /v1/logout", {}),
        "claim": _json("POST /v1/addresses", {"token": "right"}),
        "session": _request("GET /v1/session", host="portal.example:8080"),
        "other-site": _request("POST /v1/logout", sec_fetch_site="cross-site"),
        "nowhere": _request("GET /v1/nowhere"),
        "script": _request("GET /passkeys.js"),
        "factors": _request("GET /factors", cookie=_COOKIE),
        "options": _json("POST /passkeys/login-options", {}),
        "prove": _request("POST /prove", b"token=1&code=123456&back=/", content_type=_FORM, cookie=_COOKIE),
        "sign-on": _request("GET /oidc/corp/start?token=0", cookie=_COOKIE),
        "callback": _request("GET /oidc/callback?state=s&code=c&iss=i", cookie="zethane-sign-on=" + "A" * 32),
        "device": _json("POST /v1/device", {"provider": "corp"}),
        "device-poll": _json("POST /v1/device/poll", {"handle": "x"}),
    }


def seed_backend() -> dict[str, bytes]:
    connection = {"remote": "10.0.0.21", "remote_port": 40000, "local": _SERVER[0], "local_port": _SERVER[1]}
    proof = {"user": "bob", "secret": "lab-bob", "totp": "123456"}
    return {
        "login": _json("POST /login", {"connection": connection, "proof": proof}),
        "claim": _json("POST /addresses", {"connection": connection, "claim": {"token": "x"}}),
        "logout": _json("POST /logout", {"connection": connection}),
        "session": _json("POST /session", {"connection": {**connection, "remote": "2001:db8::21"}}),
        **_seed_factors(connection),
    }


def _seed_factors(connection: dict[str, Any]) -> dict[str, bytes]:
    party = {"id": "portal.example", "origin": "https://portal.example"}
    bodies: dict[str, dict[str, Any]] = {
        "passkeys/login-options": {"party": party},
        "passkeys/prove-options": {"party": party},
        "passkeys/enrol-options": {"party": party},
        "passkeys/login": {"passkey": _FOUND},
        "passkeys/enrol": {"passkey": _MADE, "name": "x"},
        "prove": {"factor": {"code": "123456"}},
        "factors": {},
        "factors/totp/offer": {},
        "factors/totp/confirm": {"code": "123456"},
        "factors/recovery": {},
        "factors/rename": {"factor": "passkey:0", "name": "x"},
        "factors/remove": {"factor": "totp:0"},
    }
    return {
        name.replace("/", "-"): _json(f"POST /{name}", {"connection": connection, **body})
        for name, body in bodies.items()
    }


TARGETS = (
    Target("api", _check(_api), seed_api, 4096),
    Target("portal", _check(_portal, guarded=True), seed_portal, 4096),
    Target("portal-backend", _check(_backend), seed_backend, 4096),
)
