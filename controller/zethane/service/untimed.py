"""Flows whose entries have no idle timeout, by when each is to be put to the test.

An entry that can expire costs a switch time even while it does not: Open vSwitch walks through all of them several
times a second. So most flows are written without timeouts, and given one for a few seconds now and then: a switch keeps
in mind when an entry last matched, and removes those at once that have been silent for so long. What is left then goes
on without.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from zethane.net.flowkey import UDP
from zethane.pipeline.verified import FIN_IDLE, idle_timeout

if TYPE_CHECKING:
    from zethane.service.flows import LiveFlow

TRIAL = 5
"""Seconds for which a flow has an idle timeout: time for a busy switch to go through its entries."""

UNANSWERED = 10
"""Seconds of silence that end a UDP flow at its first test: most are a question and an answer, or no answer at all."""

HALF_CLOSED = FIN_IDLE + 3
"""Seconds of silence that end a connection of which one direction has ended with a FIN or RST, and until the other one
is put to the test for it: most have ended by themselves by then."""

MAX_DOUBLED = 2
"""How many times the time between two tests of a flow in use doubles."""

ENDED_HALF = -1
"""In the place of the number of a flow's tests."""


def test_timeout(tests: int, proto: int) -> int:
    """The idle timeout, in seconds, that a flow has in its next test; `tests` is how many it has stood."""
    if tests == ENDED_HALF:
        return HALF_CLOSED
    return UNANSWERED if tests == 0 and proto == UDP else idle_timeout(proto)


def until_test(tests: int, proto: int) -> int:
    """Seconds until a flow's next test: its idle timeout at first, up to four times that while it is in use."""
    if tests <= 0:
        return test_timeout(tests, proto)
    return idle_timeout(proto) << min(tests - (proto == UDP), MAX_DOUBLED)


class Untimed:
    """Those that wait. Every operation takes the same time, however many there are."""

    def __init__(self) -> None:
        self._waiting: dict[int, dict[int, OrderedDict[LiveFlow, float]]] = {}
        self._on_trial: dict[int, OrderedDict[LiveFlow, float]] = {}

    def wait(self, flow: LiveFlow, now: float) -> None:
        """A live flow has no idle timeout from now on, until its next test."""
        seconds = until_test(flow.tests, flow.key.proto)
        queues = self._waiting.setdefault(_switch(flow), {})
        self._enter(queues.setdefault(seconds, OrderedDict()), flow, now + seconds)

    def put_to_the_test(self, flow: LiveFlow, now: float) -> None:
        """A live flow has an idle timeout from now on, for a few seconds."""
        self._enter(self._on_trial.setdefault(_switch(flow), OrderedDict()), flow, now + TRIAL)

    def wait_no_more(self, flow: LiveFlow) -> None:
        """A flow has ended, or has an idle timeout for good."""
        if flow.queue is not None:
            del flow.queue[flow]
            flow.queue = None

    def due(self, dpid: int, now: float) -> LiveFlow | None:
        """A flow of a session at this switch that is to be tested now."""
        for seconds, queue in self._waiting.get(dpid, {}).items():
            if (flow := _first(queue, seconds, now)) is not None:
                return flow
        return None

    def tested(self, dpid: int, now: float) -> LiveFlow | None:
        """One whose test is over."""
        queue = self._on_trial.get(dpid)
        return None if queue is None else _first(queue, TRIAL, now)

    def untimed_at(self, dpid: int) -> int:
        """How many of a switch wait for their next test."""
        return sum(map(len, self._waiting.get(dpid, {}).values()))

    def on_trial(self, dpid: int) -> int:
        """How many have an idle timeout for a while."""
        return len(self._on_trial.get(dpid, ()))

    def _enter(self, queue: OrderedDict[LiveFlow, float], flow: LiveFlow, when: float) -> None:
        self.wait_no_more(flow)
        queue[flow] = when
        flow.queue = queue


def _switch(flow: LiveFlow) -> int:
    return flow.opened_by.attachment.dpid


def _first(queue: OrderedDict[LiveFlow, float], seconds: int, now: float) -> LiveFlow | None:
    """The first one, if its moment has come. A clock that was put back delays nothing."""
    for flow, when in queue.items():
        return None if now < when <= now + seconds else flow
    return None
