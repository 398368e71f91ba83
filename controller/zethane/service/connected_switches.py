"""The switches that are connected: their ports, and that each has what it should have.

Every method finishes at once; what has to wait for a switch is a task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zethane.audit.reason import SessionEvent
from zethane.service.clearing import Clearing
from zethane.service.discovery import Discovery
from zethane.service.enforcement import Enforcement
from zethane.service.points import Point
from zethane.service.portal_access import PortalAccess
from zethane.service.reconciliation import Reconciliation
from zethane.service.session_life import SessionLife, Spawn
from zethane.service.state import State
from zethane.service.switch import PortState, SwitchChannel

MAX_PORTS = 1024
"""Ports of a switch that are used; each has its entries and meters. What is at others cannot send anything."""


class ConnectedSwitches:
    """`port_gone` is told of ports that are gone or down, by the switch's datapath id and their number."""

    def __init__(
        self,
        state: State,
        reconciliation: Reconciliation,
        discovery: Discovery,
        portal_access: PortalAccess,
        clearing: Clearing,
        life: SessionLife,
        enforcement: Enforcement,
        port_gone: Callable[[int, int], None],
        spawn: Spawn,
    ) -> None:
        self._state = state
        self._reconciliation = reconciliation
        self._discovery = discovery
        self._portal_access = portal_access
        self._clearing = clearing
        self._life = life
        self._enforcement = enforcement
        self._port_gone = port_gone
        self._spawn = spawn

    def connected(self, channel: SwitchChannel, ports: Sequence[PortState]) -> bool:
        """A switch has connected: wanted if it is described and not connected already."""
        state = self._state
        point = state.fabric.points.get(channel.dpid)
        if point is None or point.channel is not None:
            reason = "unknown datapath id" if point is None else "already connected"
            state.journal.switch("refused", f"{channel.dpid:016x}", reason, state.clock())
            state.counters["switches_refused"] += 1
            return False
        point.channel, point.ready, point.since = channel, False, state.clock()
        self._take_ports(point, ports)
        state.journal.switch("connected", point.switch.name, "", state.clock())
        for number in self._portal_access.ports_of(channel.dpid):
            if number not in point.ports or not point.ports[number].up:
                self._portal_access.port_gone(channel.dpid, number)
        for number in point.switch.ports:
            if number not in point.ports or not point.ports[number].up:
                self._discovery.port_down(point, number)
        self._ports_changed(point)
        self._start_reconciling(point)
        return True

    def _take_ports(self, point: Point, ports: Sequence[PortState]) -> None:
        """The ports of a switch that has just connected; if there are too many, those that are described come first."""
        ranked = sorted(ports, key=lambda port: (port.number not in point.switch.ports, port.number))
        point.ports = {port.number: port for port in ranked[:MAX_PORTS]}
        if len(ranked) > MAX_PORTS:
            self._ignore_ports(point, len(ranked) - MAX_PORTS)

    def _ignore_ports(self, point: Point, number: int) -> None:
        """Nothing can come in at these: there are no entries for them."""
        self._state.counters["ports_ignored"] += number
        if not point.overfull:
            point.overfull = True
            detail = f"too many ports: {MAX_PORTS} are used"
            self._state.journal.switch("error", point.switch.name, detail, self._state.clock())

    def _start_reconciling(self, point: Point) -> None:
        """One at a time for each switch, whatever it reports meanwhile: that is looked at afterwards."""
        point.again = True
        if not point.reconciling:
            point.reconciling = True
            self._spawn(self._reconcile(point))

    async def _reconcile(self, point: Point) -> None:
        try:
            while point.again and point.channel is not None:
                point.again = False
                await self._reconcile_once(point, point.channel)
        finally:
            point.reconciling = False

    async def _reconcile_once(self, point: Point, channel: SwitchChannel) -> None:
        try:
            work = self._reconciliation.ports_changed if point.ready else self._reconciliation.reconcile
            changes = await work(point)
        except Exception as error:  # noqa: BLE001  # whatever it is, this switch is not right: start over with it
            channel.close(f"could not be reconciled: {type(error).__name__}: {error}")
            return
        self._state.journal.switch("reconciled", point.switch.name, f"{changes} changes", self._state.clock())
        self._discovery.switch_ready(point)

    def disconnected(self, channel: SwitchChannel, reason: str) -> None:
        """A switch is away. Its entries stay in force there until their leases end."""
        point = self._state.fabric.points.get(channel.dpid)
        if point is not None and point.channel is channel:
            point.channel, point.ready = None, False
            self._clearing.away(point)
            self._state.journal.switch("disconnected", point.switch.name, reason, self._state.clock())

    def port_status(self, channel: SwitchChannel, port: PortState, *, removed: bool) -> None:
        """A port changed: its sessions end when it goes down, and paths lead around it."""
        point = self._state.fabric.points[channel.dpid]
        known = point.ports.get(port.number)
        if known == (None if removed else port):
            return  # nothing has changed, however often a switch says so
        if known is None and len(point.ports) >= MAX_PORTS:
            self._ignore_ports(point, 1)
            return
        if removed:
            point.ports.pop(port.number, None)
        else:
            point.ports[port.number] = port
        if removed or not port.up:
            self._port_gone(channel.dpid, port.number)
            self._discovery.port_down(point, port.number)
        elif known is None or not known.up:
            self._discovery.port_up(point, port.number)
        self._ports_changed(point)
        if removed or known is None:
            self._start_reconciling(point)

    def _ports_changed(self, point: Point) -> None:
        for number in tuple(point.local):
            live = self._state.sessions.by_number[number]
            port = point.ports.get(live.session.attachment.port)
            if port is None or not port.up:
                self._life.end(live, SessionEvent.PORT_DOWN)
        self._enforcement.links_changed()
