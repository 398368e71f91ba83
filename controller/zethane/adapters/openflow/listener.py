"""The listening socket for switches: TCP on loopback, or TLS with both sides' certificates anywhere."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from zethane.adapters.openflow.channel import Channel, FastPath
from zethane.adapters.openflow.limits import ChannelLimits
from zethane.adapters.openflow.reception import Reception, is_loopback
from zethane.errors import InputError, Problem
from zethane.service.switch import SwitchEvents

MAX_CONNECTIONS = 1024
"""Connections at once, half-open handshakes included."""

_log = structlog.get_logger("zethane.openflow")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: own certificate and key, and the CA that every switch's certificate must come from."""

    certificate: Path
    key: Path
    ca: Path

    def context(self) -> ssl.SSLContext:
        """A server context that requires a client certificate. Raises InputError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.ca)
        except (OSError, ssl.SSLError) as error:
            raise InputError([Problem(str(self.certificate), f"cannot be used for TLS: {error}")]) from error
        return context


class Listener:
    """Accepts switches and makes a Channel of each."""

    def __init__(self, events: SwitchEvents, limits: ChannelLimits | None = None, fast: FastPath | None = None) -> None:
        """`fast` takes the plain cases of the hot path for all connections, where it is compiled."""
        self._fast = fast
        self._events = events
        self._limits = limits or ChannelLimits()
        self._server: asyncio.Server | None = None
        self._channels: set[Channel] = set()

    async def start(
        self, host: str, port: int, tls: TlsFiles | None, reception: Reception | None = None
    ) -> tuple[str, int]:
        """Listen, and return the address in use. Without TLS only on loopback. Raises InputError, OSError.

        A reception without TLS at this address is taken over, with who waits there.
        """
        if tls is None and not is_loopback(host):
            where = f"{host}:{port}"
            raise InputError([Problem(where, "plain TCP is for loopback only; give certificate, key and CA for TLS")])
        loop = asyncio.get_running_loop()
        context = tls.context() if tls else None
        taken = reception.hand_over() if reception is not None and tls is None else None
        if taken is None:
            self._server = await loop.create_server(self._accept, host, port, ssl=context, backlog=MAX_CONNECTIONS)
        else:
            listening, waiting = taken
            self._server = await loop.create_server(self._accept, sock=listening, backlog=MAX_CONNECTIONS)
            for connection in waiting:
                await loop.connect_accepted_socket(partial(self._accept, is_greeted=True), connection)
        bound = self._server.sockets[0].getsockname()
        return bound[0], bound[1]

    def _accept(self, *, is_greeted: bool = False) -> asyncio.Protocol:
        if len(self._channels) >= MAX_CONNECTIONS:
            _log.warning("too-many-connections", limit=MAX_CONNECTIONS)
            return _Refusal()
        channel = Channel(self._events, self._limits, self._channels.discard, self._fast, is_greeted=is_greeted)
        self._channels.add(channel)
        return channel

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for channel in tuple(self._channels):
            channel.close("the controller stops")


class _Refusal(asyncio.Protocol):
    """Closes at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
