"""The policy in force, numbered: verdicts for the hot path, entries for the switches.

It is compiled once, with all of its rules. Those whose hours are over are left out of what it says, from one moment to
the next at which a rule opens or closes; `as_of` gives the same policy at another moment, which costs no compiling.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from ipaddress import ip_address
from typing import NamedTuple, Protocol

from zethane.net.flowkey import TCP, UDP
from zethane.net.prefix import Prefix
from zethane.pipeline.dns import PORT
from zethane.pipeline.fields import DNS_CLASS, NETWORK_CLASS, Reason
from zethane.pipeline.flow import EntryKey, Flow
from zethane.pipeline.rules import policy_entries
from zethane.policy.compile import Class, CompiledPolicy, Entry, NetworkClass, SessionClass, compile_policy, simulate
from zethane.policy.condition import Condition
from zethane.policy.model import Place, Policy, Rule
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
    """What the hot path needs of a decision; `rule` is a number, 0 without a rule.

    `until` is when hours, or the time in a relation, may make an end to what is allowed, in seconds since the epoch;
    infinity if they do not.
    """

    allowed: bool
    rule: int
    rule_id: str | None
    reason: str
    relations: tuple[tuple[Rule, Verdict], ...] = ()
    """Rules about both ends that decide first, by rank, and what each decides where it holds. Where there are any, it
    takes both ends to know: `service.relations`. The verdict itself is that of the rest."""
    until: float = math.inf


class Standing(NamedTuple):
    """Where policy finds a session: its segment, the number of its class, and for how long.

    `until` is the first moment, in seconds since the epoch, at which the class may be another one by time alone;
    infinity if there is none.
    """

    segment: str
    session_class: int
    until: float


Group = tuple[int, int, int, int]
"""What flows share that share a decision: both classes, the protocol, and the port that was opened."""

Entries = Mapping[EntryKey, Flow]
"""Entries of the table `rule`."""


class PolicyInForce:
    """A compiled policy with its numbers, as it is from `since` to `until`, in seconds since the epoch."""

    def __init__(self, policy: Policy, numbers: Numbers, now: float) -> None:
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
        self._standing, self._timed = self._written()
        self.peers = self._peers()
        self._asking_addresses = frozenset(
            segment for segment, asked in self.compiled.conditions.items() if any(one.networks for one in asked)
        )
        self._rules = {rule.id: rule for rule in policy.rules}
        self._look_at(self.compiled.as_of(now), now)

    def _written(self) -> tuple[Entries, Mapping[str, Entries]]:
        """The entries of rules without hours, and those of each rule with hours."""
        found: dict[str | None, list[Entry]] = defaultdict(list)
        for entry in self.compiled.entries:
            found[entry.rule if entry.rule in self.compiled.hours else None].append(entry)
        written = {
            rule: policy_entries(entries, self._numbers.__getitem__, self.rule_numbers.__getitem__)
            for rule, entries in found.items()
        }
        return written.get(None, {}), {rule: entries for rule, entries in written.items() if rule is not None}

    # time

    def _look_at(self, compiled: CompiledPolicy, now: float) -> PolicyInForce:
        """Take up what holds at a moment."""
        moments = compiled.boundaries(compiled.hours)
        self.compiled = compiled
        # No further back than was looked: before that there may have been another boundary.
        self.since = max((moment for moment in moments if moment <= now), default=now if moments else -math.inf)
        self.until = min((moment for moment in moments if moment > now), default=math.inf)
        self.entries = self._open_entries()
        self._verdicts: dict[tuple[int, int, int, int], Verdict] = {}
        self._asking: dict[tuple[int, int], tuple[Rule, ...]] = {}
        return self

    def as_of(self, now: float) -> PolicyInForce:
        """The same policy at another moment; itself as long as no rule has opened or closed."""
        if self.since <= now < self.until:
            return self
        return copy(self)._look_at(self.compiled.as_of(now), now)  # noqa: SLF001  # of the same class

    def _open_entries(self) -> Entries:
        """What the table `rule` should hold."""
        if not self._timed:
            return self._standing
        entries = dict(self._standing)
        for rule, own in self._timed.items():
            if rule not in self.compiled.closed:
                for key, flow in own.items():
                    entries.setdefault(key, flow)
        return entries

    def turns_to(self, other: PolicyInForce) -> tuple[frozenset[str], frozenset[str]]:
        """The rules that open and those that close when the same policy at another moment takes its place."""
        return self.compiled.closed - other.compiled.closed, other.compiled.closed - self.compiled.closed

    def difference(self, other: PolicyInForce) -> tuple[list[EntryKey], list[Flow]]:
        """What is then to be removed from the table `rule`, and what is to be added."""
        opening, closing = self.turns_to(other)
        removed = {key for rule in closing for key in self._timed.get(rule, ()) if key not in other.entries}
        added = {
            key: flow for rule in opening for key, flow in self._timed.get(rule, {}).items() if key not in self.entries
        }
        return list(removed), list(added.values())

    def numbered(self, rules: frozenset[str]) -> frozenset[int]:
        """The numbers of rules."""
        return frozenset(self.rule_numbers[rule] for rule in rules)

    def has_denies(self, rules: Iterable[str]) -> bool:
        """Whether one of these rules denies, whoever has to be asked for that."""
        return any(not self._rules[rule].allow for rule in rules)

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

    def classes_at(
        self, segment: str, principal: Principal, addresses: Iterable[bytes], now: float
    ) -> dict[bytes, int]:
        """The class of a session at each of its addresses; nothing where it is the same at any."""
        if segment not in self._asking_addresses:
            return {}
        at = {address: replace(principal, address=ip_address(address)) for address in addresses}
        return {address: self._numbers[self.compiled.class_of(segment, one, now)] for address, one in at.items()}

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

    def offers(self, subject_class: int, object_class: int) -> bool:
        """Whether some rule lets one class open some flow to the other, or would if it proved more, or later.

        Without hours and conditions that the subject does not meet; the object has to be as such a rule wants it.
        """
        target = self._classes.get(object_class)
        return self.may_reach(subject_class, object_class) or any(
            not self._lacks(target, rule.object_condition) for rule in self.asking(subject_class, object_class)
        )

    def asking(self, subject_class: int, object_class: int) -> tuple[Rule, ...]:
        """The rules that would let one class open flows to the other if all that they ask for held, which it does
        not."""
        pair = (subject_class, object_class)
        found = self._asking.get(pair)
        if found is None:
            if len(self._asking) >= MAX_VERDICTS:
                self._asking.clear()
            found = self._asking[pair] = self._find_asking(self._classes.get(pair[0]), self._classes.get(pair[1]))
        return found

    def _find_asking(self, subject: Class | None, target: Class | None) -> tuple[Rule, ...]:
        if subject is None or target is None:
            return ()
        source, place = _place(subject), _place(target)
        return tuple(
            rule
            for rule in self.policy.rules_from(source)
            if rule.allow
            and rule.stage == "enforce"
            and rule.is_conditional
            and rule.opens_from(source)
            and rule.opens_to(place)
            and (
                rule.id in self.compiled.closed
                or rule.expression is not None
                or self._lacks(subject, rule.condition)
                or self._lacks(target, rule.object_condition)
            )
        )

    def _lacks(self, one: Class | None, condition: Condition) -> bool:
        """Whether a condition does not hold for a class."""
        if not condition or not isinstance(one, SessionClass):
            return bool(condition)
        asked = self.compiled.conditions[one.segment]
        return not one.standing[next(place for place, known in enumerate(asked) if known.key == condition.key)]

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
        until = math.inf
        if decision.rule is not None and decision.allowed and subject and target and self.until != math.inf:
            until = self.compiled.sure_until(subject, target, *flow, decision.rule, self.since)
        return Verdict(decision.allowed, number, decision.rule, decision.reason, until=until)

    def stands(self, verdict: Verdict, group: Group, rule: int) -> bool:
        """Whether a flow that one rule has opened may go on under it, where this is what is decided about it now: the
        rule is open, and nothing denies the flow. Group: both classes, the protocol, and the port that was opened."""
        if verdict.rule == rule or not verdict.allowed:
            return verdict.allowed
        subject_class, object_class, *flow = group
        subject, obj, name = self._classes.get(subject_class), self._classes.get(object_class), self.rule_ids.get(rule)
        if subject is None or obj is None:
            return False
        return any(
            entry.rule == name and entry.relation is None and entry.service.matches(*flow)
            for entry in self.compiled.concerning(subject, obj)
        )


def _place(one: Class) -> Place:
    return one.segment if isinstance(one, SessionClass) else one.prefix


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
