"""The policy in force, numbered: verdicts for the hot path, entries for the switches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from zethane.net.flowkey import TCP, UDP
from zethane.net.prefix import Prefix
from zethane.pipeline.dns import PORT
from zethane.pipeline.fields import DNS_CLASS, NETWORK_CLASS, Reason
from zethane.pipeline.flow import EntryKey, Flow
from zethane.pipeline.rules import policy_entries
from zethane.policy.compile import Class, CompiledPolicy, Entry, NetworkClass, SessionClass, compile_policy, simulate
from zethane.policy.model import Policy, Rule
from zethane.policy.principal import Principal

DNS_RULE = "infrastructure:dns"
"""What records name as the rule of a flow to a DNS server; no rule of a policy has a colon in its id."""

MAX_VERDICTS = 100_000
"""Verdicts kept; a scan over all ports fills and empties this, and harms nobody else."""


class Numbers(Protocol):
    """Stable numbers for rules and classes, across restarts."""

    def number_of(self, kind: str, key: str) -> int:
        """The number of `key`, given out now if it has none. Raises CapacityError."""


class Verdict(NamedTuple):
    """What the hot path needs of a decision; `rule` is a number, 0 without a rule."""

    allowed: bool
    rule: int
    rule_id: str | None
    reason: str
    relations: tuple[tuple[Rule, Verdict], ...] = ()
    """Rules about both ends that decide first, by rank, and what each decides where it holds. Where there are any, it
    takes both ends to know: `service.relations`. The verdict itself is that of the rest."""


class Standing(NamedTuple):
    """Where policy finds a session: its segment, the number of its class, and for how long.

    `until` is the first moment, in seconds since the epoch, at which the class may be another one by time alone;
    infinity if there is none.
    """

    segment: str
    session_class: int
    until: float


class PolicyInForce:
    """A compiled policy with its numbers."""

    def __init__(self, policy: Policy, numbers: Numbers) -> None:
        self.policy = policy
        self.compiled = compile_policy(policy)
        self.rule_numbers = {rule.id: numbers.number_of("rule", rule.id) for rule in policy.rules}
        self.rule_ids = {Reason.DNS.value: DNS_RULE} | {number: name for name, number in self.rule_numbers.items()}
        denying = (rule for rule in policy.rules if not rule.allow and rule.expression is None)
        self._denying = frozenset(self.rule_numbers[rule.id] for rule in denying)
        asked = [(one, rule) for rule in policy.enforced for one in (rule.condition, rule.object_condition)]
        self._expressions = {one.key: rule for one, rule in reversed(asked) if one.expression is not None}
        self.has_relations = any(rule.expression is not None for rule in policy.enforced)
        self._numbers: dict[Class, int] = {
            one: _number(one, self.compiled, numbers) for one in self.compiled.every_class
        }
        self._classes = {number: one for one, number in self._numbers.items()}
        self.networks: Mapping[Prefix, int] = {one.prefix: self._numbers[one] for one in self.compiled.networks}
        """The class number of every prefix that the policy names."""
        self.entries: Mapping[EntryKey, Flow] = policy_entries(
            self.compiled, self._numbers.__getitem__, self.rule_numbers.__getitem__
        )
        self.peers = self._peers()
        self._rules = {rule.id: rule for rule in policy.rules}
        self._verdicts: dict[tuple[int, int, int, int], Verdict] = {}
        self._conditional = [(rule.condition.key, rule) for rule in policy.enforced if rule.allow and rule.condition]
        self._asking: dict[tuple[int, int], tuple[Rule, ...]] = {}

    def denies(self, rule: int) -> bool:
        """Whether the number is that of a deny rule whose entry denies, and leaves no question to answer."""
        return rule in self._denying

    def _peers(self) -> dict[int, frozenset[int]]:
        """For each class those that some flow may connect it with, in either direction."""
        found: dict[int, set[int]] = {number: set() for number in self._classes}
        for one, reachable in self.compiled.peers().items():
            number = self._numbers[one]
            for other in reachable:
                found[number].add(self._numbers[other])
                found[self._numbers[other]].add(number)
        sessions = [self._numbers[one] for one in self.compiled.every_class if isinstance(one, SessionClass)]
        for number in sessions:
            found[number].add(DNS_CLASS)
        found[DNS_CLASS] = set(sessions)
        return {number: frozenset(others) for number, others in found.items()}

    def place(self, principal: Principal, now: float) -> Standing | None:
        """Where a principal stands at a moment; None if it fits no segment, or more than one."""
        segments = self.policy.segments_of(principal)
        if len(segments) != 1:
            return None
        (segment,) = segments
        number = self._numbers[self.compiled.class_of(segment, principal, now)]
        return Standing(segment, number, self.compiled.until(segment, principal, now))

    def unanswered(self, segment: str, principal: Principal, now: float) -> Iterator[tuple[Rule, str]]:
        """The expressions about a session of a segment alone that have no answer: a rule that asks, and the error."""
        for condition in self.compiled.conditions[segment] if self._expressions else ():
            answer = condition.answer(principal, now)
            if answer is not None and answer.error is not None and condition.key in self._expressions:
                yield self._expressions[condition.key], answer.error

    def allows_vlan(self, segment: str, vlan: int) -> bool:
        """Whether a session of the segment may be tagged with this VLAN; without a tag (0) every one may be."""
        return vlan in (0, self.policy.segments[segment].vlan)

    def may_reach(self, subject_class: int, object_class: int) -> bool:
        """Whether some rule lets one class open some flow to the other."""
        subject, obj = self._classes.get(subject_class), self._classes.get(object_class)
        return subject is not None and obj is not None and self.compiled.may_reach(subject, obj)

    def asking(self, subject_class: int, object_class: int) -> tuple[Rule, ...]:
        """The rules that would let one class open flows to the other if their conditions held, which they do not."""
        pair = (subject_class, object_class)
        found = self._asking.get(pair)
        if found is None:
            if len(self._asking) >= MAX_VERDICTS:
                self._asking.clear()
            found = self._asking[pair] = self._find_asking(self._classes.get(pair[0]), self._classes.get(pair[1]))
        return found

    def _find_asking(self, subject: Class | None, target: Class | None) -> tuple[Rule, ...]:
        if not isinstance(subject, SessionClass) or target is None or not self._conditional:
            return ()
        place = target.segment if isinstance(target, SessionClass) else target.prefix
        asked = zip(self.compiled.conditions[subject.segment], subject.standing, strict=True)
        lacking = {condition.key for condition, holds in asked if not holds}
        return tuple(
            rule
            for key, rule in self._conditional
            if key in lacking and rule.opens_from(subject.segment) and rule.opens_to(place)
        )

    def verdict(self, subject_class: int, object_class: int, proto: int, port: int) -> Verdict:
        """The decision for a flow between two classes; it may depend on relations."""
        wanted = (subject_class, object_class, proto, port)
        found = self._verdicts.get(wanted)
        if found is None:
            if len(self._verdicts) >= MAX_VERDICTS:
                self._verdicts.clear()
            found = self._verdicts[wanted] = self._decide(*wanted)
        return found

    def _decide(self, subject_class: int, object_class: int, proto: int, port: int) -> Verdict:
        subject, obj = self._classes.get(subject_class), self._classes.get(object_class)
        if isinstance(subject, SessionClass) and object_class == DNS_CLASS:
            return _dns(proto, port)
        flow, relations = (proto, port), []
        if self.has_relations and subject is not None and obj is not None:
            asked = [entry for entry in self.compiled.deciding(subject, obj, *flow) if entry.relation is not None]
            relations = [(self._rules[entry.rule], self._verdict_of(subject, obj, flow, entry)) for entry in asked]
        verdict = self._verdict_of(subject, obj, flow, None)
        return verdict._replace(relations=tuple(relations)) if relations else verdict

    def _verdict_of(
        self, subject: Class | None, target: Class | None, flow: tuple[int, int], held: Entry | None
    ) -> Verdict:
        """The verdict where this relation holds and none that comes before; without one, where none does."""
        decision = simulate(self.compiled, subject, target, *flow, lambda entry: entry is held)
        number = self.rule_numbers[decision.rule] if decision.rule is not None else 0
        return Verdict(decision.allowed, number, decision.rule, decision.reason)


def _dns(proto: int, port: int) -> Verdict:
    """The decision for a flow of a session to a DNS server of the infrastructure."""
    if proto in (UDP, TCP) and port == PORT:
        return Verdict(True, Reason.DNS.value, DNS_RULE, "DNS servers of the infrastructure answer every live session")
    return Verdict(False, 0, None, "a DNS server of the infrastructure answers nothing but DNS")


def _number(one: Class, compiled: CompiledPolicy, numbers: Numbers) -> int:
    """The number of a class; no segment has a space in its name.

    What a class stands for is all in its key: the same number never comes to mean other conditions.
    """
    if isinstance(one, NetworkClass):
        return NETWORK_CLASS | numbers.number_of("class", f"network {one.prefix}")
    asked = zip(compiled.conditions[one.segment], one.standing, strict=True)
    answers = "".join(f"{condition.key}={holds}\n" for condition, holds in asked)
    standing = hashlib.sha256(answers.encode()).hexdigest() if answers else None
    return numbers.number_of("class", f"{one.segment}/{standing}")
