"""The whole reason for a decision: who is where and why, and what each rule had to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zethane.net.prefix import Prefix
from zethane.policy.decide import (
    Decision,
    Lack,
    decide,
    decide_service,
    each,
    is_about,
    lack_of,
    name_of,
    place_of,
    probes,
)
from zethane.policy.model import Enforce, Place, Policy, Rule
from zethane.policy.principal import External, Parties, Principal
from zethane.policy.principal import Party as End
from zethane.policy.relation import values_seen
from zethane.policy.service import Service

NOBODY: Mapping[str, None] = {"principal": None, "mfa": None, "aal": None, "device": None}
"""A party that has not logged in."""


@dataclass(frozen=True, slots=True)
class Party:
    """The subject or the object: its segments (exactly one is right), each with the selector that fits.

    Outside there are no segments, but `networks`: every prefix that the policy names and that contains the address,
    the longest first.
    """

    principal: Principal | None
    segments: tuple[tuple[str, str], ...]
    external: External | None = None
    networks: tuple[Prefix, ...] = ()

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        if self.external is not None:
            networks = [str(network) for network in self.networks]
            return {**NOBODY, "segments": [], "address": str(self.external), "networks": networks}
        if self.principal is None:
            return {**NOBODY, "segments": []}
        segments = [{"segment": name, "because": why} for name, why in self.segments]
        who = self.principal
        device = who.device.name if who.device else None
        return {"principal": name_of(who), "mfa": who.mfa, "aal": who.aal, "device": device, "segments": segments}

    def __str__(self) -> str:
        if self.external is not None:
            place = f"in {', '.join(map(str, self.networks))}" if self.networks else "in no network of the policy"
            return f"{self.external} outside, {place}"
        if self.principal is None:
            return "not authenticated"
        factor = ", with a second factor" if self.principal.mfa else ""
        factor += f", on {self.principal.device.name}" if self.principal.device else ""
        places = " and ".join(f"in {name} ({why})" for name, why in self.segments) or "in no segment"
        return f"{name_of(self.principal)}{factor}: {places}"


@dataclass(frozen=True, slots=True)
class Considered:
    """One rule, whether it is about the flow, and why or why not."""

    rule: str
    action: str
    applies: bool
    because: str
    place: str
    unmet: tuple[str, ...] = ()
    """What is lacking for it to hold, in words."""

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "rule": self.rule,
            "action": self.action,
            "applies": self.applies,
            "because": self.because,
            "place": self.place,
            "unmet": list(self.unmet),
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with all that led to it. `place` is FILE:LINE of the rule that decided."""

    decision: Decision
    service: Service
    subject: Party
    object: Party
    considered: tuple[Considered, ...]
    place: str | None
    lack: Lack | None = None
    """What would let the flow pass, where no rule decides."""
    staged: Decision | None = None
    """What would be decided if nothing were staged; None where nothing is."""
    enforced: Enforce | None = None
    """Who lets the flow in; None where nobody does."""

    def view(self) -> Mapping[str, Any]:
        """JSON-ready, as other programs rely on it."""
        return {
            "decision": "allow" if self.decision.allowed else "deny",
            "rule": self.decision.rule,
            "reason": self.decision.reason,
            "service": str(self.service),
            "place": self.place,
            "staged": _staged_view(self.staged) if self.staged else None,
            "enforced": self.enforced,
            "lacking": {"rule": self.lack.rule, "needs": list(self.lack.needs)} if self.lack else None,
            "from": self.subject.view(),
            "to": self.object.view(),
            "considered": [rule.view() for rule in self.considered],
        }


def _staged_view(decision: Decision) -> Mapping[str, Any]:
    allowed = "allow" if decision.allowed else "deny"
    return {"decision": allowed, "rule": decision.rule, "reason": decision.reason}


def explain(
    policy: Policy,
    subject: Parties,
    object: Parties,  # noqa: A002 - as in decide
    service: Service,
    now: float = 0.0,
) -> Explanation:
    """Why `subject` may or may not open flows of `service` to `object`.

    A range of ports is explained by its first port that is denied or, if none is, by its lowest; several addresses
    outside by the first that is denied or, if none is, by the first. Conditions are looked at as of `now`, in seconds
    since the epoch.
    """
    decision = decide_service(policy, subject, object, service, now)
    asked = [
        (one, other, *probe) for one in each(subject) for other in each(object) for probe in probes(policy, service)
    ]
    source, target, *probe = next(
        (question for question in asked if decide(policy, *question, now) == decision), asked[0]
    )
    rule = policy.rule(decision.rule) if decision.rule else None
    return Explanation(
        decision,
        service,
        _party(policy, source),
        _party(policy, target),
        tuple(_consider(policy, rule, decision, (source, target), (probe[0], probe[1]), now) for rule in policy.rules),
        _place(policy, rule) if rule else None,
        None if decision.rule else _lack(policy, source, target, (probe[0], probe[1]), now),
        _staged(policy, (subject, object), service, now),
        rule.enforce if rule and rule.allow else None,
    )


def _staged(policy: Policy, ends: tuple[Parties, Parties], service: Service, now: float) -> Decision | None:
    if len(policy.enforced) == len(policy.rules):
        return None
    return decide_service(policy.as_if_enforced(), *ends, service, now)


def _lack(policy: Policy, subject: End, target: End, probe: tuple[int, int], now: float) -> Lack | None:
    source, place = place_of(policy, subject, "subject")[0], place_of(policy, target, "object")[0]
    if source is None or place is None:
        return None
    return lack_of((rule for rule in policy.enforced if is_about(rule, source, place, *probe)), subject, target, now)


def _party(policy: Policy, party: End) -> Party:
    if isinstance(party, External):
        around = [network for network in policy.networks if party.address in network]
        return Party(None, (), party, tuple(sorted(around, key=lambda network: -network.prefixlen)))
    names = policy.segments_of(party) if party else ()
    return Party(party, tuple((name, str(policy.segments[name])) for name in names))


def _consider(
    policy: Policy, rule: Rule, decision: Decision, ends: tuple[End, End], probe: tuple[int, int], now: float
) -> Considered:
    places = place_of(policy, ends[0], "subject")[0], place_of(policy, ends[1], "object")[0]
    unmet = () if None in ends else tuple(rule.unmet(*ends, now))
    seen = dict(values_seen(rule, *ends, now))
    against = _objections(rule, places, [f"{part} ({seen[part]})" if part in seen else part for part in unmet], probe)
    if rule.stage == "audit":
        against = ["staged, and decides nothing", *(against or [f"it would {rule.action} this"])]
    because = "; ".join(against) if against else _role(rule, decision)
    return Considered(rule.id, rule.action, not against, because, _place(policy, rule), unmet)


def _objections(
    rule: Rule, places: tuple[Place | None, Place | None], unmet: Sequence[str], probe: tuple[int, int]
) -> list[str]:
    """Everything that keeps the rule from being about this flow."""
    source, target = places
    against = []
    if source is None:
        against.append("the subject is in no one segment")
    elif not rule.opens_from(source):
        against.append(f"from {rule.source_text}, not {source}")
    if target is None:
        against.append("the object is in no one segment")
    elif not rule.opens_to(target):
        against.append(f"to {rule.target_text}, not {target}")
    if not rule.serves(*probe):
        against.append(f"for {', '.join(map(str, rule.services))}")
    return [*against, *(f"needs {part}" for part in unmet)]


def _role(rule: Rule, decision: Decision) -> str:
    """What a rule that is about the flow did to the decision."""
    if rule.id == decision.rule:
        return "decides"
    if not decision.allowed and rule.allow:
        return f"matches, but rule {decision.rule} denies"
    return f"matches too; rule {decision.rule} is named because its id sorts first"


def _place(policy: Policy, rule: Rule) -> str:
    return f"{policy.file}:{rule.line}"
