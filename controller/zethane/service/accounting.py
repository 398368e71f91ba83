"""Accounting: when a flow has ended, and what it carried; and how much the meters kept out of the log.

Each direction of a flow has an entry of its own, which reports its counters when it goes. The flow has ended when
both are gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from zethane.net.flowkey import TCP, FlowKey
from zethane.pipeline.fields import split_cookie, split_meter
from zethane.pipeline.verified import FIN_IDLE, idle_timeout
from zethane.service.flow_rules import let_run_out
from zethane.service.flows import FORWARD, LiveFlow
from zethane.service.points import Point
from zethane.service.state import State
from zethane.service.switch import FlowRemoved
from zethane.service.untimed import ENDED_HALF

REMOVED_IDLE, REMOVED_HARD, REMOVED_DELETED = 0, 1, 2
"""OFPRR_*: why a flow-removed came."""

COUNTERS_DUE = 30.0
"""Seconds to wait for the last counters of a flow that was taken back."""

_REMOVED_TEXT = {REMOVED_IDLE: "idle", REMOVED_HARD: "lease-ended", REMOVED_DELETED: "removed"}


Renew = Callable[[LiveFlow, int], bool]
"""Called with a flow and the direction whose rule is gone because its time was over; whether it was written again."""


class Accounting:
    """Writes the record of every flow that ends."""

    def __init__(self, state: State, renew: Renew) -> None:
        self._state = state
        self._renew = renew

    def flow_removed(self, dpid: int, key: FlowKey, subject: int, event: FlowRemoved) -> None:
        """A switch reports that a direction of a flow that `subject` opened is gone.

        Only the subject's own switch is believed: a flow that another one could end here would stay in the switches
        at its ends, unknown to a later change of the policy.
        """
        flows = self._state.flows
        obj = split_cookie(event.cookie)[1]
        closing = flows.closing(key, subject, obj)
        found = flows.find(key)
        # Where nobody has opened it again, its entries may also go by themselves before they are taken back: that of a
        # connection that has ended does so after 2 s.
        if closing is not None and (event.reason == REMOVED_DELETED or found is None):
            if _is_at(closing[0], dpid) and not self._is_replaced(*closing[:2], event):
                self._closed(*closing, event)
            return
        if found is None or (found[0].subject, found[0].object) != (subject, obj) or not _is_at(found[0], dpid):
            return
        if not self._is_replaced(*found, event):
            self._direction_gone(*found, event)

    @staticmethod
    def _is_replaced(flow: LiveFlow, direction: int, event: FlowRemoved) -> bool:
        """Whether this was taken away for another rule of the same flow, which goes on: it is counted here.

        So is what was written for a class that an end no longer has, or under another rule of the policy.
        """
        classes = (flow.subject_class, flow.object_class)
        same = event.classes is None or event.classes == (classes if direction == FORWARD else classes[::-1])
        if not flow.is_replaced(direction) and same and split_cookie(event.cookie)[2] == flow.rule:
            return False
        flow.count(direction, event.packets, event.octets)
        return True

    def silent(self, flow: LiveFlow, now: float) -> None:
        """A flow without rules has been silent: it has ended, and an answer may still come."""
        state = self._state
        state.flows.remove(flow)
        subject = state.party(flow.subject)
        if subject is not None:
            subject.closes(flow.key.src)
        state.flows.expect_answer(flow, now)
        self._ended(flow, _REMOVED_TEXT[REMOVED_IDLE], now)

    def settle(self, now: float) -> None:
        """Write the records of flows whose last counters no switch will report any more."""
        for flow, why in self._state.flows.overdue(now - COUNTERS_DUE):
            self._ended(flow, why, now)

    def finish(self) -> None:
        """The controller stops: what it waits for the last counters of is recorded with what is known."""
        for flow, why in self._state.flows.overdue(math.inf):
            self._ended(flow, why, self._state.clock())

    def suppressed_denials(self) -> None:
        """Log how many denials were left out since the last time, because their port had too many."""
        state = self._state
        now = state.clock()
        for (switch, port, reason), packets in state.denials.account():
            state.journal.suppressed(switch, port, "log", reason, packets, now)

    async def read_drops(self, point: Point) -> None:
        """Log how many packets the meters of a switch have left out since the last time. Raises ChannelError."""
        if point.channel is None or not point.ready:
            return
        state = self._state
        read = await point.channel.read_meter_drops()
        drops = {meter: total for meter, total in read.items() if meter in point.metered}
        for meter, total in drops.items():
            more = total - point.dropped.get(meter, 0)
            if more > 0:
                kind, port = split_meter(meter)
                point.suppressed += more
                state.counters["suppressed"] += more
                state.journal.suppressed(point.switch.name, port, "meter", kind, more, state.clock())
        point.dropped = drops

    def _closed(self, flow: LiveFlow, direction: int, why: str, event: FlowRemoved) -> None:
        flow.count(direction, event.packets, event.octets)
        if _is_written_again(flow, event):
            # Taken back then, which is told. If its test was not over yet, that does not come: what is counted is
            # recorded when the time for it has passed.
            return
        flow.alive &= ~direction
        if not flow.alive:
            self._state.flows.closed(flow)
            self._ended(flow, why, self._state.clock())

    def _direction_gone(self, flow: LiveFlow, direction: int, event: FlowRemoved) -> None:
        """The flow lives as long as one direction does; what ended idle may go on with a packet.

        What only its time has ended goes on at once, where the decision still stands.
        """
        state = self._state
        flow.count(direction, event.packets, event.octets)
        if not flow.alive:
            return  # its rules have not been written yet: this was an earlier one's
        # A FIN or RST that passed has shortened the entry's idle timeout.
        finished = 0 < event.idle_timeout <= FIN_IDLE
        if event.reason == REMOVED_HARD and not finished and self._renew(flow, direction):
            return
        if _is_written_again(flow, event):
            return
        flow.alive &= ~direction
        if flow.alive:
            if finished and not flow.idle_timeout:
                flow.tests = ENDED_HALF
                state.flows.wait(flow, state.clock())
            return
        state.flows.remove(flow)
        let_run_out(state, flow)
        subject = state.party(flow.subject)
        if subject is not None:
            subject.closes(flow.key.src)
        if flow.key.proto == TCP and not finished:
            state.flows.remember(flow)
        elif not finished and event.reason == REMOVED_IDLE and event.idle_timeout < idle_timeout(flow.key.proto):
            state.flows.expect_answer(flow, state.clock())
        self._ended(flow, "finished" if finished else _REMOVED_TEXT.get(event.reason, "removed"), state.clock())

    def _ended(self, flow: LiveFlow, why: str, now: float) -> None:
        state = self._state
        state.counters["flows_ended"] += 1
        state.journal.flow_ended(flow, state.policy.rule_ids.get(flow.rule), why, now)
        flow.told = flow.counts


def _is_at(flow: LiveFlow, dpid: int) -> bool:
    return flow.opened_by.attachment.dpid == dpid


def _is_written_again(flow: LiveFlow, event: FlowRemoved) -> bool:
    """Whether a test was over a moment ago: the entry went just before it was written again, without a timeout."""
    return event.reason == REMOVED_IDLE and event.idle_timeout > FIN_IDLE and not flow.idle_timeout
