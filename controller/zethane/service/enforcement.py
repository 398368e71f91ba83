"""Enforcement: carries what is decided to the switches, and takes it back.

What a switch should hold follows from the state; changes of the state are sent as the difference. Taking back a
session is four flow-mods per switch, whatever it has open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from dataclasses import replace

from zethane.errors import ChannelError
from zethane.identity.session import Session
from zethane.pipeline.addresses import destination_fields, source_fields
from zethane.pipeline.bindings import MAX_LEASE, flow_lease
from zethane.pipeline.change import Add, Change, Remove, RemoveMatching
from zethane.pipeline.dns import dns_bindings
from zethane.pipeline.external import external_destinations, external_sources
from zethane.pipeline.fabric import forward_entries
from zethane.pipeline.fields import DNS_CLASS, OBJECT_MASK, SUBJECT_MASK, cookie
from zethane.pipeline.flow import EntryKey, Flow, match
from zethane.pipeline.tables import Table
from zethane.pipeline.verified import both_directions, verified_flow
from zethane.service.adoption import Adoption
from zethane.service.comparison import reconciliation
from zethane.service.flow_review import Reviewed
from zethane.service.flows import LiveFlow
from zethane.service.outside import Outside
from zethane.service.points import Point, binding_entries, difference, standing_entries
from zethane.service.policy_in_force import PolicyInForce, Standing
from zethane.service.policy_review import PolicyReview
from zethane.service.portal_access import PortalAccess
from zethane.service.sessions import Live
from zethane.service.state import State
from zethane.service.switch import MeterState, SwitchChannel

Entries = dict[EntryKey, Flow]
Pending = tuple[Point, SwitchChannel, Awaitable[None]]
"""A bundle that is written, on its way to a switch."""


class Enforcement:
    """Keeps the switches' tables as the state wants them."""

    def __init__(self, state: State, portal_access: PortalAccess) -> None:
        self._state = state
        self._portal_access = portal_access
        self._review = PolicyReview(state)
        self._members: dict[int, set[int]] = defaultdict(set)
        self._count_outside()
        for point in state.fabric.points.values():
            self._want(point)

    # sessions

    def session_started(self, live: Live) -> None:
        """Bind a session at its own switch, and at every switch that has somebody it may talk with."""
        home = self._state.point_of(live)
        home.local.add(live.session.number)
        self._count(home, live)
        self._bind(home, live)
        self._want(home)
        for point in self._state.fabric.points.values():
            if point is not home and not live.classed.isdisjoint(point.wanted):
                point.remote.add(live.session.number)
                self._bind(point, live)

    def session_changed(self, live: Live) -> None:
        """Write a session's bindings again: a new lease, one more address."""
        session, by_address = live.session, live.by_address
        new = [address for address in session.addresses if address not in by_address]
        moment = max(self._state.clock(), live.stood)
        by_address |= self._state.policy.classes_at(session.segment, session.principal, new, moment)
        changes = self._recount(live)
        for point in self._holding(live):
            changes[point.number] += [Add(flow) for flow in self._bindings(point, live)]
        self._send_each(changes)

    def session_moved(self, live: Live, flows: Iterable[LiveFlow]) -> list[Pending]:
        """A session has other classes: one bundle per switch with its bindings, and the rules of its flows.

        `flows` are those that go on, with their new classes; the rules of all others go. No packet of a flow that goes
        on is lost. The bundles are written when this returns; they have to be settled.
        """
        number, points = live.session.number, self._state.fabric.points.values()
        changes: dict[int, list[Change]] = {point.number: [] for point in points}
        for point in self._holding(live):
            changes[point.number] += _flows_of(number)
        for where, more in self._recount(live).items():
            changes[where] += more
        for point in self._holding(live):
            bindings = [Add(flow) for flow in self._bindings(point, live)]
            changes[point.number] += bindings or _all_of(number)
        for flow in flows:
            for point, rule in self._rules_of(flow):
                changes[point.number].append(Add(rule))
        return [pending for point in points for pending in self._commit(point, changes[point.number])]

    def _count(self, home: Point, live: Live) -> None:
        """Count a session under the classes that it has, where it is."""
        live.classed = live.held
        for session_class in live.classed:
            self._members[session_class].add(live.session.number)
            home.classes[session_class] += 1

    def _uncount(self, home: Point, live: Live) -> bool:
        """Count it no more; whether a class has nobody left there."""
        for session_class in live.classed:
            self._members[session_class].discard(live.session.number)
            home.classes[session_class] -= 1
        gone = [session_class for session_class in live.classed if home.classes[session_class] <= 0]
        for session_class in gone:
            del home.classes[session_class]
        return bool(gone)

    def _recount(self, live: Live) -> dict[int, list[Change]]:
        """Count a session under the classes that it has now; what follows for bindings, by the switches' numbers."""
        number, home = live.session.number, self._state.point_of(live)
        changes: dict[int, list[Change]] = {point.number: [] for point in self._state.fabric.points.values()}
        if live.classed == live.held:
            return changes
        self._uncount(home, live)
        self._count(home, live)
        for point in self._state.fabric.points.values():
            belongs = not live.classed.isdisjoint(point.wanted)
            if point is not home and number in point.remote and not belongs:
                point.remote.discard(number)
                changes[point.number] += _all_of(number)
            elif point is not home and belongs:
                point.remote.add(number)
        changes[home.number] += self._wanted_changes(home)
        return changes

    def flows_reviewed(self, found: Reviewed) -> list[Pending]:
        """Take the rules of ended flows back one by one, and write those of changed flows over what is there.

        A switch keeps the counters of an entry that is written over. The bundles have to be settled.
        """
        changes: dict[int, list[Change]] = defaultdict(list)
        for flow in found.ended:
            for point, rule in self._rules_of(flow):
                changes[point.number].append(Remove(*rule.key))
        for flow in found.changed:
            for point, rule in self._rules_of(flow):
                changes[point.number].append(Add(rule))
        points = self._state.fabric.points.values()
        return [pending for point in points for pending in self._commit(point, changes[point.number])]

    def _rules_of(self, flow: LiveFlow) -> Iterator[tuple[Point, Flow]]:
        """The per-flow rules of a flow on the switches at its ends."""
        subject, obj = self._state.party(flow.subject), self._state.party(flow.object)
        if subject is None or obj is None:
            return
        own, far = self._state.point_of(subject), self._state.point_of(obj)
        lease = flow_lease(flow.ends, self._state.clock())
        for direction in both_directions(
            flow.key, flow.subject, flow.object, flow.subject_class, flow.object_class, flow.rule
        ):
            yield own, verified_flow(direction, notify=True, lease=lease)
            if far is not own:
                yield far, verified_flow(direction, notify=False, lease=lease)

    def _commit(self, point: Point, changes: list[Change]) -> Iterator[Pending]:
        """Send changes as one bundle, removals first."""
        if changes and point.ready and point.channel is not None:
            changes.sort(key=lambda change: isinstance(change, Add))
            yield point, point.channel, point.channel.commit(changes)

    def address_released(self, live: Live, address: bytes) -> None:
        """Take one address back from a session: its bindings, and every flow of the session with it."""
        changes: dict[int, list[Change]] = defaultdict(list)
        for point in self._holding(live):
            changes[point.number] += _all_with(live.session.number, address)
        live.by_address.pop(address, None)
        for where, more in self._recount(live).items():
            changes[where] += more
        self._send_each(changes)

    def session_ended(self, live: Live) -> None:
        """Take a session back everywhere: its bindings and every flow of it."""
        number = live.session.number
        for point in self._holding(live):
            self._send(point, _all_of(number))
            point.remote.discard(number)
        home = self._state.point_of(live)
        home.local.discard(number)
        if self._uncount(home, live):
            self._want(home)

    def _holding(self, live: Live) -> list[Point]:
        number = live.session.number
        points = self._state.fabric.points.values()
        return [point for point in points if number in point.local or number in point.remote]

    def _bind(self, point: Point, live: Live) -> None:
        self._send(point, [Add(flow) for flow in self._bindings(point, live)])

    def _bindings(self, point: Point, live: Live) -> Iterable[Flow]:
        return self._bindings_at(point, live, self._state.clock())

    def _bindings_at(self, point: Point, live: Live, now: float) -> Iterator[Flow]:
        """A session's bindings. An address that DHCP has leased ends with that lease, controller or not."""
        session, binding, leases = live.session, live.binding, self._state.leases
        for address in session.addresses:
            until = leases.until(address, session.attachment)
            ends = live.ends if until is None else min(live.ends, until)
            one = replace(binding, addresses=(address,), session_class=live.class_at(address))
            yield from binding_entries(one, point, ends, now)

    def _want(self, point: Point) -> None:
        """Bring in or drop the bindings of sessions that the switch's own may, or may no longer, talk with."""
        self._send(point, self._wanted_changes(point))

    def _wanted_changes(self, point: Point) -> list[Change]:
        """Work out which classes the switch's own sessions may talk with, and what follows for bindings there."""
        changes: list[Change] = []
        peers = self._state.policy.peers
        wanted = frozenset().union(*(peers.get(session_class, frozenset()) for session_class in point.classes))
        sessions = self._state.sessions.by_number
        for session_class in wanted - point.wanted:
            for number in self._members[session_class] - point.local - point.remote:
                point.remote.add(number)
                changes += [Add(flow) for flow in self._bindings(point, sessions[number])]
        for session_class in point.wanted - wanted:
            for number in self._members[session_class] & point.remote:
                if sessions[number].classed.isdisjoint(wanted):
                    point.remote.discard(number)
                    changes += _all_of(number)
        point.wanted = wanted
        return changes

    # policy

    async def policy_changed(self, new: PolicyInForce, moved: Iterable[tuple[Live, Session, Standing]]) -> None:
        """Put another policy in force; `moved` are sessions as they are then, with where they stand.

        Everything is computed and written before the first suspension, one bundle per switch. Raises nothing for
        a switch that refuses: its connection is closed, and reconciled when it is back.
        """
        state = self._state
        points = list(state.fabric.points.values())
        before = {point.number: self.intended(point) for point in points}
        taken_back = self._swap(new, moved)
        waiting: list[Pending] = []
        for point in points:
            changes = difference(before[point.number], self.intended(point)) + taken_back
            if changes and point.ready and point.channel is not None:
                waiting.append((point, point.channel, point.channel.commit(changes)))
        await self.settle(waiting)

    async def settle(self, waiting: Iterable[Pending]) -> None:
        """Wait for bundles that are written. A switch that refuses one is started over with."""
        for point, channel, commit in waiting:
            await self._settle(point, channel, commit)

    async def _settle(self, point: Point, channel: SwitchChannel, commit: Awaitable[None]) -> None:
        try:
            await commit
        except ChannelError as error:
            self._state.journal.switch("refused", point.switch.name, str(error), self._state.clock())
            channel.close(f"a change could not be applied: {error}")

    def hours_changed(self, new: PolicyInForce) -> list[Pending]:
        """Put the same policy in force as it is at another hour: what rules open and close, one bundle per switch.

        No binding is touched. Flows of rules that have closed go on under another one if there is one, without a gap;
        the others stop. The bundles are written when this returns; they have to be settled.
        """
        state = self._state
        before, state.policy = state.policy, new
        removed, added = before.difference(new)
        opened, closed = before.turns_to(new)
        # Where a deny opens any flow may be meant; where the clock was put back, leases may be too long.
        all_flows = any(map(new.denies, new.numbered(opened))) or new.since < before.since
        going_on: list[LiveFlow] = []
        taken_back = self._review.no_longer_allowed(None if all_flows else new.numbered(closed), going_on)
        changes = [*(Remove(*key) for key in removed), *taken_back, *map(Add, added)]
        rules: dict[int, list[Change]] = defaultdict(list)
        for flow in going_on:
            for point, rule in self._rules_of(flow):
                rules[point.number].append(Add(rule))
        points = state.fabric.points.values()
        return [pending for point in points for pending in self._commit(point, [*changes, *rules[point.number]])]

    def _swap(self, new: PolicyInForce, moved: Iterable[tuple[Live, Session, Standing]]) -> list[Change]:
        state = self._state
        state.policy = new
        for live, session, standing in moved:
            state.sessions.change(live, session, standing.until)
            now = state.clock()
            by_address = new.classes_at(standing.segment, session.principal, session.addresses, now)
            if live.stand(standing.session_class, by_address, now):
                live.leased = min(live.ends, now + MAX_LEASE)
        self._members.clear()
        for point in state.fabric.points.values():
            point.classes.clear()
            point.remote.clear()
        for live in state.sessions:
            self._count(state.point_of(live), live)
        state.use_networks()
        self._count_outside()
        for point in state.fabric.points.values():
            point.wanted = frozenset().union(*(new.peers.get(c, frozenset()) for c in point.classes))
            for session_class in point.wanted:
                point.remote |= self._members[session_class] - point.local
        return self._review.no_longer_allowed()

    def _count_outside(self) -> None:
        """Sessions that may have flows with a network outside, or a server, are bound at the switch where it is."""
        for serving in self._state.serving.values():
            self._state.point_of(serving).classes[DNS_CLASS] += 1
        for outside in self._state.outside.values():
            self._state.point_of(outside).classes.update(outside.classes)

    # links

    def links_changed(self) -> None:
        """Route around what is down; only the entries of `forward` that differ are written."""
        for point, old in self._state.fabric.route():
            before = {flow.key: flow for flow in forward_entries(point.number, old, point.vlans)}
            after = {flow.key: flow for flow in forward_entries(point.number, point.hops, point.vlans)}
            self._send(point, difference(before, after))

    # reconciliation

    def intended(self, point: Point) -> Entries:
        """Everything that a switch should hold, apart from per-flow rules."""
        return {flow.key: flow for flow in self.intended_entries(point, self._state.clock())}

    def intended_entries(self, point: Point, now: float) -> Iterator[Flow]:
        """The same one by one, with the leases that are right at `now`. What changes meanwhile does no harm."""
        state = self._state
        yield from standing_entries(state.fabric, point, state.policy.entries.values())
        for outside in tuple(state.outside.values()):
            yield from self._external(point, outside)
        for serving in state.serving.values():
            yield from dns_bindings(serving.server, point.number)
        for number in sorted(point.local | point.remote):
            live = state.sessions.by_number.get(number)
            if live is not None:
                yield from self._bindings_at(point, live, now)

    def _external(self, point: Point, outside: Outside) -> Iterable[Flow]:
        own = self._state.fabric.own_prefixes
        yield from external_sources(outside.gateway, outside.regions, own, point.number)
        yield from external_destinations(outside.gateway, outside.regions, own)

    async def reconcile(self, point: Point) -> int:
        """Make a switch's tables right in one bundle, and learn the flows that it has. Raises ChannelError.

        What is right is not touched. Returns the number of changes.
        """
        channel = point.channel
        if channel is None:
            return 0
        async with point.lock:
            ports = frozenset(point.ports)
            await self.set_meters(point, channel, ports)
            found = await channel.read_tables()
            if point.channel is not channel:
                raise ChannelError("another connection has taken over")
            # Ports that have come meanwhile have no meters yet.
            point.standing = ports.intersection(point.ports)
            keep = Adoption(self._state, self._portal_access, point).adopt(found)
            changes = reconciliation(found, self.intended(point).values(), keep)
            point.ready = True  # the bundle is written before anything that comes after
            if changes:
                await channel.commit(changes)
            channel.match_fragments()
        return len(changes)

    async def ports_changed(self, point: Point) -> int:
        """Write what a switch should hold for the ports that it has now; no other entry is touched.

        The entries of a port that is gone go first; those of a new one come after its meters. Raises ChannelError.
        """
        channel = point.channel
        if channel is None or not point.ready:
            return 0
        async with point.lock:
            ports = frozenset(point.ports)
            changes = self._stand(point, point.standing & ports)
            await self.set_meters(point, channel, ports)
            if point.channel is channel:
                changes += self._stand(point, ports.intersection(point.ports))
        return changes

    def _stand(self, point: Point, ports: frozenset[int]) -> int:
        entries = self._state.policy.entries.values()
        before = {flow.key: flow for flow in standing_entries(self._state.fabric, point, entries)}
        point.standing = ports
        after = {flow.key: flow for flow in standing_entries(self._state.fabric, point, entries)}
        changes = difference(before, after)
        self._send(point, changes)
        return len(changes)

    async def set_meters(self, point: Point, channel: SwitchChannel, ports: frozenset[int]) -> dict[int, MeterState]:
        """Make the meters right for these ports. Those that this controller made for ports that are gone are removed.

        Whatever else there is may be somebody else's and stays: a meter that no entry names limits nothing.
        """
        wanted = point.meters(self._state.limits.meters, ports)
        stale = point.metered - wanted.keys()
        point.metered = set(wanted)
        return await channel.set_meters(wanted, stale)

    def _send_each(self, changes: Mapping[int, list[Change]]) -> None:
        for number, found in changes.items():
            self._send(self._state.fabric.by_number[number], found)

    def _send(self, point: Point, changes: list[Change]) -> None:
        if changes and point.ready and point.channel is not None:
            point.channel.apply(changes)


def _all_of(number: int) -> list[Change]:
    """Everything that names a session as subject or as object, in the tables that know sessions.

    One message for all tables would reach those of other owners, whose cookies may mean anything.
    """
    as_subject, as_object = cookie(number, 0, 0), cookie(0, number, 0)
    return [
        RemoveMatching(Table.SOURCE, (), as_subject, SUBJECT_MASK),
        RemoveMatching(Table.DESTINATION, (), as_object, OBJECT_MASK),
        *_flows_of(number),
    ]


def _flows_of(number: int) -> list[Change]:
    """Every per-flow rule that names a session as subject or as object."""
    return [
        RemoveMatching(Table.FLOW, (), cookie(number, 0, 0), SUBJECT_MASK),
        RemoveMatching(Table.FLOW, (), cookie(0, number, 0), OBJECT_MASK),
    ]


def _all_with(number: int, address: bytes) -> list[Change]:
    """Everything that names a session and one of its addresses."""
    as_subject, as_object = cookie(number, 0, 0), cookie(0, number, 0)
    sent, received = match(**source_fields(address)), match(**destination_fields(address))
    found: list[Change] = [
        RemoveMatching(Table.SOURCE, sent, as_subject, SUBJECT_MASK),
        RemoveMatching(Table.DESTINATION, received, as_object, OBJECT_MASK),
    ]
    for wanted in (sent, received):
        found.append(RemoveMatching(Table.FLOW, wanted, as_subject, SUBJECT_MASK))
        found.append(RemoveMatching(Table.FLOW, wanted, as_object, OBJECT_MASK))
    return found
