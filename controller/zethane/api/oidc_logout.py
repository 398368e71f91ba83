"""Back-channel logout (OpenID Connect Back-Channel Logout 1.0): a provider tells that a login there has ended.

For the listener that systems outside reach. The token in the request is all that speaks for it.
"""

from __future__ import annotations

from urllib.parse import parse_qs

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from zethane.errors import CapacityError, InputError
from zethane.identity.openid import InvalidTokenError
from zethane.service.openid import ProviderError
from zethane.service.sign_on import SignOn

_NO_STORE = {"cache-control": "no-store"}

_log = structlog.get_logger("zethane.oidc")


def backchannel_logout_router(sign_on: SignOn) -> APIRouter:
    """The route `POST /oidc/NAME/logout`. What mounts it bounds the body (`BodyLimit`)."""
    router = APIRouter()

    @router.post("/oidc/{name}/logout")
    async def logout(name: str, request: Request) -> Response:
        token = await _token(request)
        if token is None:
            return _refused("expected one logout_token in a form")
        try:
            ended = await sign_on.logout(name, token)
        except (InputError, InvalidTokenError) as error:
            _log.warning("logout-refused", provider=name[:63], reason=str(error))
            return _refused("the logout token is not taken")
        except (ProviderError, CapacityError) as error:
            _log.warning("logout-failed", provider=name[:63], reason=str(error))
            return JSONResponse({"error": "temporarily_unavailable"}, 503, _NO_STORE)
        _log.info("logout-taken", provider=name, sessions=ended)
        return Response(status_code=200, headers=_NO_STORE)

    return router


async def _token(request: Request) -> str | None:
    """The token in a form (§2.5); None if it is no such form."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return None
    try:
        text = (await request.body()).decode("ascii")
        fields = parse_qs(text, strict_parsing=True, errors="strict", max_num_fields=8)
    except ValueError:
        return None
    values = fields.get("logout_token", [])
    return values[0] if len(values) == 1 else None


def _refused(description: str) -> Response:
    return JSONResponse({"error": "invalid_request", "error_description": description}, 400, _NO_STORE)
