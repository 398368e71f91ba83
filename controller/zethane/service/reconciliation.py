"""Reconciliation: makes a switch's tables and meters right, when it connects and when its ports change."""

from __future__ import annotations

from zethane.errors import ChannelError
from zethane.service.adoption import Adoption
from zethane.service.comparison import reconciliation
from zethane.service.delivery import send
from zethane.service.intent import intended
from zethane.service.points import Point, difference, standing_entries
from zethane.service.portal_access import PortalAccess
from zethane.service.state import State
from zethane.service.switch import MeterState, SwitchChannel


class Reconciliation:
    """Works on one switch at a time."""

    def __init__(self, state: State, portal_access: PortalAccess) -> None:
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
            found = await channel.read_tables()
            if point.channel is not channel:
                raise ChannelError("another connection has taken over")
            # Ports that have come meanwhile have no meters yet.
            point.standing = ports.intersection(point.ports)
            keep = Adoption(self._state, self._portal_access, point).adopt(found)
            changes = reconciliation(found, intended(self._state, point).values(), keep)
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
