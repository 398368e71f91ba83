"""Reconciliation: makes a switch's tables and meters right, when it connects and when its ports change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain

from zethane.errors import ChannelError
from zethane.pipeline.held import HeldBinding, Reported
from zethane.service.adoption import Adoption
from zethane.service.comparison import Comparison, Leases
from zethane.service.delivery import send
from zethane.service.intent import bound_sessions, intended_entries
from zethane.service.points import Point, difference
from zethane.service.portal_access import PortalAccess
from zethane.service.sheaf import NOTHING, Sheaf
from zethane.service.slices import READ_SLICE, in_slices
from zethane.service.standing_entries import standing_entries
from zethane.service.state import State
from zethane.service.switch import Bundle, MeterState, SwitchChannel

MAX_MISSED = 200_000
"""Changes that are kept while a switch is made right; where there are more, it is started over with."""

_PACE, _SURE_AFTER, _SHARE = 60e-6, 1000, 0.8
"""Seconds that an entry takes, as long as no more than so many have shown how long it really is; and how much of the
time that is expected until a commit leases are shortened by."""


class Reconciliation:
    """Works on one switch at a time."""

    def __init__(self, state: State, portal_access: PortalAccess) -> None:
        self._turn = asyncio.Lock()
        self._state = state
        self._portal_access = portal_access

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
            asked = self._state.clock()
            found = await channel.read_tables(brief=True)
            # Of the switches that come at the same time one is worked on: of what is in hand there is a lot for each.
            async with self._turn:
                _still(point, channel)
                # Ports that have come meanwhile have no meters yet.
                point.standing = ports.intersection(point.ports)
                point.missed = []
                try:
                    bundle = await self._write(point, channel, found, asked)
                    missed = point.missed
                finally:
                    point.missed = None
                # The bundle is written before anything that comes after.
                point.ready = True
                committed = bundle.commit() if bundle.size else None
                channel.match_fragments()
                if missed:
                    channel.apply(missed)
            if committed is not None:
                await committed
        return bundle.size

    async def _write(self, point: Point, channel: SwitchChannel, found: Sequence[Reported], asked: float) -> Bundle:
        """Write what is not as intended into a bundle, and learn the flows, giving way again and again.

        In which order the members of a bundle come that are about different entries is all one: they take effect at
        once.
        """
        state, comparison, sheaves = self._state, Comparison(), dict[int, Sheaf]()
        adoption = Adoption(state, self._portal_access, point, asked)
        async for entry in in_slices(await adoption.adopt(found), READ_SLICE):
            if isinstance(entry, HeldBinding):
                sheaves.setdefault(entry.session, Sheaf()).add(entry)
            else:
                comparison.add(entry)
        bundle = channel.bundle()
        doubtful = await self._doubtful(point, channel, sheaves, asked)
        # All of them first: one may have the cookie of another session.
        async for held in in_slices(chain.from_iterable(sheaf.entries for sheaf in sheaves.values())):
            comparison.add(held.whole)
        leases = _Leases(2 * len(doubtful))
        async for flow in in_slices(intended_entries(state, point, asked, doubtful)):
            _still(point, channel)
            now = state.clock()
            finding = comparison.hold(flow, Leases(now - asked))
            ahead = leases.until_commit(now) if flow.hard_timeout else 0
            if finding is not None:
                bundle.add([finding.change_after(now - asked + ahead)])
        async for finding in in_slices(comparison.foreign()):
            _still(point, channel)
            bundle.add([finding.change])
        _still(point, channel)
        return bundle

    async def _doubtful(
        self, point: Point, channel: SwitchChannel, sheaves: dict[int, Sheaf], asked: float
    ) -> set[int]:
        """The sessions whose entries have to be looked at in full; the sheaves of all others are taken away."""
        state, doubtful = self._state, set[int]()
        async for live in in_slices(bound_sessions(state, point), READ_SLICE):
            _still(point, channel)
            number = live.session.number
            if sheaves.get(number, NOTHING).is_right(state, point, live, Leases(state.clock() - asked), asked):
                del sheaves[number]
            else:
                doubtful.add(number)
        return doubtful

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
        before = {flow.key: flow for flow in standing_entries(self._state.fabric, point, ())}
        point.standing = ports
        after = {flow.key: flow for flow in standing_entries(self._state.fabric, point, ())}
        changes = difference(before, after)
        send(point, changes)
        return len(changes)

    async def set_meters(self, point: Point, channel: SwitchChannel, ports: frozenset[int]) -> dict[int, MeterState]:
        """Make the meters right for these ports. Those that this controller made for ports that are gone are removed.

        Whatever else there is may be somebody else's and stays: a meter that no entry names limits nothing.
        """
        wanted = point.meters(self._state.limits.meters, ports)
        stale = point.metered - wanted.keys()
        point.metered = set(wanted)
        return await channel.set_meters(wanted, stale)


class _Leases:
    """When leases begin that are written into a bundle: with its commit, which comes after all the others.

    With a hundred thousand sessions that is ten seconds and more, by which a lease would outlast its session.
    """

    def __init__(self, entries: int) -> None:
        """About so many have leases."""
        self._entries = entries
        self._written = 0
        self._since = 0.0

    def until_commit(self, now: float) -> int:
        """Whole seconds from now, for one entry more: rather too few than too many, lest anybody be cut off early."""
        if not self._written:
            self._since = now
        self._written += 1
        pace = _PACE if self._written <= _SURE_AFTER else (now - self._since) / self._written
        return int(_SHARE * pace * max(0, self._entries - self._written))


def _still(point: Point, channel: SwitchChannel) -> None:
    """Raise ChannelError if another connection has taken over, or too much has changed meanwhile."""
    if point.channel is not channel:
        raise ChannelError("another connection has taken over")
    if point.missed is not None and len(point.missed) > MAX_MISSED:
        raise ChannelError("too much has changed while its tables were made right")
