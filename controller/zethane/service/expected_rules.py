"""The per-flow rules that a switch should hold, those that it may, and those that it should not."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from zethane.net.flowkey import FlowKey
from zethane.pipeline.bindings import flow_lease
from zethane.pipeline.fields import split_cookie
from zethane.pipeline.flow import EntryKey, Flow
from zethane.pipeline.held import HeldRule, Reported, held_rule
from zethane.pipeline.portal import PORTAL_COOKIE, portal_flow
from zethane.pipeline.verified import idle_timeout, key_of, verified_flow
from zethane.service.adoption import plausible
from zethane.service.clearing import LINGER, Clearing
from zethane.service.comparison import Comparison, Finding, Leases, is_rule_of
from zethane.service.flow_rules import directions
from zethane.service.flows import FORWARD, RETURN, LiveFlow
from zethane.service.points import Point
from zethane.service.portal_access import PortalAccess
from zethane.service.state import State


class ExpectedRules:
    """As the live flows are now, and the connections to the portal."""

    def __init__(self, state: State, portal_access: PortalAccess, clearing: Clearing) -> None:
        self._state = state
        self._portal_access = portal_access
        self._clearing = clearing
        self._policy = state.policy
        self._policy_since = float("-inf")

    def note_policy(self, now: float) -> None:
        """Keep in mind since when the policy is in force."""
        if self._state.policy is not self._policy:
            self._policy, self._policy_since = self._state.policy, now

    def is_right(self, point: Point, rule: HeldRule, asked: float) -> bool:
        """Whether it is a live flow's rule as it should be: told without making an entry of it, as nearly all are."""
        found = self._state.flows.find(rule.key)
        if found is None:
            return False
        flow, direction = found
        subject, obj = self._state.party(flow.subject), self._state.party(flow.object)
        if subject is None or obj is None:
            return False
        own = subject.switch == point.number
        is_here = own or obj.switch == point.number
        return is_here and is_rule_of(rule, flow, direction, own=own, left=flow.ends - asked)

    def left(self, entry: Reported, asked: float) -> float:
        """For how many seconds a per-flow rule might be there when it was read; infinity where hours do not end it."""
        key = key_of(entry.match)
        found = self._state.flows.find(key) if key is not None and entry.cookie != PORTAL_COOKIE else None
        return math.inf if found is None else found[0].ends - asked

    def rule_for(self, point: Point, entry: Reported) -> Flow | None:
        """The rule that should be where this one is; None if none should be."""
        key = key_of(entry.match)
        if key is None:
            return None
        wanted = self._portal_rules(point, key) if entry.cookie == PORTAL_COOKIE else self._flow_rules(point, key)
        return next((flow for flow in wanted if flow.match == entry.match), None)

    def may_linger(self, point: Point, entry: Reported) -> bool:
        """Whether a rule of no live flow may be left to run out.

        A flow has ended when its subject's switch says so. At the object's its rules stay until they are idle; nothing
        reaches them, and they allow nothing that the policy does not, unless it has just changed. Nothing reaches those
        of a session that has ended, either, which may wait to be removed.
        """
        rule = held_rule(entry)
        if rule is None:
            return False
        subject_number, object_number, _ = split_cookie(entry.cookie)
        if {rule.sender, rule.receiver} != {subject_number, object_number}:
            return False  # what it says of itself is not whose packets it takes
        if self._clearing.waits(subject_number) or self._clearing.waits(object_number):
            return True
        if rule.notify_removed or not 0 < rule.idle_timeout <= idle_timeout(rule.key.proto):
            return False
        if self._clearing.names(subject_number) or self._clearing.names(object_number):
            return True
        if plausible(self._state, point, rule, self._state.clock()) is not None:
            return True
        subject, obj = self._state.party(subject_number), self._state.party(object_number)
        recent = self._state.clock() - self._policy_since < LINGER
        return recent and subject is not None and obj is not None and subject.switch != point.number

    def missing(self, flow: LiveFlow, seen: Collection[EntryKey], right: Collection[FlowKey]) -> list[Finding]:
        """The rules at the subject's switch that are not there, although nothing was reported of them."""
        found = []
        for direction in (FORWARD, RETURN):
            key = flow.key if direction == FORWARD else flow.key.reverse()
            if flow.alive & direction and key not in right:
                rule = self._rule(flow, direction, own=True)
                over = 0 < rule.hard_timeout <= 2
                if rule.key not in seen and not over:
                    found += [finding for finding in (Comparison().hold(rule, Leases()),) if finding is not None]
        return found

    def _portal_rules(self, point: Point, key: FlowKey) -> Iterable[Flow]:
        for first in (key, key.reverse()):
            connection = self._portal_access.connection(first)
            if connection is not None:
                yield from portal_flow(first, connection.client, connection.switch, point.number)

    def _flow_rules(self, point: Point, key: FlowKey) -> Iterable[Flow]:
        found = self._state.flows.find(key)
        if found is None:
            return
        flow, direction = found
        subject, obj = self._state.party(flow.subject), self._state.party(flow.object)
        if subject is None or obj is None:
            return
        own = subject.switch == point.number
        if own or obj.switch == point.number:
            yield self._rule(flow, direction, own=own)

    def _rule(self, flow: LiveFlow, direction: int, *, own: bool) -> Flow:
        """One direction's rule of a live flow, as it was written, with what is left of its lease."""
        lease = flow_lease(flow.ends, self._state.clock())
        return verified_flow(directions(flow)[direction - 1], notify=own, lease=lease, idle=flow.idle_timeout)
