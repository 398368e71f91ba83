"""The portal's process."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
from collections.abc import Collection, Sequence
from pathlib import Path

import structlog

from zethane.adapters.http.server import GuardedServer, Listen, Tls, open_sockets, tls_context
from zethane.portal.app import create_app
from zethane.portal.backend import ControllerBackend
from zethane.service.passkey import RelyingParty

_log = structlog.get_logger("zethane.portal")


def relying_party(listens: Sequence[Listen], names: Collection[str], tls: Tls | None) -> RelyingParty | None:
    """What passkeys are for: the portal's first name, at its first port. None where browsers allow none.

    They want a domain name and HTTPS; `localhost` does without (Secure Contexts §3.1; WebAuthn level 3 §5.1.3).
    """
    name = next(iter(names), "").lower().rstrip(".")
    local = name == "localhost" or name.endswith(".localhost")
    if not name or _is_address(name) or not (tls or local):
        return None
    scheme, usual = ("https", 443) if tls else ("http", 80)
    port = listens[0].port
    return RelyingParty(name, f"{scheme}://{name}" if port == usual else f"{scheme}://{name}:{port}")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def serve(
    listens: Sequence[Listen], controller: Path, names: Collection[str] = (), tls: Tls | None = None
) -> None:
    """Run the portal until SIGTERM or SIGINT. `controller` is the controller's socket. Raises InputError."""
    # uvicorn writes a line for every bad request that a host sends; what is left are the portal's own faults.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    context = tls_context(tls) if tls else None
    sockets = open_sockets(listens)
    async with ControllerBackend(controller) as backend:
        app = create_app(backend, names, party=relying_party(listens, names, tls))
        server = GuardedServer(app, sockets, tls=context)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, setattr, server, "should_exit", True)
        _log.info("listening", addresses=[f"{listen.host} port {listen.port}" for listen in listens])
        await server.serve()
