"""What becomes of a session's flows when the session changes or ends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from zethane.service.flows import FORWARD, RETURN, LiveFlow
from zethane.service.relations import verdict_on
from zethane.service.sessions import Live
from zethane.service.state import State
from zethane.service.verdict import Verdict

MAX_CARRIED = 2000
"""Flows whose rules are written again at once when classes of sessions change: eight messages each. What is more
comes back with its next packet."""


def carry(state: State, moved: Iterable[Live], why: str) -> list[LiveFlow]:
    """The flows that go on of sessions which have other classes now, with what they have then; the others end here.

    Nothing of the log says that a flow which goes on has ended.
    """
    going_on: list[LiveFlow] = []
    now = state.clock()
    # A flow may be one of two of them.
    flows = {id(flow): flow for live in moved for flow in state.flows.of_session(live.session.number)}
    for flow in flows.values():
        subject, obj = state.party(flow.subject), state.party(flow.object)
        allowed = False
        if subject is not None and obj is not None:
            verdict = verdict_on(state, flow.key, subject, obj)
            allowed = verdict.allowed and verdict.until > now
            if allowed and len(going_on) < MAX_CARRIED:
                flow.subject_class, flow.object_class = subject.class_at(flow.key.src), obj.class_at(flow.key.dst)
                flow.replace_rules()
                go_on(flow, verdict, now)
                going_on.append(flow)
                continue
        _close(state, [flow], why, now)
        if allowed:
            state.flows.remember(flow.afresh())
    return going_on


class Reviewed(NamedTuple):
    """Flows that have ended, and those that go on with other rules on the switches."""

    ended: list[LiveFlow]
    changed: list[LiveFlow]


def review(state: State, flows: Iterable[LiveFlow], why: str) -> Reviewed:
    """Hold flows against what relations say now, where the classes of both ends are what they were."""
    found, now = Reviewed([], []), state.clock()
    for flow in flows:
        subject, obj = state.party(flow.subject), state.party(flow.object)
        if subject is None or obj is None:
            continue
        verdict = verdict_on(state, flow.key, subject, obj)
        if not verdict.allowed or verdict.until <= now:
            found.ended.append(flow)
        elif verdict.rule != flow.rule or flow.ends > verdict.until + 1.0:  # a lease is never shorter than a second
            go_on(flow, verdict, now)
            found.changed.append(flow)
    _close(state, found.ended, why, now)
    return found


def go_on(flow: LiveFlow, verdict: Verdict, now: float) -> None:
    """Let a flow go on by another decision; its rules are to be written again with what it is now."""
    flow.rule, flow.installed, flow.alive = verdict.rule, now, FORWARD | RETURN
    flow.lease(verdict.until, now)


def close_flows(state: State, live: Live, why: str, address: bytes | None = None) -> list[LiveFlow]:
    """Take a session's flows out of force, and return them; with an address only those that have it at one end."""
    now = state.clock()
    closed = state.flows.of_session(live.session.number)
    if address is not None:
        closed = [flow for flow in closed if address in (flow.key.src, flow.key.dst)]
    _close(state, closed, why, now)
    return closed


def _close(state: State, flows: list[LiveFlow], why: str, now: float) -> None:
    for number, address, count in state.flows.close_each(flows, why, now):
        subject = state.party(number)
        if subject is not None:
            subject.closes(address, count)
