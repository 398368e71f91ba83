"""One HTTP connection with a bound on everything that its client could draw out.

uvicorn ends connections that are idle between two requests, and nothing else: a client may take for ever over
its first line, its headers, its body, or over reading the answer. Here a request has a moment by which all of
it must have come, and a connection one by which it is over. Bytes that arrive do not move either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from zethane.adapters.http.client_certificate import STATE, presented

PIECE = 4096
"""Bytes that are parsed at a time."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds: for a request to arrive, counted from the connection's start or the last answer; for all of it."""

    request: float = 10.0
    connection: float = 60.0
    tls_handshake: float = 5.0


class GuardedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with deadlines. `lost` is called once, when the connection is gone."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        deadlines: Deadlines,
        lost: Callable[[], None],
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._deadlines = deadlines
        self._lost = lost
        self._request_timer: asyncio.TimerHandle | None = None
        self._connection_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start both timers."""
        super().connection_made(transport)
        if (tls := transport.get_extra_info("ssl_object")) is not None:
            self.app_state[STATE] = presented(tls)
        self._connection_timer = self.loop.call_later(self._deadlines.connection, transport.abort)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers and free the place."""
        for timer in (self._request_timer, self._connection_timer, self.timeout_keep_alive_task):
            if timer is not None:
                timer.cancel()
        try:
            super().connection_lost(exc)
        finally:
            self._lost()

    def data_received(self, data: bytes) -> None:
        """Take bytes. Garbage after a request that is being answered ends the connection at once."""
        try:
            # In pieces: h11 holds the headers against their limit only when it has to wait for more of them.
            for start in range(0, len(data), PIECE):
                if self.transport.is_closing():
                    break
                super().data_received(data[start : start + PIECE])
        except h11.LocalProtocolError:
            # uvicorn answers garbage with status 400, which cannot be said in the middle of another answer.
            self.transport.abort()
        self._note_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request; it may already have arrived."""
        self._expect_request()
        super().on_response_complete()
        self._note_complete()

    def _expect_request(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
        self._request_timer = self.loop.call_later(self._deadlines.request, self.transport.abort)

    def _note_complete(self) -> None:
        cycle = self.cycle
        if self._request_timer is not None and cycle and not cycle.more_body and not cycle.response_complete:
            self._request_timer.cancel()
            self._request_timer = None
