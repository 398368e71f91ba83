"""Who can reach whom: every ordered pair of hosts and every service that a rule names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zethane.policy.decide import Decision, decide_service
from zethane.policy.model import Policy
from zethane.policy.principal import External, Parties
from zethane.policy.service import Service

Hosts = Mapping[str, Parties]
"""Hosts by name; None for one that does not authenticate, addresses for one that is outside."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What the policy says about one pair of hosts and one service."""

    source: str
    target: str
    service: Service
    decision: Decision

    def view(self) -> Mapping[str, Any]:
        """JSON-ready, as other programs rely on it."""
        return {
            "from": self.source,
            "to": self.target,
            "service": str(self.service),
            "decision": "allow" if self.decision.allowed else "deny",
            "rule": self.decision.rule,
        }


def services_of(policy: Policy) -> tuple[Service, ...]:
    """Every service that a rule names, sorted. `any` adds none; a range is one."""
    named = {service for rule in policy.rules for service in rule.services}
    return tuple(sorted(service for service in named if service.proto != "any"))


def matrix(policy: Policy, hosts: Hosts, now: float = 0.0) -> tuple[Cell, ...]:
    """A cell for every ordered pair of hosts and every service, in the order of `hosts`, as of a moment in seconds
    since the epoch.

    What two hosts outside do with one another is nothing to this network: there is no cell for it.
    """
    return tuple(_cells(policy, hosts, now))


def _cells(policy: Policy, hosts: Hosts, now: float) -> Iterator[Cell]:
    known: dict[tuple[Parties, Parties, Service], Decision] = {}
    services = services_of(policy)
    for source, subject in hosts.items():
        for target, owner in hosts.items():
            if source == target or (_is_outside(subject) and _is_outside(owner)):
                continue
            for service in services:
                question = (subject, owner, service)
                if question not in known:
                    known[question] = decide_service(policy, *question, now)
                yield Cell(source, target, service, known[question])


def _is_outside(party: Parties) -> bool:
    return isinstance(party, tuple | External)
