"""Second factors of users in the operators' API."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Path

from zethane.api.portal_factors import overview_view
from zethane.identity.credential import MAX_NAME
from zethane.service.enrolment import Enrolment

User = Annotated[str, Path(min_length=1, max_length=MAX_NAME)]


def add_factors(app: FastAPI, enrolment: Enrolment) -> None:
    """Add `/v1/identity/users/{user}/factors`. Secrets are in no answer."""

    @app.get("/v1/identity/users/{user:path}/factors")
    async def factors(user: User) -> dict[str, Any]:
        view = overview_view(enrolment.factors_of(user))
        del view["needs"]
        return view

    @app.delete("/v1/identity/users/{user:path}/factors")
    async def reset(user: User) -> dict[str, Any]:
        return {"user": user, "removed": enrolment.reset(user)}
