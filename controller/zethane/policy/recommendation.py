"""What is recommended: rules with the evidence for each, and what they leave out; as values and as a policy file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zethane.document import count
from zethane.policy.model import Place, Policy, Rule
from zethane.policy.moment import moment_or_none, moment_text
from zethane.policy.schema import PolicyFile
from zethane.policy.seen import Seen
from zethane.policy.write import Written, policy_text

MAX_NAMES = 5
"""Names of hosts that an evidence lists; all are counted."""

MAX_COUNTED = 100_000
"""Different names that one rule's evidence counts."""


MAX_SERVICES = 50
"""Services of one rule, beyond which it is remarked on."""

STRANGE = "So many services: a scan, or a protocol that makes up its ports. Look before you allow it."


@dataclass(slots=True)
class Evidence:
    """What was seen that a rule is for. Moments in seconds since the epoch."""

    flows: int = 0
    packets: int = 0
    octets: int = 0
    first: float = math.inf
    last: float = -math.inf
    sources: set[str] = field(default_factory=set)
    targets: set[str] = field(default_factory=set)

    def add(self, seen: Seen) -> None:
        """Count one more."""
        self.join(Evidence(seen.flows, seen.packets, seen.octets, seen.first, seen.last, {seen.source}, {seen.target}))

    def join(self, other: Evidence) -> None:
        """Count all of another."""
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)
        self.flows += other.flows
        self.packets += other.packets
        self.octets += other.octets
        for mine, others in ((self.sources, other.sources), (self.targets, other.targets)):
            if len(mine) < MAX_COUNTED:
                mine |= others

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "flows": self.flows,
            "packets": self.packets,
            "bytes": self.octets,
            "first": moment_or_none(self.first),
            "last": moment_or_none(self.last),
            "sources": {"count": len(self.sources), "names": sorted(self.sources)[:MAX_NAMES]},
            "targets": {"count": len(self.targets), "names": sorted(self.targets)[:MAX_NAMES]},
        }


@dataclass(frozen=True, slots=True)
class Proposal:
    """One rule to have. `narrows` is the rule of the policy that let this through until now."""

    id: str
    sources: tuple[Place, ...]
    targets: tuple[Place, ...]
    services: tuple[str, ...]
    when: Mapping[str, Any]
    narrows: str | None
    evidence: Evidence

    def values(self) -> dict[str, Any]:
        """The rule as policy.yaml has it."""
        found: dict[str, Any] = {"id": self.id, "from": ends_file(self.sources), "to": ends_file(self.targets)}
        found["services"] = list(self.services)
        return found | ({"when": self.when} if self.when else {})

    def comments(self) -> tuple[str, ...]:
        """The evidence, in words."""
        seen = self.evidence
        size = f", {count(seen.octets, 'byte')}" if seen.octets else ""
        what = f"{count(seen.flows, 'flow')}{size}, {_period(seen.first, seen.last)}"
        who = f"from {_hosts(seen.sources)} to {_hosts(seen.targets)}"
        return (what, who, STRANGE) if self.is_strange else (what, who)

    @property
    def is_strange(self) -> bool:
        """Whether it has so many services that it may be for a scan."""
        return len(self.services) > MAX_SERVICES


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Flows that no proposed rule is for, and why. `source` and `target` are places, or names of who is in none."""

    why: str
    source: str
    target: str
    service: str
    flows: int


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to put in force. `kept` are the deny rules, `unused` the rules by which nothing was decided."""

    proposals: tuple[Proposal, ...]
    kept: tuple[str, ...]
    unused: tuple[Rule, ...]
    left_out: tuple[LeftOut, ...]
    flows: int
    first: float
    last: float

    def view(self, policy: Policy) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "flows": self.flows,
            "first": moment_or_none(self.first),
            "last": moment_or_none(self.last),
            "rules": [
                {**one.values(), "narrows": one.narrows, "strange": one.is_strange, "evidence": one.evidence.view()}
                for one in self.proposals
            ],
            "kept": list(self.kept),
            "unused": [
                {"rule": rule.id, "action": rule.action, "place": f"{policy.file}:{rule.line}"} for rule in self.unused
            ],
            "left_out": [
                {"why": one.why, "from": one.source, "to": one.target, "service": one.service, "flows": one.flows}
                for one in self.left_out
            ],
        }

    def text(self, file: PolicyFile, name: str, tests: Sequence[int] = ()) -> str:
        """policy.yaml with the proposed rules; `file` is what the policy was read from, and `name` its name.

        Of the tests there, those with these numbers, from 0, are taken over.
        """
        given = file.model_dump(by_alias=True, exclude_unset=True, mode="json")
        denies = [Written(rule) for rule in given.get("rules", ()) if rule.get("action") == "deny"]
        proposed = [Written(one.values(), one.comments()) for one in self.proposals]
        kept = [Written(given["tests"][number]) for number in tests]
        seen = f"{count(self.flows, 'flow')}, {_period(self.first, self.last)}"
        head = (
            f"The least policy that allows what was seen, {seen}." if self.flows else "Nothing was seen.",
            f"Segments, services and denies are those of {name}.",
        )
        return policy_text(head, given["segments"], given.get("services", {}), [*proposed, *denies], kept)


def ends_file(places: Sequence[Place]) -> Any:
    """One side of a rule as policy.yaml has it."""
    segments = [place for place in places if isinstance(place, str)]
    networks = [str(place) for place in places if not isinstance(place, str)]
    if not networks:
        return segments
    return {"segments": segments, "networks": networks} if segments else {"networks": networks}


def _period(first: float, last: float) -> str:
    return f"{moment_text(first)} to {moment_text(last)}" if first <= last else "never"


def _hosts(names: set[str]) -> str:
    listed = ", ".join(sorted(names)[:MAX_NAMES])
    return f"{len(names)} ({listed}{', …' if len(names) > MAX_NAMES else ''})"
