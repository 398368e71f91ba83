"""What goes wrong with a request, as problem details (RFC 9457), the same for every application of the controller."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from zethane.api.problem_details import problem, validation_problem
from zethane.errors import CapacityError, InputError, SessionError, ZethaneError

_STATUS: tuple[tuple[type[ZethaneError], int, str], ...] = (
    (InputError, 422, "The request is wrong"),
    (SessionError, 409, "No session"),
    (CapacityError, 503, "No room"),
)


def add_error_handlers(app: FastAPI, *, tells_failures: bool) -> None:
    """Answer errors with problem details; `tells_failures`: also what failed inside, for operators alone to read."""

    async def on_error(_: Request, error: Exception) -> JSONResponse:
        if isinstance(error, RequestValidationError):
            return validation_problem(error)
        if isinstance(error, HTTPException):
            return problem(error.status_code, "The request is wrong", str(error.detail), error.headers)
        for kind, status, title in _STATUS:
            if isinstance(error, kind):
                return problem(status, title, str(error))
        # Whatever else it is goes to the controller's log, with where it happened: the server sees to that.
        told = tells_failures and isinstance(error, ZethaneError)
        return problem(500, "Failed", str(error) if told else "the controller's log says why")

    for kind in (RequestValidationError, HTTPException, ZethaneError, Exception):
        app.add_exception_handler(kind, on_error)
