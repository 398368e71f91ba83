"""What other systems tell the controller: an application of its own, which leads to nothing else.

Each part of the controller that listens to another system brings a router, which checks who is speaking.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from fastapi import APIRouter, FastAPI

from zethane.adapters.http.places import Places
from zethane.adapters.http.protocol import Deadlines
from zethane.adapters.http.server import GuardedServer, Listen, Tls, open_sockets, tls_context
from zethane.api.body_limit import BodyLimit
from zethane.api.error_handlers import add_error_handlers
from zethane.api.posture_routes import posture_router
from zethane.api.signals_routes import Stream, signals_router
from zethane.app.running import Running
from zethane.app.signals import make_keys, make_signals, scope_of
from zethane.document.duration import seconds
from zethane.identity.signals.token import Expected
from zethane.identity.sources.signals import SignalsListener

MAX_BODY = 64 * 1024
"""Bytes of one Security Event Token, or of one report."""

MAX_CONNECTIONS = 256
MAX_PER_REMOTE = 64
"""Connections of one address, which may be a proxy's."""

DEADLINES = Deadlines(request=10.0, connection=60.0, tls_handshake=5.0)

_log = structlog.get_logger("zethane.signals")


def create_app(routers: Iterable[APIRouter]) -> FastAPI:
    """The application with these routers, and neither a page nor a description of itself."""
    app = FastAPI(title="Zethane signals", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(BodyLimit, limit=MAX_BODY)
    add_error_handlers(app, tells_failures=False)
    for router in routers:
        app.include_router(router)
    return app


async def serve_signals(running: Running) -> int | None:
    """Listen where sources.yaml says, if it does: the port. The stack stops it. Raises InputError."""
    listen = running.topology.sources.settings.listen
    if listen is None:
        return None
    tls = _tls(running, listen)
    app = create_app([*running.routers, *own_routers(running)])
    context = tls_context(tls) if tls is not None else None  # before there is a socket that would have to be closed
    sockets = open_sockets([Listen(listen.host, listen.port)], f"{running.topology.sources.file}: listen")
    server = GuardedServer(
        app,
        sockets,
        tls=context,
        deadlines=DEADLINES,
        places=Places(MAX_CONNECTIONS, MAX_PER_REMOTE),
    )
    await server.start()
    running.stack.push_async_callback(server.stop)
    host, port = sockets[0].getsockname()[:2]
    _log.info("listening", address=f"{host} port {port}", tls=tls is not None)
    return int(port)


def own_routers(running: Running) -> list[APIRouter]:
    """Those for shared signals and for posture, where there is somebody to send any."""
    settings = running.topology.sources.settings
    routers = []
    if settings.signals:
        signals = make_signals(running)
        streams = {
            name: Stream(
                transmitter.token,
                make_keys(name, transmitter, running, running.stack),
                Expected(transmitter.issuer, transmitter.audience, seconds(transmitter.clock_skew)),
                scope_of(name, transmitter, running),
            )
            for name, transmitter in settings.signals.items()
        }
        routers.append(signals_router(streams, signals, running.clock))
    if settings.posture:
        routers.append(posture_router(settings.posture, running.devices.postures, running.clock))
    return routers


def _tls(running: Running, listen: SignalsListener) -> Tls | None:
    if listen.certificate is None or listen.key is None:
        return None  # on loopback, which the settings have made sure of
    folder = running.topology.folder
    return Tls(folder / listen.certificate, folder / listen.key)
