"""uvicorn inside the controller's event loop: on a unix socket, or on TCP with both sides' certificates."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import uvicorn

from zethane.errors import InputError, Problem

_CONCURRENCY = 256
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

    def capture_signals(self) -> Any:
        from contextlib import nullcontext

        return nullcontext()


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
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError([Problem(f"{host}:{port}", f"cannot listen: {error}")]) from error
    try:
        return await _start(
            app,
            listening,
            None,
            ssl_certfile=certificate,
            ssl_keyfile=str(key),
            ssl_ca_certs=str(client_ca),
            ssl_cert_reqs=ssl.CERT_REQUIRED,
        )
    except (OSError, ssl.SSLError) as error:
        listening.close()
        raise InputError([Problem(str(certificate), f"cannot be used for TLS: {error}")]) from error


def _bind(listening: socket.socket, path: Path) -> None:
    if path.exists():
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with probe:
            if probe.connect_ex(str(path)) == 0:
                raise InputError([Problem(str(path), "another controller listens here; give another --state-dir")])
        path.unlink()  # left behind by one that was killed
    before = os.umask(0o177)  # the file has its mode from the first moment on
    try:
        listening.bind(str(path))
    except OSError as error:
        raise InputError([Problem(str(path), f"cannot listen: {error}")]) from error
    finally:
        os.umask(before)
    path.chmod(_SOCKET_MODE)


async def _start(app: Any, listening: socket.socket, path: Path | None, **options: Any) -> ApiServer:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONCURRENCY,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
        **options,
    )
    config.load()
    server = _Server(config)
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
    while not server.started:
        if task.done():
            await task
            raise InputError([Problem(str(path or "api"), "the API could not be started")])
        await asyncio.sleep(0.01)
    return ApiServer(server, task, path)
