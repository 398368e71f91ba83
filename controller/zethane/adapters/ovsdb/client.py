"""One OVSDB server, followed for as long as the controller runs: connected again and again, and asked to answer."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from zethane.adapters.ovsdb.framing import OvsdbError, Splitter, parse
from zethane.adapters.ovsdb.tables import COLUMNS, DATABASE, Tables
from zethane.identity.platform import VirtualInterface
from zethane.identity.sources.certificates import Ovsdb

CONNECT_TIMEOUT = 5.0
ECHO_INTERVAL = 5.0
"""Seconds without a message after which the server is asked whether it is there (RFC 7047 §4.1.11)."""

SILENCE = 15.0
"""Seconds without a message after which the connection is given up."""

FIRST_RETRY, LAST_RETRY = 1.0, 15.0
CHUNK = 256 * 1024
LARGE = 64 * 1024
"""Bytes of a message from which on it is parsed in a thread."""

BATCH = 32
"""Messages that are taken before others have their turn."""

_MONITOR, _ECHO = "monitor", "echo"

_log = structlog.get_logger("zethane.ovsdb")


@dataclass(frozen=True, slots=True)
class Followers:
    """What is told, on the event loop: after each change how to get all interfaces, each sign of life, each loss."""

    changed: Callable[[Callable[[], Iterable[VirtualInterface]]], None]
    alive: Callable[[], None]
    lost: Callable[[str], None]


class OvsdbClient:
    """Follows one server. File names of `settings` are from `folder` on."""

    def __init__(self, name: str, settings: Ovsdb, folder: Path, followers: Followers) -> None:
        self._name = name
        self._settings = settings
        self._folder = folder
        self._followers = followers

    async def follow(self) -> None:
        """Connect again whenever the connection is lost, until cancelled."""
        retry = FIRST_RETRY
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._session()
            except (OvsdbError, OSError, ssl.SSLError, asyncio.TimeoutError, EOFError) as error:
                why = str(error) or type(error).__name__
                _log.warning("ovsdb-lost", ovsdb=self._name, reason=why)
                self._followers.lost(why)
            except Exception as error:  # noqa: BLE001  # whatever it has said, the next connection may be better
                _log.exception("ovsdb-failed", ovsdb=self._name)
                self._followers.lost(type(error).__name__)
            held = asyncio.get_running_loop().time() - began > SILENCE
            retry = FIRST_RETRY if held else min(LAST_RETRY, retry * 2)
            await asyncio.sleep(retry)

    async def _session(self) -> None:
        reader, writer = await asyncio.wait_for(self._connect(), CONNECT_TIMEOUT)
        try:
            await _Session(reader, writer, self._followers).run()
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        kind, _, place = self._settings.connect.partition(":")
        if kind == "unix":
            return await asyncio.open_unix_connection(place)
        host, _, port = place.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if kind == "tcp":
            return await asyncio.open_connection(host, int(port))
        context = await asyncio.to_thread(self._tls)
        name = self._settings.server_name or host
        return await asyncio.open_connection(host, int(port), ssl=context, server_hostname=name)

    def _tls(self) -> ssl.SSLContext:
        """Read again for each connection: certificates are renewed."""
        settings = self._settings
        context = ssl.create_default_context(cafile=self._folder / settings.ca if settings.ca else None)
        if settings.certificate is not None and settings.key is not None:
            # Without a password here, OpenSSL would ask for a key's on the terminal.
            context.load_cert_chain(self._folder / settings.certificate, self._folder / settings.key, password="")
        return context


class _Session:
    """One connection. Ends with an exception, whatever happens."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, followers: Followers) -> None:
        self._reader = reader
        self._writer = writer
        self._followers = followers
        self._tables: Tables | None = None

    async def run(self) -> None:
        wanted = {table: {"columns": list(columns)} for table, columns in COLUMNS.items()}
        await self._send("monitor", [DATABASE, None, wanted], _MONITOR)
        splitter = Splitter()
        silent = 0.0
        while True:
            try:
                data = await asyncio.wait_for(self._reader.read(CHUNK), ECHO_INTERVAL)
            except asyncio.TimeoutError:
                silent += ECHO_INTERVAL
                if silent >= SILENCE:
                    raise OvsdbError("it does not answer") from None
                await self._send("echo", [], _ECHO)
                continue
            if not data:
                raise EOFError("it has closed the connection")
            for number, text in enumerate(splitter.feed(data)):
                silent = 0.0
                if number % BATCH == BATCH - 1:
                    await asyncio.sleep(0)
                await self._take(await asyncio.to_thread(parse, text) if len(text) > LARGE else parse(text))

    async def _take(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method == "echo":
            await self._write({"id": message.get("id"), "result": message.get("params"), "error": None})
        elif method == "update" and self._tables is not None:
            params = message.get("params")
            if not isinstance(params, list) or len(params) != 2:
                raise OvsdbError("an update without its parameters")
            self._changed(self._tables, params[1])
        elif method is None and message.get("id") == _MONITOR:
            if message.get("error") is not None or self._tables is not None:
                raise OvsdbError("it does not let itself be followed")
            self._tables = Tables()
            self._changed(self._tables, message.get("result"))
        # Only who has told all that there is vouches for anything.
        if self._tables is not None:
            self._followers.alive()

    def _changed(self, tables: Tables, updates: object) -> None:
        tables.apply(updates)
        self._followers.changed(tables.interfaces)

    async def _send(self, method: str, params: list[Any], identity: str) -> None:
        await self._write({"method": method, "params": params, "id": identity})

    async def _write(self, message: dict[str, Any]) -> None:
        self._writer.write(json.dumps(message).encode())
        await asyncio.wait_for(self._writer.drain(), CONNECT_TIMEOUT)
