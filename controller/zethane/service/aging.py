"""Aging: finds out which of the flows without idle timeouts are silent.

Each is given its idle timeout for a few seconds now and then. The switch itself decides, packet by packet: it removes
what has been silent for so long, and reports it as it reports any entry that was idle. So nothing in use is cut, and no
counter has to be read.
"""

from __future__ import annotations

from collections.abc import Callable

from zethane.pipeline.bindings import flow_lease
from zethane.service.flow_rules import directions
from zethane.service.flows import FORWARD, RETURN, LiveFlow
from zethane.service.points import Point
from zethane.service.state import State
from zethane.service.untimed import test_timeout

SLICE = 48
"""Flows of a switch that are written before others have their turn: less than a millisecond, here and in the switch."""

SILENT = 256
"""Flows of a switch that never had rules and are ended before others have their turn: about half a millisecond."""

ON_TRIAL = 64
"""Flows that are put to the test at once, as a multiple of those that may have timeouts for good."""

LEAST_ON_TRIAL, MOST_ON_TRIAL = 1024, 16_384
"""And how many at least and at the most: as entries that can expire they slow a switch down with their number."""


class Aging:
    """Goes through the untimed flows of every switch, a slice at a time."""

    def __init__(self, state: State, silent: Callable[[LiveFlow, float], None]) -> None:
        """`silent` is told of flows that have ended without ever having had rules."""
        self._state = state
        self._silent = silent
        self.plain: Callable[[LiveFlow, float], bool] | None = None
        """Does the same for plain flows, compiled; whether it was one."""

    def tick(self, now: float) -> bool:
        """Begin and end tests. Returns whether more is due."""
        more = False
        for dpid, point in self._state.fabric.points.items():
            if point.ready and point.channel is not None and not point.channel.is_behind:
                more |= self._end(dpid, now) | self._begin(dpid, now)
        return more

    def _begin(self, dpid: int, now: float) -> bool:
        flows = self._state.flows
        most = max(ON_TRIAL * self._state.limits.timed_flows_per_switch, LEAST_ON_TRIAL)
        room = min(most, MOST_ON_TRIAL) - flows.on_trial(dpid)
        written = silent = 0
        while written < min(room, SLICE) and silent < SILENT:
            flow = flows.due(dpid, now)
            if flow is None:
                return False
            if not flow.alive:
                if self.plain is None or not self.plain(flow, now):
                    self._silent(flow, now)
                silent += 1
                continue
            written += 1
            flows.set_idle_timeout(flow, test_timeout(flow.tests, flow.key.proto))
            flows.put_to_the_test(flow, now)
            self._write(flow)
            self._state.counters["flows_tested"] += 1
        return room > written

    def _end(self, dpid: int, now: float) -> bool:
        """Those that are still there are in use: they go on without a timeout."""
        flows = self._state.flows
        for _ in range(SLICE):
            flow = flows.tested(dpid, now)
            if flow is None:
                return False
            flow.tests += 1
            flows.set_idle_timeout(flow, 0)
            flows.wait(flow, now)
            self._write(flow)
        return True

    def _write(self, flow: LiveFlow) -> None:
        """Write its entries over those that are there: a switch keeps their counters, and when they last matched."""
        state = self._state
        subject, obj = state.party(flow.subject), state.party(flow.object)
        if subject is None or obj is None:
            return
        own, far = state.point_of(subject), state.point_of(obj)
        if far is not own and far.ready:
            self._install(far, flow, notify=False)
        self._install(own, flow, notify=True)

    def _install(self, point: Point, flow: LiveFlow, *, notify: bool) -> None:
        if point.channel is None:
            return
        lease, both = flow_lease(flow.ends, self._state.clock()), directions(flow)
        for direction in (RETURN, FORWARD):
            if flow.alive & direction:
                point.channel.install(both[direction - 1], notify=notify, lease=lease, idle=flow.idle_timeout)
