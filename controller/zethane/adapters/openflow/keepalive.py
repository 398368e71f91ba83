"""Whether a switch is still there: it answers echo requests, and comes to the barriers that it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from zethane.adapters.openflow import encode
from zethane.adapters.openflow.limits import ChannelLimits
from zethane.adapters.openflow.writer import Writer

LEAST_PACE = 64 * 2**10
"""Octets that a switch is expected to process in a second at least: some four hundred changes."""


class KeepAlive:
    """Of one connection. `heard` is when the switch was last heard, by the loop's clock: whoever reads sets it.

    `give_up` is called with a reason when the connection has to end.
    """

    __slots__ = ("_expected", "_give_up", "_limits", "_loop", "_timer", "_writer", "heard")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        writer: Writer,
        limits: ChannelLimits,
        give_up: Callable[[str], None],
    ) -> None:
        self.heard = self._expected = loop.time()
        self._loop = loop
        self._writer = writer
        self._limits = limits
        self._give_up = give_up
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Ask the switch from here on."""
        self._expected = self._loop.time()
        self._look()

    def _look(self) -> None:
        now, interval = self._loop.time(), self._limits.echo_interval
        # Where it is the loop that is late the answer may have come, and is read next.
        is_late = now - self._expected > interval / 2
        if now - self.heard > self._limits.echo_deadline and not is_late:
            self._give_up("no answer to echo requests")
            return
        pace = self._writer.pace
        patience = self._limits.request + pace.due / LEAST_PACE
        if pace.due and now - self._writer.marked > patience and not is_late:
            # It gets no new flows until it has answered: better to begin anew than to wait for ever.
            self._give_up("no answer to a barrier")
            return
        self._expected = now + interval
        self._writer.send_now(encode.echo_request(self._writer.next_xid()))
        self._timer = self._loop.call_later(interval, self._look)

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
