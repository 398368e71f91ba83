"""The operators' API under /v1. Who reaches the socket, or has a certificate of the client CA, may use all of it."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator
from starlette.exceptions import HTTPException

from zethane import __version__
from zethane.api.blocks import blocks_router
from zethane.api.body_limit import BodyLimit
from zethane.api.devices import add_devices
from zethane.api.error_handlers import add_error_handlers
from zethane.api.exposition import exposition
from zethane.api.pieces import Pieces
from zethane.api.portal_schema import Address
from zethane.api.view import session_view, with_times
from zethane.audit.reason import SessionEvent
from zethane.identity.session import MAX_SESSION
from zethane.service.facade import ControllerFacade
from zethane.service.metrics import Metric

MAX_BODY = 8192
MAX_NAME = 128
MAX_FLOWS = 1_000_000

Number = Annotated[int, Path(ge=1, le=MAX_SESSION)]
Limit = Annotated[int, Query(ge=1, le=10_000)]
Name = Annotated[str, Query(min_length=1, max_length=MAX_NAME)]


class Revocation(BaseModel):
    """Whose sessions end: exactly one of a principal, a session's number, an address."""

    model_config = ConfigDict(extra="forbid")

    principal: str | None = Field(None, min_length=1, max_length=MAX_NAME, examples=["user:alice"])
    session: StrictInt | None = Field(None, ge=1, le=MAX_SESSION)
    address: Address | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Revocation:
        if sum(value is not None for value in (self.principal, self.session, self.address)) != 1:
            raise ValueError("expected exactly one of principal, session and address")
        return self


def create_app(facade: ControllerFacade) -> FastAPI:
    """The API over a controller."""
    app = FastAPI(
        title="Zethane",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        dependencies=[Depends(_known_parameters)],
    )
    app.add_middleware(BodyLimit, limit=MAX_BODY)
    add_error_handlers(app, tells_failures=True)
    pieces = Pieces()
    _add_sessions(app, facade, pieces)
    app.include_router(blocks_router(facade))
    _add_decisions(app, facade, pieces)
    _add_policy(app, facade)
    _add_health(app, facade, pieces)
    add_devices(app, facade, pieces)
    return app


async def _known_parameters(request: Request) -> None:
    """Refuse query parameters that nobody reads: a filter with a typing error would show everything.

    It is asked when a request has been taken apart and before it is answered: in between others have their turn.
    """
    await asyncio.sleep(0)
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        expected = ", ".join(sorted(known)) or "none"
        raise HTTPException(422, f"query: {unknown[0][:MAX_NAME]!r} is unknown; expected {expected}")


def _add_sessions(app: FastAPI, facade: ControllerFacade, pieces: Pieces) -> None:
    @app.get("/v1/sessions", response_class=StreamingResponse)
    async def sessions(
        after: Annotated[int, Query(ge=0, le=MAX_SESSION)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_SESSION)] = MAX_SESSION,
    ) -> StreamingResponse:
        found = facade.sessions(after=after, limit=limit)
        return pieces.listed("sessions", (session_view(session) for session in found))

    @app.get("/v1/sessions/{number}")
    async def session(number: Number) -> dict[str, Any]:
        found = facade.session(number)
        if found is None:
            raise HTTPException(404, f"there is no session {number}")
        return session_view(found)

    @app.delete("/v1/sessions/{number}")
    async def end(number: Number) -> dict[str, Any]:
        if not facade.end_session(number, SessionEvent.REVOKED):
            raise HTTPException(404, f"there is no session {number}")
        return {"sessions": [number]}

    @app.post("/v1/revoke")
    async def revoke(body: Revocation) -> dict[str, Any]:
        host = ipaddress.ip_address(body.address).packed if body.address is not None else None
        return {"sessions": facade.revoke(principal=body.principal, number=body.session, host=host)}


def _add_decisions(app: FastAPI, facade: ControllerFacade, pieces: Pieces) -> None:
    @app.get("/v1/flows", response_class=StreamingResponse)
    async def flows(
        session: Annotated[int | None, Query(ge=1, le=MAX_SESSION)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_FLOWS)] = 1000,
    ) -> StreamingResponse:
        return pieces.listed("flows", map(with_times, facade.flows(session=session, limit=limit)))

    @app.get("/v1/decisions", response_class=StreamingResponse)
    async def decisions(limit: Limit = 100) -> StreamingResponse:
        return pieces.listed("decisions", facade.decisions(limit=limit))

    @app.get("/v1/decisions/stream", response_class=StreamingResponse)
    async def stream() -> StreamingResponse:
        return StreamingResponse(_events(facade), media_type="text/event-stream")

    @app.get("/v1/explain")
    async def explain(
        source: Annotated[str, Query(alias="from", min_length=1, max_length=MAX_NAME)],
        target: Annotated[str, Query(alias="to", min_length=1, max_length=MAX_NAME)],
        service: Name,
    ) -> dict[str, Any]:
        return dict(facade.explain(source, target, service))


async def _events(facade: ControllerFacade) -> AsyncIterator[str]:
    """Server-sent events (WHATWG HTML §9.2), one record each."""
    async for record in facade.decision_stream():
        yield f"data: {json.dumps(record)}\n\n"


def _add_policy(app: FastAPI, facade: ControllerFacade) -> None:
    @app.get("/v1/policy")
    async def policy() -> dict[str, Any]:
        return with_times(facade.policy())

    @app.post("/v1/policy/reload")
    async def reload() -> dict[str, Any]:
        return with_times(await facade.reload())


def _add_health(app: FastAPI, facade: ControllerFacade, pieces: Pieces) -> None:
    @app.get("/v1/switches", response_class=StreamingResponse)
    async def switches() -> StreamingResponse:
        return pieces.listed("switches", map(with_times, facade.switches()))

    @app.get("/v1/links")
    async def links() -> dict[str, Any]:
        return {"links": [with_times(link) for link in facade.links()]}

    @app.get("/v1/sources")
    async def sources() -> dict[str, Any]:
        return {"sources": [with_times(source) for source in facade.sources()]}

    @app.get("/v1/health")
    async def health() -> JSONResponse:
        view = dict(facade.health())
        return JSONResponse(view, 200 if view["status"] == "ok" else 503)

    @app.get("/v1/counters", response_class=StreamingResponse)
    async def counters() -> StreamingResponse:
        return pieces.listed("counters", _counters(facade.metrics()))

    @app.get("/v1/metrics", response_class=StreamingResponse)
    async def metrics() -> StreamingResponse:
        return pieces.text(exposition(facade.metrics()), "text/plain; version=0.0.4; charset=utf-8")


def _counters(metrics: Iterable[Metric]) -> Iterator[dict[str, Any]]:
    for metric in metrics:
        for labels, value in metric.samples:
            yield {
                "name": metric.name,
                "kind": metric.kind,
                "labels": dict(labels),
                "value": value,
                "help": metric.help,
            }
