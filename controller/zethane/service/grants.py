"""Connections that switches let in by themselves: how they do it, and what the log says of them.

A switch lets the first packet of each go on as it takes the connection up, and sends up a copy, as far as a meter lets
it. Nothing waits for an answer.

Both cost a switch a part of what it can do. So it sends no copies for a second as soon as the meter holds some back.
And whether there was room for a connection is only looked at once there is a sign that there was none for another: an
answer that belongs to no connection. What was let in until then is not answered, and comes again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from zethane.net.flowkey import parse_frame
from zethane.net.vlan import untagged
from zethane.net.walked import read_walked
from zethane.pipeline.fields import MAX_RULE, RULE_MASK, split_cookie
from zethane.pipeline.grants import Opening, opening_entries
from zethane.pipeline.tables import Table
from zethane.service.delivery import send
from zethane.service.flows import LiveFlow
from zethane.service.points import Point, difference
from zethane.service.state import State
from zethane.service.switch import PacketIn

TOLD_EVERY = 60.0
"""Seconds between two records that a switch has no room for connections."""

CHECKED_FOR = 60.0
"""Seconds after the last sign that a switch has no room for connections in which it looks whether it has."""

UNTOLD_FOR = 1.0
"""Seconds in which a switch sends no copies when it has sent as many as its meter lets through in one."""


def is_record(event: PacketIn) -> bool:
    """Whether a packet that came up is a copy of one that the switch has let in."""
    return event.table == Table.COMMITTED and event.cookie & RULE_MASK <= MAX_RULE


@dataclass(slots=True)
class _Told:
    """Since when the copies of a switch are counted, how many there had been then, and when this was looked at last."""

    since: float
    before: int
    seen: int


class Grants:
    """Writes the record of every connection that a switch tells of."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._full: dict[int, float] = {}
        self._since: dict[int, float] = {}
        """When the switches that do not let connections in at once began with that, or had the last sign for it."""
        self._told: dict[int, _Told] = {}

    def no_room(self, point: Point) -> None:
        """A switch cannot track a connection that a grant allows, so that it has to be verified: who runs the network
        is told, once in a while."""
        self._state.counters["grants_verified"] += 1
        self._check(point)
        now = self._state.clock()
        if now - self._full.get(point.number, -math.inf) >= TOLD_EVERY:
            self._full[point.number] = now
            self._state.journal.switch("tracking-full", point.switch.name, "new connections are verified", now)

    def no_connection(self, point: Point) -> None:
        """A switch does not know the connection of an answer: it may have had no room for it."""
        self._state.counters["grants_unanswered"] += 1
        self._check(point)

    def _check(self, point: Point) -> None:
        """Have a switch look for a while whether it has room."""
        self._since[point.number] = self._state.clock()
        self._let_in(point, Opening.CHECKED)

    def tick(self, now: float) -> None:
        """Have copies left out where there are too many, and let connections in at once again when it is time.

        A clock that is set back or forth ends a state early rather than late.
        """
        for point in self._state.fabric.points.values():
            if point.opening is Opening.AT_ONCE:
                self._count(point, now)
                continue
            lasts = CHECKED_FOR if point.opening is Opening.CHECKED else UNTOLD_FOR
            if not 0 <= now - self._since[point.number] < lasts:
                del self._since[point.number]
                self._told[point.number] = _Told(now, point.told, point.told)
                self._let_in(point, Opening.AT_ONCE)

    def _count(self, point: Point, now: float) -> None:
        told = self._told.get(point.number)
        if told is None:
            told = self._told[point.number] = _Told(now, point.told, point.told)
        if point.told - told.before >= self._state.limits.meters.record:
            self._since[point.number] = now
            self._let_in(point, Opening.UNTOLD)
        elif not 0 <= now - told.since < 1.0:
            told.since, told.before = now, told.seen
        told.seen = point.told

    def _let_in(self, point: Point, how: Opening) -> None:
        """Have a switch let new connections in like this from now on."""
        if point.opening is how:
            return
        tracking = self._state.fabric.tracking
        before, after = (
            {flow.key: flow for flow in opening_entries(tracking, point.number, one)} for one in (point.opening, how)
        )
        point.opening = how
        send(point, difference(before, after))

    def packet_in(self, point: Point, event: PacketIn) -> None:
        """A connection has begun. Only the subject's own switch is believed, and only of who is there."""
        state = self._state
        point.told += 1
        subject_number, object_number, _ = split_cookie(event.metadata)
        subject, obj = state.party(subject_number), state.party(object_number)
        # It has been forwarded already: through the fabric, and to some ports, with a tag.
        frame = untagged(event.frame)[1]
        packet = read_walked(frame)
        rule = state.policy.rule_ids.get(event.cookie & RULE_MASK)
        if packet is None or subject is None or obj is None or rule is None or subject.switch != point.number:
            state.counters["grant_records_refused"] += 1
            return
        key, now = packet.key, state.clock()
        if not subject.holds(key.src) or not obj.holds(key.dst):
            state.counters["grant_records_refused"] += 1
            return
        flow = LiveFlow(
            key,
            subject_number,
            object_number,
            event.cookie & RULE_MASK,
            subject.class_at(key.src),
            obj.class_at(key.dst),
            subject.party_at(key.src),
            obj.party_at(key.dst),
            now,
            now,
        )
        state.counters["granted"] += 1
        state.counters["granted_odd"] += parse_frame(frame) is None
        state.journal.granted(flow, point.switch.name, rule, now, state.would_be(flow, now))
