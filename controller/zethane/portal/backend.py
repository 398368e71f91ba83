"""The portal's way to the controller: a unix socket that leads to the portal's back end and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from zethane.api.portal_schema import Claim, Connection, Proof
from zethane.errors import ZethaneError

CONNECT_TIMEOUT = 2.0
ANSWER_TIMEOUT = 20.0
"""Seconds; a login may have to wait for the passwords of others to be checked."""

MAX_REQUESTS = 48
"""Requests to the controller at once, above what it takes of pending logins."""


class BackendUnavailableError(ZethaneError):
    """The controller does not answer, or not in a way that makes sense."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The controller's answer: an HTTP status and a JSON object, problem details (RFC 9457) if it is an error."""

    status: int
    body: Mapping[str, Any]
    retry_after: str | None = None

    @property
    def ok(self) -> bool:
        """Whether what was asked has been done."""
        return self.status == 200

    @property
    def detail(self) -> str:
        """What went wrong, in words."""
        return str(self.body.get("detail", "the request failed"))


class Backend(Protocol):
    """What the portal asks of the controller. All raise BackendUnavailableError."""

    async def login(self, connection: Connection, proof: Proof) -> Answer:
        """Log in whoever is at the connection's other end."""

    async def logout(self, connection: Connection) -> Answer:
        """Log them out."""

    async def claim(self, connection: Connection, claim: Claim) -> Answer:
        """Add the address at the connection's other end to a session."""

    async def session(self, connection: Connection) -> Answer:
        """The session of whoever is there: `{"session": {…} | null}`."""

    async def ask(self, path: str, connection: Connection, body: Mapping[str, Any]) -> Answer:
        """What else there is to ask, by its path at the controller: `body` without the connection."""


class ControllerBackend:
    """The back end behind a unix socket. Use it as an asynchronous context manager."""

    def __init__(self, socket: Path) -> None:
        limits = httpx.Limits(max_connections=MAX_REQUESTS, max_keepalive_connections=8)
        self._client = httpx.AsyncClient(
            base_url="http://controller",
            transport=httpx.AsyncHTTPTransport(uds=str(socket), limits=limits),
            timeout=httpx.Timeout(ANSWER_TIMEOUT, connect=CONNECT_TIMEOUT, pool=CONNECT_TIMEOUT),
            trust_env=False,
        )

    async def __aenter__(self) -> ControllerBackend:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def login(self, connection: Connection, proof: Proof) -> Answer:
        """Log in whoever is at the connection's other end."""
        secrets = {"secret": proof.secret.get_secret_value()}
        if proof.totp is not None:
            secrets["totp"] = proof.totp.get_secret_value()
        who = proof.model_dump(include={"user", "workload"}, exclude_none=True)
        return await self.ask("/login", connection, {"proof": who | secrets})

    async def logout(self, connection: Connection) -> Answer:
        """Log them out."""
        return await self.ask("/logout", connection, {})

    async def claim(self, connection: Connection, claim: Claim) -> Answer:
        """Add the address at the connection's other end to a session."""
        return await self.ask("/addresses", connection, {"claim": {"token": claim.token.get_secret_value()}})

    async def session(self, connection: Connection) -> Answer:
        """The session of whoever is there."""
        return await self.ask("/session", connection, {})

    async def ask(self, path: str, connection: Connection, body: Mapping[str, Any]) -> Answer:
        """The answer to any other request."""
        try:
            response = await self._client.post(path, json={"connection": connection.model_dump(), **body})
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise BackendUnavailableError("the controller does not answer; try again in a minute") from error
        if not isinstance(answer, dict):
            raise BackendUnavailableError("the controller's answer makes no sense")
        return Answer(response.status_code, answer, response.headers.get("retry-after"))
