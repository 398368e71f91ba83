"""What a policy says of flows of a capture: decided once for all that it cannot tell apart."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, NamedTuple

from zethane.audit.reason import DenyReason
from zethane.net.flowkey import ICMP, ICMPV6, SCTP, TCP, UDP
from zethane.policy.decide import Lack, is_about, lack_of, place_of
from zethane.policy.decider import Decider
from zethane.policy.model import Policy
from zethane.policy.principal import Party, Principal
from zethane.policy.service import PROTOCOLS
from zethane.replay.who import Who

Outcome = Literal["allow", "deny", "unattributed"]

MAX_KEPT = 200_000
"""Decisions that are remembered."""

_DNS_PORT = 53


class Verdict(NamedTuple):
    """What the policy says of a flow.

    `rule` decided or, with the reason `condition-not-met`, would allow it. `reason` is a word of the decision log,
    empty where it is allowed or where nobody is known at one end; `text` says it in words. `until` is when it has to be
    looked at again, in seconds since the epoch.
    """

    outcome: Outcome
    rule: str | None
    reason: str
    text: str
    until: float = math.inf


class Judge:
    """Decides flows under one policy, at the time of their packets, or at the fixed moment `now`.

    Whoever has logged in has just done so: what a condition asks of a proof's age holds.
    """

    def __init__(self, policy: Policy, now: float | None = None) -> None:
        self.policy = policy
        self._decider = Decider(policy)
        self._now = now
        self._cuts = {proto: _cuts(policy, proto) for proto in (TCP, UDP, SCTP)}
        self._kept: dict[tuple[int, int, int, int], tuple[float, Verdict]] = {}

    def verdict(self, subject: Who, target: Who, proto: int, port: int, when: float) -> Verdict:
        """The verdict for a flow that is opened at this time. Echo has the port 0."""
        cuts = self._cuts.get(proto)
        key = (subject.number, target.number, proto, bisect_right(cuts, port) if cuts else 0)
        kept = self._kept.get(key)
        if kept is None or not kept[0] <= when < kept[1].until:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            verdict = self._decide(subject, target, proto, port, when)
            kept = self._kept[key] = (-math.inf if verdict.until == math.inf else when, verdict)
        return kept[1]

    def _decide(self, subject: Who, target: Who, proto: int, port: int, when: float) -> Verdict:
        unknown = [who for who in (subject, target) if who.standing == "unattributed"]
        if unknown:
            return Verdict("unattributed", None, "", f"{unknown[0].text}: {unknown[0].source}")
        own = _own(subject, target, proto, port)
        if own is not None:
            return own
        moment = when if self._now is None else self._now
        source, sink = _fresh(subject.party, moment), _fresh(target.party, moment)
        decision, until = self._decider.decide_until(source, sink, proto, port, moment)
        if self._now is not None:
            until = math.inf
        if decision.allowed:
            return Verdict("allow", decision.rule, "", decision.reason, until)
        if decision.rule is not None:
            return Verdict("deny", decision.rule, DenyReason.DENY_RULE.value, decision.reason, until)
        reason, lack = self._lack(source, sink, proto, port, moment)
        if lack is None:
            return Verdict("deny", None, reason.value, decision.reason, until)
        text = f"{decision.reason}; rule {lack.rule} would allow it with {' and '.join(lack.needs)}"
        return Verdict("deny", lack.rule, reason.value, text, until)

    def _lack(
        self, subject: Party, target: Party, proto: int, port: int, moment: float
    ) -> tuple[DenyReason, Lack | None]:
        """Why no rule lets a flow pass, and what that rule which asks for the fewest things more would need."""
        if subject is None:
            return DenyReason.UNAUTHENTICATED, None
        if target is None:
            return DenyReason.UNKNOWN_DESTINATION, None
        source, sink = place_of(self.policy, subject, "subject")[0], place_of(self.policy, target, "object")[0]
        if source is None or sink is None:
            return DenyReason.NO_RULE, None
        about = (rule for rule in self.policy.enforced if is_about(rule, source, sink, proto, port))
        lack = lack_of(about, subject, target, moment)
        return DenyReason.NO_RULE if lack is None else DenyReason.CONDITION_NOT_MET, lack


def _own(subject: Who, target: Who, proto: int, port: int) -> Verdict | None:
    """The verdict for a flow from or to a part of the network itself, about which no policy speaks."""
    if target.standing == "portal" and proto == TCP:
        return Verdict("allow", None, "", "the portal is there for every host")
    if target.standing == "dns" and proto in (UDP, TCP) and port == _DNS_PORT and isinstance(subject.party, Principal):
        return Verdict("allow", None, "", "DNS servers of the infrastructure answer every live session")
    for who, reason in ((subject, DenyReason.NO_FLOW), (target, DenyReason.NO_RULE)):
        if who.standing in ("portal", "dns"):
            return Verdict("deny", None, reason.value, f"{who.text} is a part of the network: nobody may open this")
    return None


def _fresh(party: Party, moment: float) -> Party:
    """The party as if it had proved everything at this moment."""
    if isinstance(party, Principal) and party.mfa_at is not None:
        return replace(party, mfa_at=moment)
    return party


def _cuts(policy: Policy, proto: int) -> list[int]:
    """The ports at which some rule begins or ceases to be about a protocol."""
    edges: set[int] = set()
    for low, high in _ranges(policy, proto):
        edges |= {low, high + 1}
    return sorted(edges)


def _ranges(policy: Policy, proto: int) -> Iterable[tuple[int, int]]:
    for rule in policy.enforced:
        for service in rule.services:
            if proto in PROTOCOLS[service.proto]:
                yield service.low, service.high
    yield _DNS_PORT, _DNS_PORT


def named_services(policy: Policy) -> frozenset[tuple[int, int]]:
    """The (IP protocol, port) pairs that a rule names as one port; ranges do not tell services from other ports."""
    return frozenset(
        (proto, service.low)
        for rule in policy.rules
        for service in rule.services
        for proto in PROTOCOLS[service.proto]
        if service.low == service.high and proto not in (ICMP, ICMPV6)
    )
