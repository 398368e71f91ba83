"""What the portal may ask about single sign-on: where to send a browser, and what came back with it.

The portal hands over; whether what came back is right, and who it is, is found out here.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from zethane.api.portal_schema import Connection, Locate, PortalModel, Tell
from zethane.service.sign_on import Callback, SignOn

ProviderName = Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Browser = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_-]{32}$")]
"""The secret of a browser's cookie."""

Handle = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Query = Annotated[str, StringConstraints(max_length=4096)]


class SignOnStart(PortalModel):
    """A browser that wants to log in at a provider."""

    connection: Connection
    provider: ProviderName
    browser: Browser
    fresh: bool = False


class SignOnCallback(PortalModel):
    """What a browser brought back (RFC 6749 §4.1.2, RFC 9207)."""

    connection: Connection
    browser: Browser
    state: Query
    code: Annotated[Query | None, Field(repr=False)] = None
    iss: Query | None = None
    error: Query | None = None


class DeviceStart(PortalModel):
    """A host without a browser that wants to log in."""

    connection: Connection
    provider: ProviderName | None = None


class DevicePoll(PortalModel):
    """A host that asks whether somebody has let it in."""

    connection: Connection
    handle: Handle


def sign_on_router(sign_on: SignOn, locate: Locate, view: Tell) -> APIRouter:
    """The routes. `locate` gives the endpoint of a connection, `view` what a client is told of its session."""
    router = APIRouter(prefix="/oidc")

    @router.post("/start")
    async def start(body: SignOnStart) -> dict[str, Any]:
        endpoint = locate(body.connection)
        # As the switches have confirmed that it was reached: no header has a say.
        back = sign_on.callback_uri(body.connection.local, body.connection.local_port)
        url = await sign_on.begin(endpoint, body.provider, body.browser, back, fresh=body.fresh)
        return {"url": url}

    @router.post("/callback")
    async def callback(body: SignOnCallback) -> dict[str, Any]:
        endpoint = locate(body.connection)
        answer = Callback(body.state, body.code, body.iss, body.error)
        return view(await sign_on.finish(endpoint, body.browser, answer))

    @router.post("/device")
    async def device(body: DeviceStart) -> dict[str, Any]:
        begun = await sign_on.devices.begin(locate(body.connection), body.provider)
        return {
            "handle": begun.handle,
            "user_code": begun.user_code,
            "verification_uri": begun.verification_uri,
            "verification_uri_complete": begun.verification_uri_complete,
            "expires_in": begun.expires_in,
            "interval": begun.interval,
        }

    @router.post("/device/poll")
    async def poll(body: DevicePoll) -> dict[str, Any]:
        result = await sign_on.devices.poll(locate(body.connection), body.handle)
        return {"interval": result} if isinstance(result, float) else view(result)

    return router
