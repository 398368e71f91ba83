"""The portal's process."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Collection, Sequence
from pathlib import Path

import structlog

from zethane.adapters.http.server import GuardedServer, Listen, Tls, open_sockets, tls_context
from zethane.portal.app import create_app
from zethane.portal.backend import ControllerBackend

_log = structlog.get_logger("zethane.portal")


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
        server = GuardedServer(create_app(backend, names), sockets, tls=context)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, setattr, server, "should_exit", True)
        _log.info("listening", addresses=[f"{listen.host} port {listen.port}" for listen in listens])
        await server.serve()
