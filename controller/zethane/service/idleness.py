"""Idle sessions: those whose host has sent nothing for too long, by what their own switch has counted.

Only sessions with an idle limit are asked about, four times in its length, and only so many at a time. What a host has
sent since the last look counts as sent at this one: a session ends late by a quarter of its limit, and never early.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from zethane.audit.reason import SessionEvent
from zethane.errors import ChannelError
from zethane.service.session_life import SessionLife
from zethane.service.sessions import Live
from zethane.service.state import State

MAX_READINGS = 64
"""Questions to switches that may be under way; sessions that are due meanwhile wait."""


class Idleness:
    """Looks at one session at a time."""

    def __init__(self, state: State, life: SessionLife, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._state = state
        self._life = life
        self._spawn = spawn
        self._under_way = 0

    def tick(self, now: float) -> None:
        """Ask about the sessions that are due."""
        while self._under_way < MAX_READINGS and (live := self._state.sessions.to_hear(now)) is not None:
            self._under_way += 1
            self._spawn(self._read(live))

    async def _read(self, live: Live) -> None:
        number = live.session.number
        try:
            packets = await self._packets(live)
        finally:
            self._under_way -= 1
        if self._state.sessions.by_number.get(number) is not live:
            return
        now = self._state.clock()
        if packets is None or packets != live.counted:
            live.heard = now
        live.counted = packets or 0
        silent = tuple(proof for proof in live.session.proofs if now - live.heard >= proof.idle)
        if silent:
            self._life.leave(live, silent, SessionEvent.IDLE)
        if self._state.sessions.by_number.get(number) is live:
            self._state.sessions.listen(live, now)

    async def _packets(self, live: Live) -> int | None:
        """What the session's switch has counted; None if it cannot say: nobody is idle for that."""
        point = self._state.point_of(live)
        if point.channel is None or not point.ready:
            return None
        try:
            return await point.channel.read_heard(live.session.number)
        except ChannelError:
            self._state.counters["idle_unread"] += 1
            return None
