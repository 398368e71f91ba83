"""Logins by client certificate: what a client has presented in its TLS handshake goes to the controller.

The handshake is the proof that the client has the key. OpenSSL has checked the certificate against the CAs of this
portal by then; whether it is accepted, and whom it names, the controller decides by itself.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from zethane.adapters.http.client_certificate import STATE
from zethane.api.problem_details import problem
from zethane.portal.backend import Answer, Backend
from zethane.portal.forms import connection_of


def add_certificate_login(
    app: FastAPI, backend: Backend, require_json: Callable[[Request], None], answer: Callable[[Answer], JSONResponse]
) -> None:
    """`POST /v1/certificate-login`, with an empty object: all that counts is the connection."""

    @app.post("/v1/certificate-login")
    async def certificate_login(request: Request) -> Response:
        require_json(request)
        chain: tuple[bytes, ...] = request.scope.get("state", {}).get(STATE, ())
        if not chain:
            return problem(403, "Login refused", "no client certificate came with this connection")
        body: dict[str, Any] = {"certificates": [b64encode(one).decode("ascii") for one in chain]}
        return answer(await backend.ask("/certificate-login", connection_of(request), body))
