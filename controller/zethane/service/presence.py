"""Presence: at which switches sessions are bound.

A session is bound at its own switch, and wherever a session is that its classes may talk with, either way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from zethane.pipeline.change import Add, Change
from zethane.pipeline.fields import DNS_CLASS
from zethane.service.delivery import Changes
from zethane.service.intent import session_bindings
from zethane.service.points import Point
from zethane.service.policy_classes import ClassNumbers
from zethane.service.removals import all_of, connections_of
from zethane.service.sessions import Live
from zethane.service.state import State

FEW = 64
"""Classes that are looked at one by one, however few classes there are at a switch."""

_NOBODY: frozenset[int] = frozenset()


def _here(point: Point, numbers: Iterable[int]) -> Iterator[int]:
    """Those of some classes of which the switch has sessions."""
    return (number for number in numbers if number in point.classes)


class Presence:
    """Counts sessions by class and switch, and works out what follows for their bindings."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._members: dict[int, set[int]] = defaultdict(set)
        self._count_outside()

    def holding(self, live: Live) -> list[Point]:
        """The switches that a session is bound at."""
        number = live.session.number
        points = self._state.fabric.points.values()
        return [point for point in points if number in point.local or number in point.remote]

    def bindings(self, point: Point, live: Live) -> list[Change]:
        """A session's bindings at a switch, to be written now; none for one that will be made right as a whole."""
        if not point.is_told:
            return []
        return [Add(flow) for flow in session_bindings(self._state, point, live, self._state.clock())]

    def _all_of(self, number: int) -> list[Change]:
        return all_of(number, tracked=self._state.policy.has_grants)

    def enter(self, live: Live) -> Changes:
        """A session is there: its bindings, and those of everybody that it may talk with at its switch."""
        number, home = live.session.number, self._state.point_of(live)
        home.local.add(number)
        is_first = self._count(home, live)
        changes = {home.number: self.bindings(home, live) + (self._wanted_by(home, live.classed) if is_first else [])}
        for point in self._state.fabric.points.values():
            if point is not home and self._bits(live) & point.wanted:
                point.remote.add(number)
                changes[point.number] = self.bindings(point, live)
        return changes

    def leave(self, live: Live) -> Changes:
        """A session whose bindings are gone is there no more: the bindings that only it needed go."""
        number, home = live.session.number, self._state.point_of(live)
        changes: Changes = defaultdict(list)
        for point in self.holding(live):
            if self._state.policy.has_grants:
                changes[point.number] += connections_of(number)
            point.remote.discard(number)
        home.local.discard(number)
        if self._uncount(home, live):
            changes[home.number] += self._wanted_by(home, live.classed, self._peers(live.classed))
        return changes

    def recount(self, live: Live) -> Changes:
        """Count a session under the classes that it has now; what follows for bindings."""
        number, home = live.session.number, self._state.point_of(live)
        changes: Changes = {point.number: [] for point in self._state.fabric.points.values()}
        if live.classed == live.held:
            return changes
        classed, lost = live.classed, self._peers(live.classed)
        self._uncount(home, live)
        self._count(home, live)
        for point in self._state.fabric.points.values():
            belongs = bool(self._bits(live) & point.wanted)
            if point is not home and number in point.remote and not belongs:
                point.remote.discard(number)
                changes[point.number] += self._all_of(number)
            elif point is not home and belongs:
                point.remote.add(number)
        changes[home.number] += self._wanted_by(home, classed | live.classed, lost)
        return changes

    def policy_changed(self, elsewhere: Collection[Live], before: ClassNumbers) -> Changes:
        """Another policy is in force, under which these sessions have other classes; what follows for bindings.
        `before` are the classes of the one before."""
        points = self._state.fabric.points.values()
        changes: Changes = defaultdict(list)
        layout = self._state.policy.classes.layout
        if any(point.layout is not layout for point in points):
            self._recount_all(changes)
        else:
            touched = self._state.policy.classes.touched_after(before)
            if touched is not None:
                touched.add(DNS_CLASS)  # has to do with every class of sessions, those that are new too
                touched = touched.union(*(live.classed | live.held for live in elsewhere))
            lost = {point: self._peers(_here(point, touched), before) for point in points if touched is not None}
            for live in elsewhere:
                home = self._state.point_of(live)
                self._uncount(home, live)
                self._count(home, live)
            for point in points:
                if touched is None:
                    changes[point.number] += self.wanted(point)
                else:
                    changes[point.number] += self._wanted_by(point, touched, lost[point] | before.bits(touched))
            for live in elsewhere:
                self._keep_remote(live, changes)
        for live in elsewhere:
            for point in self.holding(live):
                changes[point.number] += self.bindings(point, live)
        return changes

    def _keep_remote(self, live: Live, changes: Changes) -> None:
        """See to it that a session with another class is bound where it has to be, and nowhere else."""
        number, home, own = live.session.number, self._state.point_of(live), self._bits(live)
        for point in self._state.fabric.points.values():
            if point is home:
                continue
            if own & point.wanted:
                point.remote.add(number)
            elif number in point.remote:
                point.remote.discard(number)
                changes[point.number] += self._all_of(number)

    def _recount_all(self, changes: Changes) -> None:
        """Count everybody under the policy that is in force now."""
        state, points = self._state, self._state.fabric.points.values()
        before = {point.number: set(point.remote) for point in points}
        self._members.clear()
        for point in points:
            point.classes.clear()
            point.remote.clear()
        for live in state.sessions:
            self._count(state.point_of(live), live)
        state.use_networks()
        self._count_outside()
        for point in points:
            point.layout, point.wanted = state.policy.classes.layout, self._peers(point.classes)
            for session_class in state.policy.classes.at(point.wanted):
                point.remote |= self._members.get(session_class, _NOBODY) - point.local
            for number in before[point.number] - point.remote - point.local:
                changes[point.number] += self._all_of(number)
            for number in point.remote - before[point.number]:
                changes[point.number] += self.bindings(point, state.sessions.by_number[number])

    def wanted(self, point: Point) -> list[Change]:
        """Work out which classes the switch's own sessions may talk with, and what follows for bindings there."""
        between = self._state.policy.classes.between
        if between.has_untold:
            between.tell_all()  # once, in place of telling one after the other
        return self._want(point, self._peers(point.classes))

    def _wanted_by(self, point: Point, touched: Collection[int], lost: int = 0) -> list[Change]:
        """The same where nothing is other but what is about these classes: who has to do with them, or whether the
        switch has sessions of them. `lost` are the classes, as bits, that they had to do with there, and may not now.
        """
        classes = self._state.policy.classes
        if point.layout is not classes.layout:
            return self.wanted(point)
        wanted = self._peers(_here(point, touched))
        doubtful = (classes.bits(touched) | lost) & ~wanted
        if doubtful.bit_count() > max(FEW, len(point.classes) // 4):
            return self.wanted(point)
        wanted |= point.wanted & ~doubtful
        for number in classes.at(doubtful):
            if classes.meets(number, point.classes):
                wanted |= classes.bit(number)
        return self._want(point, wanted)

    def _want(self, point: Point, wanted: int) -> list[Change]:
        """See to it that all sessions of these classes are bound at a switch, and no others from elsewhere."""
        changes: list[Change] = []
        classes = self._state.policy.classes
        before = point.wanted if point.layout is classes.layout else 0
        point.layout = classes.layout
        if wanted == before:
            return changes
        sessions = self._state.sessions.by_number
        for session_class in classes.at(wanted & ~before):
            for number in self._members.get(session_class, _NOBODY) - point.local - point.remote:
                point.remote.add(number)
                changes += self.bindings(point, sessions[number])
        for session_class in classes.at(before & ~wanted):
            for number in self._members.get(session_class, _NOBODY) & point.remote:
                if not self._bits(sessions[number]) & wanted:
                    point.remote.discard(number)
                    changes += self._all_of(number)
        point.wanted = wanted
        return changes

    def _peers(self, numbers: Iterable[int], classes: ClassNumbers | None = None) -> int:
        """The classes that some of these may have flows with, as bits; under the policy in force, unless it is said
        of which one the classes are."""
        return (classes or self._state.policy.classes).peers_of(numbers)

    def _bits(self, live: Live) -> int:
        return self._state.policy.classes.bits(live.classed)

    def _count(self, home: Point, live: Live) -> bool:
        """Count a session under the classes that it has, where it is; whether it is the first of one there."""
        live.classed = live.held
        is_first = False
        for session_class in live.classed:
            self._members[session_class].add(live.session.number)
            home.classes[session_class] += 1
            is_first |= home.classes[session_class] == 1
        return is_first

    def _uncount(self, home: Point, live: Live) -> bool:
        """Count it no more; whether a class has nobody left there."""
        for session_class in live.classed:
            self._members[session_class].discard(live.session.number)
            home.classes[session_class] -= 1
        gone = [session_class for session_class in live.classed if home.classes[session_class] <= 0]
        for session_class in gone:
            del home.classes[session_class]
        return bool(gone)

    def _count_outside(self) -> None:
        """Sessions that may have flows with a network outside, or a server, are bound at the switch where it is."""
        for serving in self._state.serving.values():
            self._state.point_of(serving).classes[DNS_CLASS] += 1
        for outside in self._state.outside.values():
            self._state.point_of(outside).classes.update(outside.classes)
