"""Adoption: which of the per-flow rules that a switch holds are right, and the flows that they tell of.

After a restart the switches are the only ones who know what was allowed. A rule is kept if its sessions are the
ones that it was written for, and the policy in force still allows its flow by the same rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from zethane.net.endpoint import Attachment
from zethane.net.flowkey import FlowKey
from zethane.pipeline.change import Installed
from zethane.pipeline.fields import PORTAL_NUMBER, split_cookie, vlan_of
from zethane.pipeline.flow import EntryKey
from zethane.pipeline.portal import PORTAL_COOKIE, portal_flow
from zethane.pipeline.tables import Priority, Table
from zethane.pipeline.verified import FIN_IDLE, both_directions, key_of, verified_flow
from zethane.service.comparison import is_same_rule
from zethane.service.flow_rules import let_run_out
from zethane.service.flows import FORWARD, RETURN, LiveFlow, opened
from zethane.service.points import Point
from zethane.service.portal_access import PortalAccess
from zethane.service.relations import verdict_on
from zethane.service.sessions import Live
from zethane.service.slices import in_slices
from zethane.service.state import State


class PlausibleRule(NamedTuple):
    """A per-flow rule that its flow could have been given: the flow's key, the rule's direction, who, and why."""

    first: FlowKey
    direction: int
    subject: Live
    obj: Live
    rule: int


class Adoption:
    """Goes through what one switch holds."""

    def __init__(self, state: State, portal_access: PortalAccess, point: Point, asked: float) -> None:
        """`asked` is when its tables were asked for, in seconds since the epoch."""
        self._asked = asked
        self._state = state
        self._portal_access = portal_access
        self._point = point
        self._seen: set[FlowKey] = set()

    async def adopt(self, found: Iterable[Installed]) -> set[EntryKey]:
        """The keys of the per-flow rules that are right. Gives way to everything else again and again.

        Flows of this switch's own sessions that it no longer holds have ended, unless they go on with a packet.
        """
        flows = [entry for entry in found if entry.table == Table.FLOW and entry.priority == Priority.FLOW_VERIFIED]
        keep: set[EntryKey] = set()
        # Portal connections are known by their first direction, which names the port.
        flows.sort(key=lambda entry: not any(field.name == "in_port" for field in entry.match))
        async for entry in in_slices(flows):
            right = self._portal(entry) if entry.cookie == PORTAL_COOKIE else self._verified(entry)
            if right:
                keep.add((Table.FLOW, entry.priority, entry.match))
        self._end_missing()
        return keep

    def _verified(self, entry: Installed) -> bool:
        rule = plausible(self._state, self._point, entry, self._asked)
        if rule is not None and rule.subject.switch == self._point.number:
            self._learn(rule, entry)
        return rule is not None

    def _learn(self, found: PlausibleRule, entry: Installed) -> None:
        state = self._state
        key, direction, subject, obj, rule = found
        now = self._asked
        flow = state.flows.by_key.get(key)
        if flow is None:
            flow = LiveFlow(
                key,
                subject.session.number,
                obj.session.number,
                rule,
                subject.class_at(key.src),
                obj.class_at(key.dst),
                subject.party_at(key.src),
                obj.party_at(key.dst),
                now - entry.age,
                now - entry.age,
                alive=0,
                tests=1,
            )
            state.flows.add(flow)
            subject.opens(key.src)
        if key not in self._seen:
            self._seen.add(key)
            flow.alive, flow.replaced = 0, (0, 0)
        flow.alive |= direction
        held = entry.flow.idle_timeout if entry.flow is not None else 0
        if not held or held > FIN_IDLE:
            # Rules without a timeout in either direction are the controller's to watch.
            both = held if flow.alive == direction else min(flow.idle_timeout, held)
            state.flows.set_idle_timeout(flow, both)
            if both:
                state.flows.wait_no_more(flow)
            else:
                state.flows.wait(flow, now)
        if entry.flow is not None and entry.flow.hard_timeout:
            flow.ends = now + entry.flow.hard_timeout - entry.age

    def _end_missing(self) -> None:
        state = self._state
        uplinks = (number for number, live in state.outside.items() if live.switch == self._point.number)
        for number in (*self._point.local, *uplinks):
            for flow in state.flows.of_session(number):
                if flow.subject == number and flow.key not in self._seen:
                    state.flows.close(flow, "lost", state.clock())
                    let_run_out(state, flow)
                    state.flows.remember(flow)
                    if (subject := state.party(number)) is not None:
                        subject.closes(flow.key.src)

    def _portal(self, entry: Installed) -> bool:
        key = key_of(entry.match)
        portal = self._state.fabric.portal
        if key is None or portal is None or entry.flow is None:
            return False
        fields = {name: value for name, value, _ in entry.match}
        to_portal = split_cookie(fields.get("metadata", 0))[1] == PORTAL_NUMBER
        first = key if to_portal else key.reverse()
        if "in_port" in fields and not self._portal_access.adopt(self._point, first, self._client(fields)):
            return False
        connection = self._portal_access.connection(first)
        if connection is None:
            return False
        intended = portal_flow(first, connection.client, connection.switch, self._point.number)
        return any(is_same_rule(entry, flow) for flow in intended)

    def _client(self, fields: dict[str, int]) -> Attachment:
        """Where the client of a connection to the portal is, from the match of its rule."""
        vlan = vlan_of(fields.get("metadata", 0))
        return Attachment(self._point.switch.dpid, fields["in_port"], vlan, fields.get("eth_src", 0))


def plausible(state: State, point: Point, entry: Installed, asked: float | None = None) -> PlausibleRule | None:
    """What a per-flow rule on a switch is for; None if the policy in force gives nobody such a rule there.

    `asked` is when the switch was asked for it; None: just now.
    """
    key = key_of(entry.match)
    subject_number, object_number, rule = split_cookie(entry.cookie)
    subject, obj = state.party(subject_number), state.party(object_number)
    if key is None or subject is None or obj is None:
        return None
    direction = FORWARD if subject.holds(key.src) else RETURN
    first = key if direction == FORWARD else key.reverse()
    if not subject.holds(first.src) or not obj.holds(first.dst):
        return None
    classes = subject.class_at(first.src), obj.class_at(first.dst)
    verdict = verdict_on(state, first, subject, obj)
    own = subject.switch == point.number
    group = (*classes, *opened(first))
    if not state.policy.stands(verdict, group, rule) or not (own or obj.switch == point.number):
        return None
    pair = both_directions(first, subject_number, object_number, *classes, rule)
    # Whether it has an idle timeout is told by the rule alone.
    idle = 0 if entry.flow is not None and entry.flow.idle_timeout == 0 else None
    meant = verified_flow(pair[direction - 1], notify=own, idle=idle)
    if not is_same_rule(entry, meant, verdict.until - (state.clock() if asked is None else asked)):
        return None
    return PlausibleRule(first, direction, subject, obj, rule)
