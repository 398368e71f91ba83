"""Devices on the operators' API: what is known of them, and reports on their posture."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import FastAPI, Path
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from zethane.api.pieces import Pieces
from zethane.api.posture_routes import OPERATOR, ReportBody, taken
from zethane.service.facade import ControllerFacade

Name = Annotated[str, Path(min_length=1, max_length=63)]


def add_devices(app: FastAPI, facade: ControllerFacade, pieces: Pieces) -> None:
    """Add the routes for devices."""

    @app.get("/v1/devices")
    async def devices() -> StreamingResponse:
        return pieces.listed("devices", facade.devices())

    @app.get("/v1/devices/{name}")
    async def device(name: Name) -> dict[str, Any]:
        found = facade.device(name)
        if found is None:
            raise HTTPException(404, "no device of this name is known")
        return dict(found)

    @app.post("/v1/posture")
    async def report(body: ReportBody) -> JSONResponse:
        return taken(facade.report_posture, body.report(OPERATOR, time.time()))
