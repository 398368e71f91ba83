"""What sessions were denied only because something did not hold: for the log, and to tell people what to prove.

The log says whatever is lacking. People are told only of what another proof would open: nobody can prove that it is
seven o'clock, nor what somebody else is. Which rules those may be follows from the classes at both ends, and is
remembered for each pair; a packet is held against those few alone. Each session keeps the last of its denials, and they
end with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zethane.net.flowkey import ICMP, ICMPV6, FlowKey
from zethane.policy.decide import Lack, can_be_proved, describe, lack_of
from zethane.policy.model import Rule
from zethane.policy.principal import Party, Principal
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
    """The rule that would let a denied packet pass if all that it asks for held, and what is lacking for that.

    `obj` may be None where the switch knows of no destination: nobody there may reach it as things stand.
    """
    ends = _ends(subject, obj, key)
    return None if ends is None else lack_of(_asking(state, subject, obj, key), *ends, state.clock())


def provable(state: State, subject: Live, obj: Live | None, key: FlowKey) -> Lack | None:
    """The same for rules that lack nothing but another proof of the subject."""
    ends, now = _ends(subject, obj, key), state.clock()
    if ends is None:
        return None
    rules = (rule for rule in _asking(state, subject, obj, key) if can_be_proved(rule, *ends, now))
    return lack_of(rules, *ends, now)


def _ends(subject: Live, obj: Live | None, key: FlowKey) -> tuple[Party, Party] | None:
    return None if obj is None else (subject.principal_at(key.src), obj.principal_at(key.dst))


def _asking(state: State, subject: Live, obj: Live | None, key: FlowKey) -> Iterator[Rule]:
    port = _port(key)
    if obj is not None and port is not None:
        asking = state.policy.asking(subject.class_at(key.src), obj.class_at(key.dst))
        yield from (rule for rule in asking if rule.serves(key.proto, port))


def _port(key: FlowKey) -> int | None:
    """The port that services are about; None for ICMP that is no echo request, which no service names."""
    if key.proto not in (ICMP, ICMPV6):
        return key.dport
    return 0 if key.sport == _ECHO else None


def remember(live: Live, rule: str, key: FlowKey, now: float) -> None:
    """Keep a denial with its session; the oldest one goes."""
    wanted = (rule, describe(key.proto, key.dport), key.dst)
    live.wanted.pop(wanted, None)
    live.wanted[wanted] = now, key.src
    if len(live.wanted) > MAX_WANTED:
        del live.wanted[next(iter(live.wanted))]


def still_wanted(state: State, live: Live) -> list[Wanted]:
    """What a session was denied and could prove, and lacks even now; the newest last."""
    found, now = [], state.clock()
    for (name, service, destination), (time, source) in live.wanted.items():
        rule, subject = state.policy.policy.rule(name), live.principal_at(source)
        if rule is None or not isinstance(subject, Principal) or rule.id in state.policy.compiled.closed:
            continue
        if rule.stage != "enforce" or not rule.condition.can_be_proved(subject, now):
            continue
        needs = tuple(rule.condition.unmet(subject, now))
        if needs:
            found.append(Wanted(rule, needs, service, destination, time))
    return found
