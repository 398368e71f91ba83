"""Adoption: which of the per-flow rules that a switch holds are right, and the flows that they tell of.

After a restart the switches are the only ones who know what was allowed. A rule is kept if its sessions are the
ones that it was written for, and the policy in force still allows its flow by the same rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from zethane.net.endpoint import Attachment
from zethane.net.flowkey import FlowKey
from zethane.pipeline.change import Installed
from zethane.pipeline.fields import PORTAL_NUMBER, split_cookie, vlan_of
from zethane.pipeline.held import HeldRule, Reported, held_rule
from zethane.pipeline.portal import PORTAL_COOKIE, portal_flow
from zethane.pipeline.tables import Priority, Table
from zethane.pipeline.verified import FIN_IDLE, idle_timeout, key_of
from zethane.service.comparison import fits_lease, is_same_rule
from zethane.service.flow_rules import let_run_out
from zethane.service.flows import FORWARD, RETURN, LiveFlow, opened
from zethane.service.points import Point
from zethane.service.portal_access import PortalAccess
from zethane.service.relations import verdict_on
from zethane.service.sessions import Live
from zethane.service.slices import READ_SLICE, in_slices
from zethane.service.state import State

Verdicts = dict[tuple[int, int, int, int, int], float]
"""Until when flows may go on: by both classes, protocol, port that was opened, and rule."""


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
        self._seen: set[LiveFlow] = set()
        self._policy = state.policy
        self._verdicts: Verdicts = {}

    async def adopt(self, found: Iterable[Reported]) -> list[Reported]:
        """What remains when the per-flow rules are taken away that are right. Gives way again and again.

        Flows of this switch's own sessions that it no longer holds have ended, unless they go on with a packet.
        """
        others: list[Reported] = []
        portal: list[Installed] = []
        async for entry in in_slices(found, READ_SLICE):
            if entry.table != Table.FLOW or entry.priority != Priority.FLOW_VERIFIED:
                others.append(entry)
            elif entry.cookie == PORTAL_COOKIE and isinstance(entry, Installed):
                portal.append(entry)
            elif not self._verified(entry):
                others.append(entry)
        # Portal connections are known by their first direction, which names the port.
        portal.sort(key=lambda entry: not any(field.name == "in_port" for field in entry.match))
        others += [entry for entry in portal if not self._portal(entry)]
        self._end_missing()
        return others

    def _verified(self, entry: Reported) -> bool:
        if self._state.policy is not self._policy:
            self._policy, self._verdicts = self._state.policy, {}
        held = held_rule(entry)
        rule = plausible(self._state, self._point, held, self._asked, self._verdicts) if held is not None else None
        if held is not None and rule is not None and rule.subject.switch == self._point.number:
            self._learn(rule, held)
        return rule is not None

    def _learn(self, found: PlausibleRule, held: HeldRule) -> None:
        state = self._state
        key, direction, subject, obj, rule = found
        now = self._asked
        known = state.flows.find(key)
        flow = known[0] if known is not None and known[1] == FORWARD else None
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
                now - held.age,
                now - held.age,
                alive=0,
                idle_timeout=held.idle_timeout,
                tests=1,
            )
            state.flows.add(flow)
            subject.opens(key.src)
        if flow not in self._seen:
            self._seen.add(flow)
            flow.alive, flow.replaced = 0, (0, 0)
        flow.alive |= direction
        if not held.idle_timeout or held.idle_timeout > FIN_IDLE:
            # Rules without a timeout in either direction are the controller's to watch.
            both = held.idle_timeout if flow.alive == direction else min(flow.idle_timeout, held.idle_timeout)
            if both:
                state.flows.wait_no_more(flow)
            elif flow.idle_timeout:
                state.flows.wait(flow, now)
            state.flows.set_idle_timeout(flow, both)
        if held.hard_timeout:
            flow.ends = now + held.hard_timeout - held.age

    def _end_missing(self) -> None:
        state = self._state
        uplinks = (number for number, live in state.outside.items() if live.switch == self._point.number)
        for number in (*self._point.local, *uplinks):
            for flow in state.flows.of_session(number):
                if flow.subject == number and flow.alive and flow not in self._seen:
                    flow.alive = 0  # no report will come
                    state.flows.close(flow, "lost", state.clock())
                    let_run_out(state, flow)
                    state.flows.remember(flow.afresh())
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


def plausible(
    state: State, point: Point, rule: HeldRule, asked: float, verdicts: Verdicts | None = None
) -> PlausibleRule | None:
    """What a per-flow rule on a switch is for; None if the policy in force gives nobody such a rule there.

    `asked` is when the switch was asked for it. `verdicts` keeps what has been decided under one policy.
    """
    subject_number, object_number, number = split_cookie(rule.cookie)
    subject, obj = state.party(subject_number), state.party(object_number)
    if subject is None or obj is None:
        return None
    key = rule.key
    direction = FORWARD if subject.holds(key.src) else RETURN
    first = key if direction == FORWARD else key.reverse()
    if not subject.holds(first.src) or not obj.holds(first.dst):
        return None
    own = subject.switch == point.number
    if rule.notify_removed != own or not (own or obj.switch == point.number):
        return None
    classes = subject.class_at(first.src), obj.class_at(first.dst)
    if direction == FORWARD:
        written = (subject_number, object_number, *classes)
    else:
        written = (object_number, subject_number, *classes[::-1])
    if rule[1:5] != written:
        return None
    group = (*classes, *opened(first))
    until = _allowed_until(state, first, subject, obj, (*group, number), verdicts if verdicts is not None else {})
    # Whether it has an idle timeout is told by the rule alone.
    intended = idle_timeout(key.proto) if rule.idle_timeout else 0
    if until == -math.inf or not fits_lease(rule, until - asked) or not rule.fits_idle_timeout(intended):
        return None
    return PlausibleRule(first, direction, subject, obj, number)


def _allowed_until(
    state: State, first: FlowKey, subject: Live, obj: Live, kind: tuple[int, int, int, int, int], verdicts: Verdicts
) -> float:
    """Until when a flow may go on under a rule; minus infinity if it may not.

    `kind` is its group and the rule's number: what is decided once is so for all of the kind, unless it depends on who
    they are.
    """
    known = verdicts.get(kind)
    if known is None:
        *group, rule = kind
        verdict = verdict_on(state, first, subject, obj)
        known = verdict.until if state.policy.stands(verdict, kind[:4], rule) else -math.inf
        if not state.policy.verdict(*group).relations:
            verdicts[kind] = known
    return known
