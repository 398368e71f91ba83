"""A change of the policy in force: another one, or the same at another hour, as one bundle per switch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from zethane.identity.session import Session
from zethane.pipeline.change import Add, Change, Remove
from zethane.pipeline.flow import EntryKey, Flow
from zethane.service.delivery import Changes, Pending, commit, commit_each, removals_first
from zethane.service.flow_review import carry
from zethane.service.flow_rules import flow_rules
from zethane.service.flows import LiveFlow
from zethane.service.intent import outside_entries, session_connections
from zethane.service.points import Point, difference
from zethane.service.policy_in_force import PolicyInForce, Standing
from zethane.service.policy_review import PolicyReview
from zethane.service.preparation import Preparation
from zethane.service.presence import Presence
from zethane.service.removals import flows_of
from zethane.service.sessions import Live
from zethane.service.state import State


class PolicyChange:
    """Puts a policy in force on the switches."""

    def __init__(self, state: State, presence: Presence) -> None:
        self._state = state
        self._presence = presence
        self._review = PolicyReview(state)

    def replaced(
        self, new: PolicyInForce, moved: Iterable[tuple[Live, Session, Standing]], prepared: Preparation | None = None
    ) -> list[Pending]:
        """Put another policy in force; `moved` are sessions as they are then, with where they stand.

        Everything is computed and written when this returns, one bundle per switch; what is `prepared` is in the bundle
        already. They have to be settled: the connection of a switch that refuses is closed then, and reconciled when
        it is back.

        What differs is sent: entries of rules and of networks outside, and bindings. No others are looked at.
        """
        state, before = self._state, self._state.policy
        if prepared is None or not prepared.fits(new):
            prepared = None
            removed, added = _as_changes(*before.difference(new))
        else:
            removed, added = prepared.removed, prepared.added
        concerned = new.concerned_after(before)
        first_grants = new.has_grants and not before.has_grants
        outside = self._outside() if new.networks != before.networks or first_grants else {}
        state.policy = new
        elsewhere = [live for live, session, standing in moved if self._stand(live, session, standing)]
        same_peers = concerned is not None and not elsewhere and concerned.same_peers()
        changes, going_on = self._carried(elsewhere)
        if not same_peers:
            for number, more in self._presence.policy_changed(elsewhere, before.classes).items():
                changes[number] += more
        for flow in going_on:
            for point, rule in flow_rules(state, flow):
                changes[point.number].append(Add(rule))
        if first_grants:
            self._show_connections(changes)
        for point, entries in outside.items():
            after = {flow.key: flow for flow in outside_entries(state, point)}
            changes[point.number] += difference(entries, after)
        taken_back = self._review.no_longer_allowed(concerned=concerned)
        waiting: list[Pending] = []
        for point in state.fabric.points.values():
            rest = removals_first([*taken_back, *changes[point.number]])
            bundle = prepared.take(point) if prepared is not None else None
            if bundle is None or point.channel is None:
                waiting += commit(point, removals_first([*removed, *rest, *added]))
            else:
                # Entries of rules are in a table of their own: no removal behind them is about one.
                bundle.add(rest)
                waiting.append((point, point.channel, bundle.commit()))
        return waiting

    def _carried(self, moved: Sequence[Live]) -> tuple[Changes, list[LiveFlow]]:
        """The flows that go on of sessions with other classes, whose rules have to be written again; and the removals
        of all their rules: those are about the classes that the sessions had."""
        changes: Changes = defaultdict(list)
        for live in moved:
            if self._state.flows.of_session(live.session.number):
                for point in self._presence.holding(live):
                    changes[point.number] += flows_of(live.session.number)
        return changes, carry(self._state, moved, "policy-changed")

    def _show_connections(self, changes: Changes) -> None:
        """The first grants since the controller has started: what shows connections to be those of sessions."""
        sessions = self._state.sessions.by_number
        for point in self._state.fabric.points.values():
            for number in sorted(point.local | point.remote) if point.ready else ():
                if sessions[number].session.addresses:
                    changes[point.number] += map(Add, session_connections(self._state, point, sessions[number]))

    def _outside(self) -> dict[Point, dict[EntryKey, Flow]]:
        points = self._state.fabric.points.values()
        return {point: {flow.key: flow for flow in outside_entries(self._state, point)} for point in points}

    def _stand(self, live: Live, session: Session, standing: Standing) -> bool:
        """Place a session under the policy that is in force now; whether its class is another one."""
        state, now = self._state, self._state.clock()
        state.sessions.change(live, session, standing.until)
        by_address = state.policy.classes_at(standing.segment, session.principal, session.addresses, now)
        if not live.stand(standing.session_class, by_address, now):
            return False
        state.sessions.lease(live, now)
        return True

    def hours_changed(self, new: PolicyInForce, jump: float = 0.0) -> list[Pending]:
        """Put the same policy in force as it is at another hour: what rules open and close, one bundle per switch.

        No binding is touched. Flows of rules that have closed go on under another one if there is one, without a gap;
        the others stop. The bundles are written when this returns; they have to be settled. `jump` are the seconds by
        which the clock was set meanwhile: where relations may look at it all flows are held against them.
        """
        state = self._state
        before, state.policy = state.policy, new
        removed, added = before.difference(new)
        opened, closed = before.turns_to(new)
        jumped = jump != 0.0 and new.has_relations
        for flow in state.flows.by_key.values() if jumped else ():
            flow.ends += jump  # switches count leases by clocks of their own
        # Where a deny opens any flow may be meant; where the clock was put back, leases may be too long.
        all_flows = new.has_denies(opened) or new.since < before.since or jumped
        going_on: list[LiveFlow] = []
        taken_back = self._review.no_longer_allowed(None if all_flows else new.numbered(closed), going_on)
        gone, come = _as_changes(removed, added)
        changes = [*gone, *taken_back, *come]
        rules: Changes = defaultdict(list)
        for flow in going_on:
            for point, rule in flow_rules(state, flow):
                rules[point.number].append(Add(rule))
        return commit_each(state.fabric, {number: [*changes, *rules[number]] for number in state.fabric.by_number})


def _as_changes(removed: Iterable[EntryKey], added: Iterable[Flow]) -> tuple[list[Change], list[Change]]:
    return [Remove(*key) for key in removed], list(map(Add, added))
