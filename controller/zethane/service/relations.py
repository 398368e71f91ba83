"""Relations: what an expression about both ends says of two sessions, or of a session and an address outside.

A verdict between two classes may depend on such answers. They are looked up when a flow opens and when an end of it
changes, and never for a packet of a flow that is there; an expression is run only for values that it has not seen.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import structlog

from zethane.net.flowkey import ICMP, ICMPV6, FlowKey
from zethane.policy.model import Rule
from zethane.policy.principal import Principal
from zethane.service.policy_in_force import PolicyInForce, Standing
from zethane.service.sessions import Live
from zethane.service.verdict import Verdict

if TYPE_CHECKING:
    from zethane.service.state import State

_log = structlog.get_logger("zethane.policy")


def verdict_on(state: State, key: FlowKey, subject: Live, obj: Live) -> Verdict:
    """The decision on a flow between two parties, as they are now."""
    port = 0 if key.proto in (ICMP, ICMPV6) else key.dport
    verdict = state.policy.verdict(subject.class_at(key.src), obj.class_at(key.dst), key.proto, port)
    return verdict if not verdict.relations else resolved(state, verdict, key, subject, obj)


def resolved(state: State, verdict: Verdict, key: FlowKey, subject: Live, obj: Live) -> Verdict:
    """What the first relation that holds decides, or the rest where none does: for as long as all answers are sure."""
    source, target, now = subject.principal_at(key.src), obj.principal_at(key.dst), state.clock()
    until = math.inf
    for rule, decided in verdict.relations:
        answer = rule.relation(source, target, now)
        if answer is None:
            continue
        if answer.error is not None:
            failed(state, rule, answer.error, now)
        until = min(until, answer.until)
        if answer.holds(or_error=not rule.allow):
            return decided._replace(until=min(until, decided.until))
    return verdict._replace(relations=(), until=min(until, verdict.until))


def place(state: State, policy: PolicyInForce, principal: Principal, now: float) -> Standing | None:
    """Where a principal stands; expressions about it alone that have no answer are counted and told as well."""
    standing = policy.place(principal, now)
    if standing is not None:
        for rule, error in policy.unanswered(standing.segment, principal, now):
            failed(state, rule, error, state.clock())
    return standing


def failed(state: State, rule: Rule, error: str, now: float) -> None:
    """An expression had no answer: count it, and tell it at a bounded rate."""
    state.counters["expression_errors"] += 1
    if state.expression_log.wait(rule.id, now) <= 0:
        state.expression_log.take(rule.id, now)
        _log.warning("expression-failed", rule=rule.id, error=error)
