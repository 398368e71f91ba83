"""The portal for real: its back end on a unix socket and its page on loopback, before an in-memory controller."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from fakes.portal_site import PortalSite, directory
from fakes.records import MemoryStore
from zethane.adapters.http.server import GuardedServer, Listen, open_sockets
from zethane.api.portal_backend import create_app as create_backend_app
from zethane.identity.attempts import AttemptLimits, Attempts, Rate
from zethane.portal.app import create_app
from zethane.portal.backend import Backend, ControllerBackend
from zethane.service.authentication import Authenticator
from zethane.service.certificate_login import CertificateLogin
from zethane.service.enrolment import Enrolment
from zethane.service.passkey import RelyingParty

LENIENT = AttemptLimits(port=Rate(1000, 1), attachment=Rate(1000, 1), account=Rate(1000, 1))


class QuietServer(uvicorn.Server):
    """uvicorn that leaves the signals of the tests alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def running(server: uvicorn.Server) -> AsyncIterator[None]:
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), task
        await asyncio.sleep(0)
    try:
        yield
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def backend_on(
    path: Path, site: PortalSite, limits: AttemptLimits = LENIENT, certificates: CertificateLogin | None = None
) -> AsyncIterator[Authenticator]:
    with ThreadPoolExecutor(2) as pool:
        store = MemoryStore()
        authenticator = Authenticator(
            site, directory(), store, site.clock, pool, site.refused, attempts=Attempts(limits)
        )
        enrolment = Enrolment(site, authenticator, store, site.clock, site.factor_changed)
        app = create_backend_app(site, authenticator, site.clock, certificates, enrolment=enrolment)
        config = uvicorn.Config(app, uds=str(path), http="h11", ws="none", log_config=None, lifespan="off")
        async with running(QuietServer(config)):
            yield authenticator


@asynccontextmanager
async def portal_before(
    backend: Backend, hosts: tuple[str, ...] = ("127.0.0.1",), **options: Any
) -> AsyncIterator[list[int]]:
    """The portal on a free port of each host; gives the ports. Passkeys are for `localhost` at the first."""
    sockets = open_sockets([Listen(host, 0) for host in hosts])
    ports = [listener.getsockname()[1] for listener in sockets]
    party = RelyingParty("localhost", f"http://localhost:{ports[0]}")
    app = create_app(backend, ("portal.example", "localhost"), party=party)
    async with running(GuardedServer(app, sockets, **options)):
        yield ports


@asynccontextmanager
async def whole_portal(
    path: Path, site: PortalSite, hosts: tuple[str, ...] = ("127.0.0.1",), limits: AttemptLimits = LENIENT
) -> AsyncIterator[list[int]]:
    async with (
        backend_on(path, site, limits),
        ControllerBackend(path) as backend,
        portal_before(backend, hosts) as ports,
    ):
        yield ports


def has_ipv6() -> bool:
    """Whether loopback has IPv6 here."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True
