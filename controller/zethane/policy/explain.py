"""The whole reason for a decision: who is where and why, and what each rule had to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zethane.policy.decide import Decision, decide, decide_service, name_of, probes
from zethane.policy.model import Policy, Rule
from zethane.policy.principal import Principal
from zethane.policy.service import Service


@dataclass(frozen=True, slots=True)
class Party:
    """The subject or the object: its segments (exactly one is right), each with the selector that fits."""

    principal: Principal | None
    segments: tuple[tuple[str, str], ...]

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        if self.principal is None:
            return {"principal": None, "mfa": None, "segments": []}
        segments = [{"segment": name, "because": why} for name, why in self.segments]
        return {"principal": name_of(self.principal), "mfa": self.principal.mfa, "segments": segments}

    def __str__(self) -> str:
        if self.principal is None:
            return "not authenticated"
        factor = ", with a second factor" if self.principal.mfa else ""
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

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "rule": self.rule,
            "action": self.action,
            "applies": self.applies,
            "because": self.because,
            "place": self.place,
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

    def view(self) -> Mapping[str, Any]:
        """JSON-ready, as other programs rely on it."""
        return {
            "decision": "allow" if self.decision.allowed else "deny",
            "rule": self.decision.rule,
            "reason": self.decision.reason,
            "service": str(self.service),
            "place": self.place,
            "from": self.subject.view(),
            "to": self.object.view(),
            "considered": [rule.view() for rule in self.considered],
        }


def explain(
    policy: Policy,
    subject: Principal | None,
    object: Principal | None,  # noqa: A002 - as in decide
    service: Service,
) -> Explanation:
    """Why `subject` may or may not open flows of `service` to `object`.

    A range of ports is explained by its first port that is denied or, if none is, by its lowest.
    """
    decision = decide_service(policy, subject, object, service)
    asked = probes(policy, service)
    probe = next((probe for probe in asked if decide(policy, subject, object, *probe) == decision), asked[0])
    rule = policy.rule(decision.rule) if decision.rule else None
    return Explanation(
        decision,
        service,
        _party(policy, subject),
        _party(policy, object),
        tuple(_consider(policy, rule, decision, subject, probe) for rule in policy.rules),
        _place(policy, rule) if rule else None,
    )


def _party(policy: Policy, principal: Principal | None) -> Party:
    names = policy.segments_of(principal) if principal else ()
    return Party(principal, tuple((name, str(policy.segments[name])) for name in names))


def _consider(
    policy: Policy, rule: Rule, decision: Decision, subject: Principal | None, probe: tuple[int, int]
) -> Considered:
    against = list(_objections(rule, decision, subject, probe))
    because = "; ".join(against) if against else _role(rule, decision)
    return Considered(rule.id, rule.action, not against, because, _place(policy, rule))


def _objections(rule: Rule, decision: Decision, subject: Principal | None, probe: tuple[int, int]) -> list[str]:
    """Everything that keeps the rule from being about this flow."""
    source, target = decision.subject_segment, decision.object_segment
    against = []
    if source is None:
        against.append("the subject is in no one segment")
    elif not rule.from_segment(source):
        against.append(f"from {', '.join(rule.sources)}, not {source}")
    if target is None:
        against.append("the object is in no one segment")
    elif not rule.to_segment(target):
        against.append(f"to {', '.join(rule.targets)}, not {target}")
    if not rule.serves(*probe):
        against.append(f"for {', '.join(map(str, rule.services))}")
    if rule.mfa is not None and subject is not None and rule.mfa != subject.mfa:
        against.append("needs a second factor" if rule.mfa else "only without a second factor")
    return against


def _role(rule: Rule, decision: Decision) -> str:
    """What a rule that is about the flow did to the decision."""
    if rule.id == decision.rule:
        return "decides"
    if not decision.allowed and rule.allow:
        return f"matches, but rule {decision.rule} denies"
    return f"matches too; rule {decision.rule} is named because its id sorts first"


def _place(policy: Policy, rule: Rule) -> str:
    return f"{policy.file}:{rule.line}"
