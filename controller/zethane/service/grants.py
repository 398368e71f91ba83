"""Connections that switches have let in by themselves: what the log says of them.

A switch sends up a copy of the first packet of each, as far as a meter lets it. Nothing waits for an answer.
"""

from __future__ import annotations

import math

from zethane.net.flowkey import parse_frame
from zethane.net.vlan import untagged
from zethane.net.walked import read_walked
from zethane.pipeline.fields import MAX_RULE, RULE_MASK, split_cookie
from zethane.pipeline.tables import Table
from zethane.service.flows import LiveFlow
from zethane.service.points import Point
from zethane.service.state import State
from zethane.service.switch import PacketIn

TOLD_EVERY = 60.0
"""Seconds between two records that a switch has no room for connections."""


def is_record(event: PacketIn) -> bool:
    """Whether a packet that came up is a copy of one that the switch has let in."""
    return event.table == Table.COMMITTED and event.cookie & RULE_MASK <= MAX_RULE


class Grants:
    """Writes the record of every connection that a switch tells of."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._full: dict[int, float] = {}

    def no_room(self, point: Point) -> None:
        """A switch cannot track a connection that a grant allows, so that it has to be verified: who runs the network
        is told, once in a while."""
        self._state.counters["grants_verified"] += 1
        now = self._state.clock()
        if now - self._full.get(point.number, -math.inf) >= TOLD_EVERY:
            self._full[point.number] = now
            self._state.journal.switch("tracking-full", point.switch.name, "new connections are verified", now)

    def packet_in(self, point: Point, event: PacketIn) -> None:
        """A connection has begun. Only the subject's own switch is believed, and only of who is there."""
        state = self._state
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
