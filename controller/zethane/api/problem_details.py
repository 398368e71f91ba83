"""Errors as problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse


def problem(status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A response with problem details; `status` is also the HTTP status."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, headers, "application/problem+json")


def validation_problem(error: RequestValidationError) -> JSONResponse:
    """What is wrong with a body, by field. What was in the field is not repeated: it may be a password."""
    found = ("{}: {}".format(".".join(str(part) for part in one["loc"][1:]), one["msg"]) for one in error.errors()[:10])
    return problem(422, "The request is wrong", "; ".join(found))
