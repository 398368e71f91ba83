"""What becomes of a session's flows when the session changes or ends."""

from __future__ import annotations

from zethane.net.flowkey import ICMP, ICMPV6
from zethane.service.flows import FORWARD, RETURN, LiveFlow
from zethane.service.sessions import Live
from zethane.service.state import State

MAX_CARRIED = 2000
"""Flows of one session whose rules are written again at once when its class changes: eight messages each. What is more
comes back with its next packet."""


def carry(state: State, live: Live, session_class: int, why: str) -> list[LiveFlow]:
    """The flows of a session that go on when it has another class, with what they have then; the others end here.

    Nothing of the log says that a flow which goes on has ended.
    """
    going_on: list[LiveFlow] = []
    number, now = live.session.number, state.clock()
    for flow in state.flows.of_session(number):
        subject, obj = state.party(flow.subject), state.party(flow.object)
        allowed = False
        if subject is not None and obj is not None:
            classes = (
                session_class if flow.subject == number else subject.class_at(flow.key.src),
                session_class if flow.object == number else obj.class_at(flow.key.dst),
            )
            port = 0 if flow.key.proto in (ICMP, ICMPV6) else flow.key.dport
            verdict = state.policy.verdict(*classes, flow.key.proto, port)
            allowed = verdict.allowed
            if allowed and len(going_on) < MAX_CARRIED:
                flow.rule, flow.installed, flow.alive = verdict.rule, now, FORWARD | RETURN
                flow.subject_class, flow.object_class = classes
                going_on.append(flow)
                continue
        _close(state, flow, why, now)
        if allowed:
            state.flows.remember(flow.afresh())
    return going_on


def close_flows(state: State, live: Live, why: str, address: bytes | None = None) -> None:
    """Take a session's flows out of force; with an address only those that have it at one end."""
    now = state.clock()
    for flow in state.flows.of_session(live.session.number):
        if address is None or address in (flow.key.src, flow.key.dst):
            _close(state, flow, why, now)


def _close(state: State, flow: LiveFlow, why: str, now: float) -> None:
    subject = state.party(flow.subject)
    if subject is not None:
        subject.closes(flow.key.src)
    state.flows.close(flow, why, now)
