"""Enforcement: carries what is decided of sessions to the switches, and takes it back.

What a switch should hold follows from the state; changes of the state are sent as the difference. Taking back a
session is two flow-mods per switch, whatever it has open; its flows' rules are removed after it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from zethane.pipeline.change import Add, Remove
from zethane.pipeline.fabric import forward_entries
from zethane.service.clearing import Clearing
from zethane.service.delivery import Changes, Pending, commit_each, send, send_each, take_back
from zethane.service.flow_review import Reviewed
from zethane.service.flow_rules import flow_rules
from zethane.service.flows import LiveFlow
from zethane.service.points import difference
from zethane.service.presence import Presence
from zethane.service.removals import all_of, all_with, bindings_of, connections_of, flows_of
from zethane.service.sessions import Live
from zethane.service.state import State


class Enforcement:
    """Keeps the switches' tables as sessions, their flows and the links between switches want them."""

    def __init__(self, state: State, clearing: Clearing) -> None:
        self._state = state
        self._clearing = clearing
        self.presence = Presence(state)
        for point in state.fabric.points.values():
            send(point, self.presence.wanted(point))

    # sessions

    def session_started(self, live: Live) -> None:
        """Bind a session at its own switch, and at every switch that has somebody it may talk with."""
        send_each(self._state.fabric, self.presence.enter(live))

    def session_changed(self, live: Live) -> None:
        """Write a session's bindings again: a new lease, one more address."""
        session, by_address = live.session, live.by_address
        new = [address for address in session.addresses if address not in by_address]
        moment = max(self._state.clock(), live.stood)
        classes = self._state.policy.classes_at(session.segment, session.principal, new, moment)
        live.by_address = {**by_address, **classes}
        changes = self.presence.recount(live)
        for point in self.presence.holding(live):
            changes[point.number] += self.presence.bindings(point, live)
        send_each(self._state.fabric, changes)

    def session_moved(self, live: Live, flows: Iterable[LiveFlow]) -> list[Pending]:
        """A session has other classes: one bundle per switch with its bindings, and the rules of its flows.

        `flows` are those that go on, with their new classes; the rules of all others go. No packet of a flow that goes
        on is lost. The bundles are written when this returns; they have to be settled.
        """
        number, presence = live.session.number, self.presence
        changes: Changes = defaultdict(list)
        everything = all_of(number, tracked=self._state.policy.has_grants)
        for point in presence.holding(live):
            changes[point.number] += flows_of(number)
        for where, more in presence.recount(live).items():
            changes[where] += more
        for point in presence.holding(live):
            changes[point.number] += presence.bindings(point, live) or everything
        self._rewrite(flows, changes)
        return commit_each(self._state.fabric, changes)

    def address_released(self, live: Live, address: bytes) -> None:
        """Take one address back from a session: its bindings, and every flow of the session with it."""
        changes: Changes = defaultdict(list)
        for point in self.presence.holding(live):
            changes[point.number] += all_with(live.session.number, address)
            if self._state.policy.has_grants and not set(live.session.addresses) - {address}:
                changes[point.number] += connections_of(live.session.number)
        live.by_address = {held: number for held, number in live.by_address.items() if held != address}
        for where, more in self.presence.recount(live).items():
            changes[where] += more
        send_each(self._state.fabric, changes)

    def session_barred(self, live: Live) -> None:
        """Take a session's bindings back everywhere, at once: no packet of it passes any more.

        Its per-flow rules are left for `session_ended`. To remove many of them takes a switch long, and keeps it from
        looking at the packets that are on their way.
        """
        for point in self.presence.holding(live):
            take_back(point, bindings_of(live.session.number))
            self._clearing.barred(point)

    def session_ended(self, live: Live, flows: list[LiveFlow]) -> None:
        """Take the rules of all flows back that a session had, and the bindings that only it needed.

        It has no bindings any more: where a switch holds many rules, these can wait.
        """
        number, holding = live.session.number, self.presence.holding(live)
        changes: Changes = defaultdict(list)
        for point in self._clearing.ended(number, holding, flows):
            changes[point.number] += flows_of(number)
        for where, more in self.presence.leave(live).items():
            changes[where] += more
        send_each(self._state.fabric, changes)

    # flows

    def flows_reviewed(self, found: Reviewed) -> list[Pending]:
        """Take the rules of ended flows back one by one, and write those of changed flows over what is there.

        A switch keeps the counters of an entry that is written over. The bundles have to be settled.
        """
        changes: Changes = defaultdict(list)
        for flow in found.ended:
            for point, rule in flow_rules(self._state, flow):
                changes[point.number].append(Remove(*rule.key))
        self._rewrite(found.changed, changes)
        return commit_each(self._state.fabric, changes)

    def _rewrite(self, flows: Iterable[LiveFlow], changes: Changes) -> None:
        """Write the rules of flows as they are now."""
        for flow in flows:
            for point, rule in flow_rules(self._state, flow):
                changes[point.number].append(Add(rule))

    # links

    def links_changed(self) -> None:
        """Route around what is down; only the entries of `forward` that differ are written."""
        for point, old in self._state.fabric.route():
            before = {flow.key: flow for flow in forward_entries(point.number, old, point.vlans)}
            after = {flow.key: flow for flow in forward_entries(point.number, point.hops, point.vlans)}
            send(point, difference(before, after))
