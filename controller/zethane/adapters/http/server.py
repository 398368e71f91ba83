"""uvicorn with a listener of its own, which counts connections before it serves them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

from zethane.adapters.http.places import Places
from zethane.adapters.http.protocol import Deadlines, GuardedProtocol
from zethane.errors import InputError, Problem

MAX_CONNECTIONS = 512
MAX_PER_REMOTE = 8
BACKLOG = 256
KEEP_ALIVE = 2
"""Seconds that a connection may be idle between two requests."""

MAX_HEADERS = 8 * 1024
"""Bytes of request line and headers."""

ACCEPT_PAUSE = 0.1
"""Seconds to wait when the system cannot accept: out of descriptors, mostly."""

_log = structlog.get_logger("zethane.http")


@dataclass(frozen=True, slots=True)
class Listen:
    """An address and port to listen on."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files. With `client_ca`, clients are asked for a certificate of its CAs, and may have none."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class GuardedServer(uvicorn.Server):
    """Serves an application on sockets, with the bounds of this module."""

    def __init__(
        self,
        app: FastAPI,
        sockets: Sequence[socket.socket],
        *,
        tls: ssl.SSLContext | None = None,
        deadlines: Deadlines | None = None,
        places: Places | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=5,
                h11_max_incomplete_event_size=MAX_HEADERS,
            )
        )
        self._sockets = sockets
        self._tls = tls
        self._deadlines = deadlines or Deadlines()
        # Not `or`: without connections, Places is empty and so false.
        self._places = Places(MAX_CONNECTIONS, MAX_PER_REMOTE) if places is None else places
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None
        self.servers: list[asyncio.Server] = []  # uvicorn closes these at its end; the listener is not among them

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: the process has its own way to end on them."""
        yield

    async def start(self) -> None:
        """Serve as a task of the running loop; `stop` ends it."""
        self._running = asyncio.get_running_loop().create_task(self.serve())
        while not self.started:
            if self._running.done():
                await self._running
                return
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """End what `start` began: requests under way are answered first."""
        self.should_exit = True
        if self._running is not None:
            await self._running

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Begin to accept."""
        for listener in self._sockets:
            listener.setblocking(False)
            self._spawn(self._accept(listener))
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to accept, then let requests end."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener in self._sockets:
            listener.close()
        await super().shutdown(sockets)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as error:
                _log.warning("cannot-accept", reason=error.strerror)
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            remote = str(address[0])
            if self._places.take(remote):
                self._spawn(self._serve_connection(connection, remote))
            else:
                connection.close()

    async def _serve_connection(self, connection: socket.socket, remote: str) -> None:
        """Hand an accepted connection to HTTP. Its place is free again when it is gone, or never got that far."""
        made: list[GuardedProtocol] = []

        def protocol() -> GuardedProtocol:
            made.append(
                GuardedProtocol(self.config, self.server_state, {}, self._deadlines, lambda: self._places.free(remote))
            )
            return made[0]

        handshake = self._deadlines.tls_handshake if self._tls else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                protocol, connection, ssl=self._tls, ssl_handshake_timeout=handshake
            )
        except (OSError, ssl.SSLError) as error:
            _log.info("connection-failed", remote=remote, reason=_failure(error))
        finally:
            if not made or made[0].transport is None:
                connection.close()
                self._places.free(remote)


def _failure(error: Exception) -> str:
    """Why a connection did not come to be; of a client's certificate, what OpenSSL has against it."""
    return getattr(error, "verify_message", "") or type(error).__name__


def open_sockets(listens: Sequence[Listen], setting: str = "--listen") -> list[socket.socket]:
    """Listening sockets. Raises InputError for addresses that cannot be listened on; then none is left open.

    `setting` is the option or key that errors name.
    """
    opened: list[socket.socket] = []
    try:
        for listen in listens:
            opened.append(_open(listen, setting))  # noqa: PERF401 - those before a bad one have to be closed
    except InputError:
        for listener in opened:
            listener.close()
        raise
    return opened


def _open(listen: Listen, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Clients of IPv4 come by a socket of their own: the switches know them by that address.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((listen.host, listen.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise InputError([Problem(setting, f"cannot listen on {listen.host} port {listen.port}: {reason}")]) from None
    return listener


def tls_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or later with the certificate. Raises InputError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a function that gives it, OpenSSL would ask for a key's pass phrase on the terminal.
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except (OSError, ssl.SSLError) as error:
        raise InputError([Problem(str(tls.certificate), f"cannot be used for TLS: {error}")]) from None
    if tls.client_ca is not None:
        _ask_clients(context, tls.client_ca)
    return context


def _ask_clients(context: ssl.SSLContext, client_ca: Path) -> None:
    """Ask for a certificate, and refuse the connection with one that is no client's of these CAs."""
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the CA that issues may be below the root
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0  # a resumed session would show a certificate without a proof
    try:
        context.load_verify_locations(client_ca)
    except (OSError, ssl.SSLError) as error:
        raise InputError([Problem(str(client_ca), f"expected certificates in PEM: {error}")]) from None
