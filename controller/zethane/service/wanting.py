"""What sessions were denied only because a condition did not hold: for the log, and to tell people what to prove.

Which rules those may be follows from the classes at both ends, and is remembered for each pair; a packet is held
against those few alone. Each session keeps the last of its denials, and they end with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from zethane.net.flowkey import ICMP, ICMPV6, FlowKey
from zethane.policy.decide import Lack, describe, lack_of
from zethane.policy.model import Rule
from zethane.service.sessions import Live
from zethane.service.state import State

MAX_WANTED = 8
"""Denials that one session keeps: the newest of each rule, service and destination."""

_ECHO = 8
"""Where the source port would be, an echo request has its type (`net.flowkey`)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something that a session was denied, and what it still lacks for it. `time`: seconds since the epoch."""

    rule: Rule
    needs: tuple[str, ...]
    service: str
    destination: bytes
    time: float


def lack(state: State, subject: Live, obj: Live | None, key: FlowKey) -> Lack | None:
    """The rule that would let a denied packet pass if its condition held, and what the subject lacks for that.

    `obj` may be None where the switch knows of no destination: nobody there may reach it as things stand.
    """
    port = _port(key)
    if obj is None or port is None:
        return None
    asking = state.policy.asking(subject.class_at(key.src), obj.class_at(key.dst))
    return lack_of((rule for rule in asking if rule.serves(key.proto, port)), subject.session.principal, state.clock())


def _port(key: FlowKey) -> int | None:
    """The port that services are about; None for ICMP that is no echo request, which no service names."""
    if key.proto not in (ICMP, ICMPV6):
        return key.dport
    return 0 if key.sport == _ECHO else None


def remember(live: Live, rule: str, key: FlowKey, now: float) -> None:
    """Keep a denial with its session; the oldest one goes."""
    wanted = (rule, describe(key.proto, key.dport), key.dst)
    live.wanted.pop(wanted, None)
    live.wanted[wanted] = now
    if len(live.wanted) > MAX_WANTED:
        del live.wanted[next(iter(live.wanted))]


def still_wanted(state: State, live: Live) -> list[Wanted]:
    """What a session was denied and lacks something for even now, the newest last."""
    found = []
    for (name, service, destination), time in live.wanted.items():
        rule = state.policy.policy.rule(name)
        lacks = lack_of([rule] if rule is not None else [], live.session.principal, state.clock())
        if rule is not None and lacks is not None:
            found.append(Wanted(rule, lacks.needs, service, destination, time))
    return found
