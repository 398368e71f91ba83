"""An OpenID provider on loopback that does as it should, or lies in any one way that a test asks for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fakes.portal_servers import QuietServer, running
from zethane.identity.sources.oidc import OpenIdProvider

Change = Callable[[dict[str, Any]], None]


class OpenIdServer:
    """One provider with one person. Every list records what was asked; every hook changes what is answered."""

    def __init__(self) -> None:
        self.issuer = ""
        self.clock = time.time
        self.key = ECKey.generate_key("P-256", parameters={"kid": "one", "use": "sig", "alg": "ES256"})
        self.metadata: dict[str, Any] = {}
        self.claims: dict[str, Any] = {"preferred_username": "alice", "groups": ["staff"]}
        self.nonce: str | None = None
        self.tokens: list[dict[str, list[str]]] = []
        self.key_requests = 0
        self.refusal: str | None = None
        self.header: dict[str, Any] = {}
        self.id_token: str | None = None
        self.answer: Callable[[], Response] | None = None
        self.published: list[dict[str, Any]] | None = None
        self.userinfo: dict[str, Any] | None = None
        self.without: tuple[str, ...] = ()

    def settings(self, **more: Any) -> OpenIdProvider:
        return OpenIdProvider.model_validate({"issuer": self.issuer, "client_id": "zethane", **more})

    def token(self, claims: dict[str, Any] | None = None) -> str:
        """An ID token as it should be, but for `self.claims` and `self.without`."""
        now = int(self.clock())
        good = {"iss": self.issuer, "sub": "a1", "aud": "zethane", "exp": now + 300, "iat": now, "auth_time": now}
        if self.nonce is not None:
            good["nonce"] = self.nonce
        every = good | self.claims | (claims or {})
        signed = {name: value for name, value in every.items() if name not in self.without}
        return jwt.encode({"alg": "ES256", "kid": "one", **self.header}, signed, self.key, algorithms=["ES256"])

    async def _metadata(self, _: Request) -> Response:
        good = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/me",
            "device_authorization_endpoint": f"{self.issuer}/device",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "authorization_response_iss_parameter_supported": True,
        }
        return self.answer() if self.answer is not None else JSONResponse(good | self.metadata)

    async def _keys(self, _: Request) -> Response:
        self.key_requests += 1
        return JSONResponse({"keys": [self.key.as_dict(private=False)] if self.published is None else self.published})

    async def _token(self, request: Request) -> Response:
        self.tokens.append(parse_qs((await request.body()).decode()))
        if self.refusal is not None:
            return JSONResponse({"error": self.refusal}, 400)
        token = self.id_token if self.id_token is not None else self.token()
        return JSONResponse({"id_token": token, "access_token": "at", "token_type": "Bearer", "refresh_token": "r1"})

    async def _userinfo(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer at"
        return JSONResponse({"sub": "a1", **(self.userinfo or {})})

    async def _device(self, _: Request) -> Response:
        where = f"{self.issuer}/go"
        return JSONResponse(
            {
                "device_code": "secret-device-code",
                "user_code": "WDJB-MJHT",
                "verification_uri": where,
                "verification_uri_complete": f"{where}?user_code=WDJB-MJHT",
                "expires_in": 600,
                "interval": 5,
            }
        )

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata),
                Route("/jwks", self._keys),
                Route("/token", self._token, methods=["POST"]),
                Route("/me", self._userinfo),
                Route("/device", self._device, methods=["POST"]),
            ]
        )


@asynccontextmanager
async def openid_server() -> AsyncIterator[OpenIdServer]:
    """A provider on a free port of loopback."""
    made = OpenIdServer()
    config = uvicorn.Config(made.app, "127.0.0.1", 0, http="h11", ws="none", log_config=None, lifespan="off")
    server = QuietServer(config)
    async with running(server):
        port = server.servers[0].sockets[0].getsockname()[1]
        made.issuer = f"http://127.0.0.1:{port}"
        yield made
