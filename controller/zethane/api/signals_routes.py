"""Where transmitters push their Security Event Tokens (RFC 8935)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import SecretStr

from zethane.adapters.jwks import KeySource, SignatureError
from zethane.api.bearer import bearer_hash, owners
from zethane.errors import CapacityError, SourceError
from zethane.identity.attempts import Buckets, Rate
from zethane.identity.signals.scope import Scope
from zethane.identity.signals.token import Expected, SetError, check_set
from zethane.service.signals import Signals
from zethane.service.state import Clock

CONTENT_TYPE = "application/secevent+jwt"

RATE = Rate(500, 0.02)
"""Tokens of one transmitter whose signatures are checked."""

_log = structlog.get_logger("zethane.signals")


@dataclass(frozen=True, slots=True)
class Stream:
    """One transmitter: how it proves itself, with what it signs, what its tokens must say, and about whom."""

    token: SecretStr
    keys: KeySource
    expected: Expected
    scope: Scope


class _BusyError(Exception):
    """Too many tokens of one transmitter: it may try again."""


def signals_router(streams: Mapping[str, Stream], signals: Signals, clock: Clock) -> APIRouter:
    """The route `POST /signals/NAME`. What mounts it bounds the body (`BodyLimit`)."""
    router = APIRouter()
    rate = Buckets(RATE, max(1, len(streams)))
    tokens = {name: stream.token for name, stream in streams.items()}

    @router.post("/signals/{name}")
    async def push(name: str, request: Request) -> Response:
        try:
            stream = _stream(name, request)
            await _take(stream, request)
        except SetError as error:
            signals.refused(name if name in streams else "", error.code, str(error))
            return _refusal(error)
        except (_BusyError, SourceError, CapacityError) as error:
            _log.warning("signal-postponed", transmitter=name, reason=str(error) or "too many at once")
            return Response(status_code=503, headers={"retry-after": "10", "cache-control": "no-store"})
        return Response(status_code=202, headers={"cache-control": "no-store"})

    def _stream(name: str, request: Request) -> Stream:
        """The stream of this name, if the transmitter is the one that it belongs to. Raises SetError."""
        found = owners(bearer_hash(request), tokens)
        if not found:
            raise SetError("authentication_failed", "expected the bearer token of this stream")
        if name not in found:
            raise SetError("access_denied", "the bearer token is that of another stream")
        return streams[name]

    async def _take(stream: Stream, request: Request) -> None:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
            raise SetError("invalid_request", f"expected {CONTENT_TYPE}")
        now = clock()
        if rate.wait(stream.scope.transmitter, now) > 0:
            raise _BusyError
        rate.take(stream.scope.transmitter, now)
        try:
            text = (await request.body()).decode("ascii")
            token = await stream.keys.verified(text.strip())
        except SignatureError as error:
            raise SetError("invalid_key" if error.key else "invalid_request", str(error)) from None
        except UnicodeDecodeError:
            raise SetError("invalid_request", "expected a signed token in compact form") from None
        # Nothing waits between here and the end: what the event says is in force when the answer leaves.
        signals.take(check_set(token.header, token.claims, stream.expected, clock()), stream.scope)

    return router


def _refusal(error: SetError) -> JSONResponse:
    headers = {"content-language": "en", "cache-control": "no-store"}
    return JSONResponse({"err": error.code, "description": str(error)}, 400, headers)
