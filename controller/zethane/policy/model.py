"""The policy as values: segments, rules and tests, with the names resolved and the lines kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from zethane.net.prefix import Address, Prefix, longest, within
from zethane.policy.condition import NOTHING_ASKED, Condition
from zethane.policy.expression import Answer, compiled
from zethane.policy.hours import Hours
from zethane.policy.index import Index
from zethane.policy.principal import Party, Principal
from zethane.policy.service import Proto, Service

__all__ = ["ANY", "MAX_RULES", "NamedService", "Policy", "Proto", "Rule", "Segment", "Service", "Test"]

Action = Literal["allow", "deny"]

Stage = Literal["enforce", "audit"]
"""`audit`: what it would decide is logged, and changes nothing."""

Enforce = Literal["flow", "switch"]
"""Who lets a flow of an allow rule in: the controller, flow by flow, or the switch by itself (a grant)."""

ANY = "any"
"""In `from` and `to`: every authenticated session."""

MAX_RULES = 16_384
MAX_SEGMENTS = 1024
MAX_SERVICES = 1024
MAX_TESTS = 4096
MAX_CONDITIONS = 6
"""Different conditions that rules may ask of the sessions of one segment: each may double its classes."""
MAX_VLAN = 4094
"""Highest VLAN id (IEEE 802.1Q-2022 §9.6)."""
MAX_NETWORKS = 512
"""Different prefixes that one policy may name."""

Place = str | Prefix
"""Where policy finds an end of a flow: a session in its segment, an address outside in the longest prefix that the
policy names and that contains it. All others that contain it contain that prefix."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A named set of sessions: those with all of the labels and, if groups are named, one of the groups.

    `vlan` is the VLAN that its sessions have where their port takes tagged frames; 0: none, they have no tag.
    """

    name: str
    labels: tuple[tuple[str, str], ...]
    groups: frozenset[str]
    line: int = 1
    column: int = 1
    vlan: int = 0

    def holds(self, principal: Principal) -> bool:
        """Whether the selector fits the principal. A selector that asks for nothing fits nobody."""
        if not self.labels and not self.groups:
            return False
        if self.groups and self.groups.isdisjoint(principal.groups):
            return False
        return all(label in principal.labels for label in self.labels)

    def __str__(self) -> str:
        parts = [f"{key}={value}" for key, value in self.labels]
        if self.groups:
            parts.append("group " + " or ".join(sorted(self.groups)))
        return " and ".join(parts) + (f"; VLAN {self.vlan} where tagged" if self.vlan else "")


@dataclass(frozen=True, slots=True)
class NamedService:
    """A name from `services` and what it stands for."""

    name: str
    services: tuple[Service, ...]
    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class Rule:
    """Lets (or forbids) sessions of `sources` to open flows of `services` to sessions of `targets`.

    `source_networks` and `target_networks` are prefixes outside, beside the segments or instead of them; at most one
    of the two is not empty.

    `condition` is what it asks of the subject besides, `object_condition` of the object; an empty one asks for nothing.
    `hours` is when it is open, None always; `expression` is one in CEL about both ends, or about
    an address, that has to be true; where it has no answer, an allow rule does not hold and a deny rule does.
    Lines and columns, here and below, are those of the policy file, from 1.
    """

    id: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    services: tuple[Service, ...]
    action: Action
    condition: Condition
    line: int = 1
    column: int = 1
    source_networks: tuple[Prefix, ...] = ()
    target_networks: tuple[Prefix, ...] = ()
    object_condition: Condition = NOTHING_ASKED
    hours: Hours | None = None
    expression: str | None = None
    stage: Stage = "enforce"
    enforce: Enforce = "flow"

    @property
    def is_grant(self) -> bool:
        """Whether the switch lets its flows in by itself."""
        return self.enforce == "switch"

    @property
    def allow(self) -> bool:
        """Whether it allows; it denies otherwise."""
        return self.action == "allow"

    def opens_from(self, place: Place) -> bool:
        """Whether a subject of this segment, or in this network, is one of its sources."""
        return _includes(self.sources, self.source_networks, place)

    def opens_to(self, place: Place) -> bool:
        """Whether an object of this segment, or in this network, is one of its targets."""
        return _includes(self.targets, self.target_networks, place)

    @property
    def source_text(self) -> str:
        """`staff, web` or `198.51.100.0/24`."""
        return ", ".join((*self.sources, *map(str, self.source_networks)))

    @property
    def target_text(self) -> str:
        """The same for the targets."""
        return ", ".join((*self.targets, *map(str, self.target_networks)))

    def holds_for(self, subject: Party, target: Party, now: float) -> bool:
        """Whether all that it asks for besides holds for these ends at a moment, in seconds since the epoch."""
        return next(self.unmet(subject, target, now), None) is None

    def unmet(self, subject: Party, target: Party, now: float) -> Iterator[str]:
        """What is lacking for it to hold, in words, one for each part; the subject's parts first."""
        yield from _lacking(self.condition, subject, now, "")
        yield from _lacking(self.object_condition, target, now, "an object with ")
        if self.hours is not None and not self.hours.open(now):
            yield f"a time within {self.hours}"
        answer = self.relation(subject, target, now)
        if answer is not None and not answer.holds(or_error=not self.allow):
            yield str(self.expression)

    def relation(self, subject: Party, target: Party, now: float) -> Answer | None:
        """What its expression about both ends says; None where it has none."""
        return None if self.expression is None else compiled(self.expression).answer(subject, target, now)

    @property
    def is_conditional(self) -> bool:
        """Whether it asks for anything besides the places of both ends and the service."""
        return bool(self.condition or self.object_condition or self.hours or self.expression)

    def serves(self, ip_proto: int, port: int) -> bool:
        """Whether one of its services is for this IP protocol and port."""
        return any(service.matches(ip_proto, port) for service in self.services)


def _lacking(condition: Condition, party: Party, now: float, role: str) -> Iterator[str]:
    if not condition:
        return
    if isinstance(party, Principal):
        yield from (f"{role}{part}" for part in condition.unmet(party, now))
    else:
        yield f"{role}{condition}"


def _includes(names: tuple[str, ...], networks: tuple[Prefix, ...], place: Place) -> bool:
    """Whether a place is one of these. `any` is every session, and never a network."""
    if isinstance(place, str):
        return ANY in names or place in names
    return any(within(place, network) for network in networks)


@dataclass(frozen=True, slots=True)
class Test:
    """What the policy's author expects: `source` may (`allow`) or may not reach `target`, all services.

    Both are names of hosts or segments, addresses or prefixes. `never` is an invariant: it may not, whoever comes to be
    there, whatever they prove and at any time. `condition` and `object_condition` say how both ends are, empty where
    that is left open, and `at` is the moment, in seconds since the epoch.
    """

    __test__ = False  # not one of pytest's

    allow: bool
    source: str
    target: str
    services: tuple[Service, ...]
    line: int = 1
    column: int = 1
    never: bool = False
    condition: Condition = NOTHING_ASKED
    object_condition: Condition = NOTHING_ASKED
    at: float | None = None

    @property
    def expected(self) -> str:
        """`allow`, `deny` or `never`: the word that the file has."""
        if self.never:
            return "never"
        return "allow" if self.allow else "deny"

    @property
    def when(self) -> str | None:
        """What both ends are asked for, in words."""
        parts = [str(self.condition)] if self.condition else []
        parts += [f"the object {self.object_condition}"] if self.object_condition else []
        return ", ".join(parts) or None


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy file that has been read. `digest` is the SHA-256 of its `text`, in hexadecimal.

    `stage` is that of the whole policy. What decides, compiles and counts here leaves out rules of the stage `audit`
    (`enforced`) and takes the policy itself as enforced; what becomes of a policy that is not, the service knows.
    """

    file: str
    digest: str
    segments: Mapping[str, Segment]
    services: Mapping[str, NamedService]
    rules: tuple[Rule, ...]
    tests: tuple[Test, ...] = ()
    stage: Stage = "enforce"
    text: str = field(default="", repr=False, compare=False)
    _index: Index = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", Index(self.segments, self.rules))

    @property
    def enforced(self) -> tuple[Rule, ...]:
        """The rules that count."""
        return tuple(rule for rule in self.rules if rule.stage == "enforce")

    def as_if_enforced(self) -> Policy:
        """The policy with every staged rule in force."""
        return replace(self, rules=tuple(replace(rule, stage="enforce") for rule in self.rules), stage="enforce")

    def has_places_of(self, other: Policy) -> bool:
        """Whether another policy has the same segments, with the same selectors and VLANs, and names the same networks.

        Where in its file each of them stands does not matter."""
        return self._index.places == other._index.places  # of the same class

    def differing(self, other: Policy) -> list[str] | None:
        """The ids of rules that are not the same in another policy, or that only one of both has; None if ids are not
        unique."""
        return self._index.differing(other._index)  # of the same class

    def segments_of(self, principal: Principal) -> tuple[str, ...]:
        """Every segment whose selector fits, by name. Exactly one is right."""
        return tuple(sorted(self._index.segments_of(principal)))

    def rules_from(self, place: Place) -> list[Rule]:
        """The rules, staged ones with them, that may be about flows from a place; no other is."""
        return self._index.opening_from(place, ANY)

    @property
    def expressions(self) -> Mapping[str, Rule]:
        """The conditions with expressions that rules ask of one end, by their keys, with the first rule of each."""
        return self._index.expressions

    @property
    def has_relations(self) -> bool:
        """Whether a rule asks something about both ends."""
        return self._index.has_relations

    @property
    def networks(self) -> tuple[Prefix, ...]:
        """Every prefix that a rule names, once, in order."""
        return self._index.networks

    def network_of(self, address: Address) -> Prefix | None:
        """The longest named prefix that contains an address outside."""
        return longest(address, self.networks)

    def rule(self, identifier: str) -> Rule | None:
        """The rule with this id."""
        return self._index.by_id.get(identifier)
