"""/v1/blocks: the accounts that may not log in."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from zethane.audit.record import rfc3339, rfc3339_or_none
from zethane.service.accounts import Block
from zethane.service.facade import ControllerFacade

ACCOUNT = r"^(user|device|workload):[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}$"
LINE = r"^[^\x00-\x1f\x7f]*$"
"""Text of one line."""

Account = Annotated[str, Path(max_length=80, pattern=ACCOUNT)]


class NewBlock(BaseModel):
    """An account, and why. Until a moment (RFC 3339), or until it is unblocked."""

    model_config = ConfigDict(extra="forbid")

    account: str = Field(max_length=80, pattern=ACCOUNT, examples=["user:alice"])
    reason: str = Field("", max_length=256, pattern=LINE)
    until: AwareDatetime | None = None
    by: str = Field("", max_length=64, pattern=LINE)


def block_view(block: Block) -> dict[str, Any]:
    """A block, JSON-ready; times in RFC 3339."""
    return {
        "account": block.account,
        "reason": block.why,
        "since": rfc3339(block.since),
        "until": rfc3339_or_none(block.until),
        "by": block.by,
    }


def _moment(until: datetime | None) -> float:
    return math.inf if until is None else until.timestamp()


def blocks_router(facade: ControllerFacade) -> APIRouter:
    """The routes over a controller."""
    router = APIRouter()

    @router.get("/v1/blocks")
    async def blocks() -> dict[str, Any]:
        return {"blocks": [block_view(block) for block in facade.blocks()]}

    @router.post("/v1/blocks")
    async def block(body: NewBlock) -> dict[str, Any]:
        return {"sessions": facade.block(body.account, body.reason, _moment(body.until), body.by)}

    @router.delete("/v1/blocks/{account}")
    async def unblock(account: Account) -> dict[str, Any]:
        if not facade.unblock(account):
            raise HTTPException(404, f"{account} is not blocked")
        return {"account": account}

    return router
