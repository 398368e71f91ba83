"""Where agents and management systems report the posture of devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from zethane.adapters.http.strict_json import loads
from zethane.api.bearer import bearer_hash, owners
from zethane.api.problem_details import problem
from zethane.audit.record import rfc3339
from zethane.errors import InputError, Problem
from zethane.identity.attempts import Buckets, Rate
from zethane.identity.directory import PrincipalName
from zethane.identity.posture import MAX_ATTRIBUTES, Report, check_attributes
from zethane.identity.sources.signals import Reporter
from zethane.service.posture import Outcome, Postures, ReportTimeError, UnknownDeviceError
from zethane.service.state import Clock

MAX_REPORT = 32 * 1024
RATE = Rate(2000, 0.02)
"""Reports of one reporter: a management system may tell about all of its devices at once."""

FIRST_YEAR = 2000
OPERATOR = "operator"
"""The reporter of what came over the operators' API."""


def _rfc3339(value: object) -> datetime:
    """A moment in RFC 3339, with a zone. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(value.upper().replace("Z", "+00:00")) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or moment.year < FIRST_YEAR:
        raise ValueError("expected a moment such as 2026-01-31T12:00:00Z (RFC 3339)")
    return moment


class ReportBody(BaseModel):
    """A device's posture, and when it was measured (RFC 3339)."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    device: PrincipalName
    measured: Annotated[datetime, BeforeValidator(_rfc3339)]
    attributes: Annotated[dict[str, StrictBool | StrictInt | StrictStr], Field(min_length=1, max_length=MAX_ATTRIBUTES)]

    def report(self, reporter: str, now: float) -> Report:
        """The same as a report. Raises InputError."""
        try:
            attributes = check_attributes(self.attributes)
        except ValueError as error:
            raise InputError([Problem("attributes", str(error))]) from None
        return Report(self.device, reporter, self.measured.timestamp(), now, attributes)


def parse_report(body: bytes, reporter: str, now: float) -> Report:
    """The report in a request's body. Raises InputError, which repeats nothing of it."""
    if len(body) > MAX_REPORT:
        raise InputError([Problem("report", f"expected at most {MAX_REPORT} bytes")])
    try:
        return ReportBody.model_validate(loads(body)).report(reporter, now)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise InputError(
            [Problem(".".join(str(part)[:63] for part in first["loc"]) or "report", first["msg"])]
        ) from None
    except (ValueError, OverflowError) as error:
        raise InputError([Problem("report", str(error))]) from None


def outcome_view(report: Report, outcome: Outcome) -> dict[str, Any]:
    """What became of a report, JSON-ready."""
    view: dict[str, Any] = {"device": report.device, "taken": outcome.taken, "measured": rfc3339(outcome.measured)}
    if not outcome.taken:
        view["detail"] = "a report that was measured then, or later, is known already; this one changes nothing"
    return view


def posture_router(reporters: Mapping[str, Reporter], postures: Postures, clock: Clock) -> APIRouter:
    """The route `POST /v1/posture` for those who have a token. What mounts it bounds the body."""
    router = APIRouter()
    tokens = {name: reporter.token for name, reporter in reporters.items()}
    rate = Buckets(RATE, max(1, len(reporters)))

    @router.post("/v1/posture")
    async def report(request: Request) -> JSONResponse:
        found = sorted(owners(bearer_hash(request), tokens))
        if not found:
            postures.refused()
            detail = "expected the bearer token of a reporter"
            return problem(401, "Who is reporting?", detail, {"www-authenticate": 'Bearer realm="zethane"'})
        now = clock()
        if rate.wait(found[0], now) > 0:
            return problem(429, "Too many reports", "this reporter has told too much at once", {"retry-after": "10"})
        rate.take(found[0], now)
        told = parse_report(await request.body(), found[0], clock())
        if not _may(reporters[found[0]], told):
            postures.refused()
            return problem(403, "Not its business", "this reporter may not tell this about this device")
        return taken(postures.report, told)

    return router


def taken(report: Callable[[Report], Outcome], told: Report) -> JSONResponse:
    """The answer to a report. Raises CapacityError."""
    try:
        return JSONResponse(outcome_view(told, report(told)))
    except UnknownDeviceError as error:
        return problem(404, "Unknown device", str(error))
    except ReportTimeError as error:
        return problem(422, "The request is wrong", str(error))


def _may(reporter: Reporter, report: Report) -> bool:
    """Whether the reporter may tell this about this device."""
    if reporter.devices is not None and report.device not in reporter.devices:
        return False
    return reporter.attributes is None or {name for name, _ in report.attributes} <= set(reporter.attributes)
