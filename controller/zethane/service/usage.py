"""How much a session has sent and received: what its switch counts now, and what has ended before.

Only sessions that somebody asks about are followed: reading takes two requests to the session's own switch, for one
sum each, however many flows it has. What went through connections that the switch has let in by itself is as it was
when that was last read.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from zethane.errors import ChannelError
from zethane.pipeline.fields import OBJECT_MASK, SUBJECT_MASK, parties
from zethane.service.counts import NOTHING, Counts
from zethane.service.flows import LiveFlow
from zethane.service.grant_usage import GrantUsage
from zethane.service.state import State


@dataclass(frozen=True, slots=True)
class Carried:
    """What the ended flows of a session have carried, and the most that was ever told."""

    ended: Counts
    told: Counts


_NOTHING = Carried(NOTHING, NOTHING)


class Usage:
    """Follows sessions by their numbers."""

    def __init__(self, state: State, granted: GrantUsage) -> None:
        self._state = state
        self._granted = granted
        self._followed: dict[int, Carried] = {}

    def follow(self, number: int, carried: Carried = _NOTHING) -> None:
        """Count for this session from now on, and from `carried`; flows that are live already count whole."""
        self._followed.setdefault(number, carried)

    def carried(self) -> dict[int, Carried]:
        """What has to be kept for another run of the controller."""
        return dict(self._followed)

    def forget(self, number: int) -> None:
        """Count no longer."""
        self._followed.pop(number, None)

    def flow_ended(self, flow: LiveFlow) -> None:
        """A flow has ended; to be called for all of them."""
        for number in {flow.subject, flow.object} & self._followed.keys():
            followed = self._followed[number]
            self._followed[number] = Carried(followed.ended + _of(flow, number), followed.told)

    async def read(self, number: int) -> Counts:
        """All that a followed session has sent and received; what was last known if its switch does not answer."""
        live = await self._live(number) if number in self._followed else Counts()
        followed = self._followed.get(number)
        if followed is None:
            return Counts()
        known = followed.ended + self._granted.of(number)
        for flow in self._state.flows.of_session(number):
            known += _of(flow, number)
        told = (known + live).at_least(followed.told)
        self._followed[number] = Carried(followed.ended, told)
        return told

    def is_final(self, number: int) -> bool:
        """Whether the switches have told all about the flows of a session that has ended."""
        return not self._state.flows.is_closing(number) and not self._granted.is_closing(number)

    async def _live(self, number: int) -> Counts:
        """What the rules that are in the session's switch have counted."""
        live = self._state.sessions.by_number.get(number)
        point = None if live is None else self._state.point_of(live)
        if point is None or point.channel is None or not point.ready:
            return Counts()
        try:
            sent, received = await asyncio.gather(
                point.channel.read_counts(parties(number, 0), SUBJECT_MASK),
                point.channel.read_counts(parties(0, number), OBJECT_MASK),
            )
        except ChannelError:
            return Counts()
        return Counts(*sent, *received)


def _of(flow: LiveFlow, number: int) -> Counts:
    """What a flow has carried since its last record, as the session at one of its ends sees it."""
    there = Counts(*flow.untold)
    if flow.subject == number:
        return there
    return Counts(there.received_packets, there.received_octets, there.sent_packets, there.sent_octets)
