"""uvicorn inside the controller's event loop: on a unix socket, or on TCP with both sides' certificates."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from zethane.errors import InputError, Problem

_CONCURRENCY = 256
_MAX_HEADERS = 16 * 1024
"""Bytes of request line and headers."""

_PATIENCE = 0.5
"""Seconds that answers have to end when the server stops."""

_PROBE_TIMEOUT = 1.0
"""Seconds that somebody who listens has to accept a connection."""

_SOCKET_MODE = 0o600


class ApiServer:
    """A server that runs as a task of the loop it was started in."""

    def __init__(self, server: uvicorn.Server, task: asyncio.Task[None], path: Path | None) -> None:
        self._server = server
        self._task = task
        self._path = path

    async def stop(self) -> None:
        """Answer what is under way for a moment, then end; the socket file goes."""
        self._server.should_exit = True
        await self._task
        if self._path is not None:
            self._path.unlink(missing_ok=True)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the controller has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let answers end, and hang up on those who follow the decision log: that answer never ends."""
        patience = asyncio.get_running_loop().call_later(_PATIENCE, self._hang_up)
        try:
            await super().shutdown(sockets)
        finally:
            patience.cancel()

    def _hang_up(self) -> None:
        for connection in tuple(self.server_state.connections):
            connection.transport.close()


async def serve_unix(app: Any, path: Path) -> ApiServer:
    """Serve on a unix socket that only this user may open. Raises InputError if somebody listens there."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _bind(listening, path)
    except BaseException:
        listening.close()
        raise
    return await _start(app, listening, path)


async def serve_tls(app: Any, host: str, port: int, certificate: Path, key: Path, client_ca: Path) -> ApiServer:
    """Serve on TCP to clients that have a certificate of the CA. Raises InputError for unusable files."""
    tls = _tls(certificate, key, client_ca)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError([Problem(f"{host}:{port}", f"cannot listen: {error}")]) from error
    return await _start(app, listening, None, tls)


def _tls(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """TLS 1.2 or later, with a certificate from both sides. Raises InputError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        # Without a password here, OpenSSL would ask for a key's on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        raise InputError([Problem(str(certificate), f"cannot be used for TLS, with {key}: {error}")]) from None
    try:
        context.load_verify_locations(client_ca)
    except (OSError, ssl.SSLError) as error:
        raise InputError([Problem(str(client_ca), f"expected certificates in PEM: {error}")]) from None
    return context


def _bind(listening: socket.socket, path: Path) -> None:
    if path.is_symlink() or path.exists():
        _remove_stale(path)
    before = os.umask(0o177)  # the file has its mode from the first moment on
    try:
        listening.bind(str(path))
    except OSError as error:
        raise InputError([Problem(str(path), f"cannot listen: {error}")]) from error
    finally:
        os.umask(before)
    path.chmod(_SOCKET_MODE)


def _remove_stale(path: Path) -> None:
    """Remove a socket that was left behind by a process that was killed. Raises InputError for anything else."""
    if path.is_symlink() or not path.is_socket():
        raise InputError([Problem(str(path), "there is something else where the socket should be")])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT)
        answer = probe.connect_ex(str(path))
    if answer != errno.ECONNREFUSED:
        raise InputError([Problem(str(path), "another controller listens here; give another --state-dir")])
    path.unlink()


async def _start(app: Any, listening: socket.socket, path: Path | None, tls: ssl.SSLContext | None = None) -> ApiServer:
    config = uvicorn.Config(
        app,
        http="h11",
        h11_max_incomplete_event_size=_MAX_HEADERS,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONCURRENCY,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
    )
    config.load()
    config.ssl = tls
    server = _Server(config)
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
    while not server.started:
        if task.done():
            await task
            raise InputError([Problem(str(path or "api"), "the API could not be started")])
        await asyncio.sleep(0.01)
    return ApiServer(server, task, path)
