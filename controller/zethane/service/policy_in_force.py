"""The policy in force, numbered: verdicts for the hot path, entries for the switches.

It is compiled once, with all of its rules. Those whose hours are over are left out of what it says, from one moment to
the next at which a rule opens or closes; `as_of` gives the same policy at another moment, which costs no compiling.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from ipaddress import ip_address
from typing import NamedTuple
from weakref import ref

from zethane.net.flowkey import TCP, UDP
from zethane.net.prefix import Prefix
from zethane.pipeline.dns import PORT
from zethane.pipeline.fields import DNS_CLASS, Reason
from zethane.pipeline.flow import EntryKey, Flow
from zethane.policy.compile import CompiledPolicy, compile_policy, pairs_about, simulate
from zethane.policy.condition import Condition
from zethane.policy.entry import Class, Entry, SessionClass
from zethane.policy.model import Place, Policy, Rule
from zethane.policy.principal import Principal
from zethane.policy.recompile import Recompiled, recompile
from zethane.policy.versions import following
from zethane.service.concerned import Concerned, KeptVerdicts
from zethane.service.policy_classes import ClassNumbers
from zethane.service.policy_entries import PolicyEntries
from zethane.service.policy_numbers import Numbering, Numbers
from zethane.service.verdict import Group, Verdict

DNS_RULE = "infrastructure:dns"
"""What records name as the rule of a flow to a DNS server; no rule of a policy has a colon in its id."""

LOOKED_BACK = 22 * 3600.0
"""Seconds before a moment in which every boundary is known: windows that begin two days before and later are looked at,
and those that have begun before end within the day. A day is an hour shorter where clocks are put forward."""

MAX_VERDICTS = 100_000
"""Verdicts kept; a scan over all ports fills and empties this, and harms nobody else."""


class Standing(NamedTuple):
    """Where policy finds a session: its segment, the number of its class, and for how long.

    `until` is the first moment, in seconds since the epoch, at which the class may be another one by time alone;
    infinity if there is none.
    """

    segment: str
    session_class: int
    until: float


class PolicyInForce:
    """A compiled policy with its numbers, as it is from `since` to `until`, in seconds since the epoch.

    It never changes: another policy, or another hour, is another one, which shares with this what is the same.
    """

    def __init__(self, policy: Policy, numbers: Numbers, now: float) -> None:
        """Raises CapacityError for a policy that is too large, or numbers that cannot be kept."""
        numbering = Numbering(numbers)
        self._work_out(policy, numbering, now)
        numbering.keep()

    def _work_out(self, policy: Policy, numbering: Numbering, now: float) -> None:
        self.compiled = compiled = compile_policy(policy).as_of(now)
        self.classes = ClassNumbers.of(compiled, numbering)
        """The numbers of classes, and who has to do with whom."""
        self.rule_numbers: Mapping[str, int] = {}
        self.rule_ids: Mapping[int, str] = {Reason.DNS.value: DNS_RULE}
        self._take(policy, (), policy.rules, numbering)
        self._asking_addresses = frozenset(_asking_addresses(compiled, compiled.conditions))
        earlier: PolicyEntries | None = getattr(self, "flows", None)
        tracked = frozenset() if earlier is None else earlier.grants.tracked
        self.flows: PolicyEntries = PolicyEntries.of(compiled, self.classes, self.rule_numbers, numbering, tracked)
        """What the table `rule` should hold."""
        self._kept = KeptVerdicts()
        self._after: tuple[ref[PolicyInForce], Concerned] | None = None
        self._moved: tuple[ref[PolicyInForce], frozenset[str]] | None = None
        self._look_at(compiled.versioned(), now)

    def _take(self, policy: Policy, gone: Iterable[str], rules: Iterable[Rule], numbering: Numbering) -> None:
        """Take up a policy that has no longer some rules, and then these besides those that are known."""
        self.policy = policy
        self.has_relations = policy.has_relations
        left = {name: self.rule_numbers[name] for name in gone if name in self.rule_numbers}
        numbers = {rule.id: numbering.number_of("rule", rule.id) for rule in rules}
        names = {number: name for name, number in numbers.items()}
        self.rule_numbers = following(self.rule_numbers, numbers, left)
        self.rule_ids = following(self.rule_ids, names, left.values())

    @property
    def networks(self) -> Mapping[Prefix, int]:
        """The class number of every prefix that the policy names."""
        return self.classes.networks

    @property
    def entries(self) -> Mapping[EntryKey, Flow]:
        """What the table `rule` should hold, by key. It is made at each look, and large."""
        return {flow.key: flow for flow in self.flows}

    @property
    def has_grants(self) -> bool:
        """Whether switches let connections in by themselves, or have done so since the controller has started."""
        return bool(self.flows.grants.tracked)

    # another policy, another hour

    def succeeded_by(self, policy: Policy, numbering: Numbering, now: float) -> PolicyInForce:
        """Another policy: worked out from what is the same in this one, or anew where that cannot be told.

        This reads nothing that changes and changes nothing, so that it may be done beside the event loop. What is given
        out has to be kept before the policy is put in force. Raises CapacityError.
        """
        change = recompile(self.compiled, self.policy, policy)
        new = copy(self)
        if change is None:
            new._work_out(policy, numbering, now)  # noqa: SLF001  # of the same class
        else:
            new._follow(self, policy, change, numbering, now)  # noqa: SLF001
        return new

    def _follow(
        self, before: PolicyInForce, policy: Policy, change: Recompiled, numbering: Numbering, now: float
    ) -> None:
        self.compiled = compiled = change.compiled.as_of(now)
        self.classes = before.classes.changed(change, numbering)
        self._take(policy, change.differing, filter(None, map(policy.rule, change.differing)), numbering)
        if change.segments:
            asking = _asking_addresses(compiled, change.segments)
            self._asking_addresses = (before._asking_addresses - change.segments).union(asking)
        self.flows = before.flows.changed(change, compiled, self.classes, self.rule_numbers, numbering)
        # Where there are hours, a verdict says until when it is sure, by all of them.
        timed = compiled.hours or before.compiled.hours
        areas = Concerned(before.classes, self.classes, change.concerned())
        self._kept = KeptVerdicts() if timed else KeptVerdicts(before._verdicts, areas)
        self._after = None if timed else (ref(before), areas)
        self._moved = ref(before), change.segments
        self._look_at(compiled, now)

    def _look_at(self, compiled: CompiledPolicy, now: float) -> PolicyInForce:
        """Take up what holds at a moment."""
        moments = compiled.boundaries(compiled.hours)
        self.compiled = compiled
        # No further back than was looked: before that there may have been another boundary.
        looked = now - LOOKED_BACK if moments else -math.inf
        self.since = max([looked, *(moment for moment in moments if moment <= now)])
        self.until = min((moment for moment in moments if moment > now), default=math.inf)
        self._verdicts: dict[Group, Verdict] = {}
        self._asking: dict[tuple[int, int], tuple[Rule, ...]] = {}
        return self

    def as_of(self, now: float) -> PolicyInForce:
        """The same policy at another moment; itself as long as no rule has opened or closed."""
        if self.since <= now < self.until:
            return self
        new, compiled = copy(self), self.compiled.as_of(now)
        new.flows = self.flows.as_of(compiled)
        new._kept, new._after, new._moved = KeptVerdicts(), None, None  # noqa: SLF001  # of the same class
        return new._look_at(compiled, now)  # noqa: SLF001

    def parts(self, other: PolicyInForce) -> Iterator[object]:
        """What it is made of for the most part, and another one that takes its place is not, in small pieces: whoever
        holds them lets them outlive it."""
        rules, pairs = self.flows.apart_from(other.flows)
        yield from filter(None, map(self.compiled.rules.get, rules))
        yield from filter(None, map(self.compiled.by_pair.get, pairs))
        yield from self.flows.parts(rules, pairs)

    def turns_to(self, other: PolicyInForce) -> tuple[frozenset[str], frozenset[str]]:
        """The rules that open and those that close when the same policy at another moment takes its place."""
        return self.compiled.closed - other.compiled.closed, other.compiled.closed - self.compiled.closed

    def difference(self, other: PolicyInForce) -> tuple[list[EntryKey], list[Flow]]:
        """What is to be removed from the table `rule`, and what is to be added, when another policy, or this one at
        another hour, takes its place."""
        removed: list[EntryKey] = []
        added: list[Flow] = []
        for gone, come in self.differences(other):
            removed += gone
            added += come
        return removed, added

    def differences(self, other: PolicyInForce) -> Iterator[tuple[list[EntryKey], list[Flow]]]:
        """The same bit by bit; nothing of it is to be added before all is removed."""
        return self.flows.differences(other.flows)

    def concerned_after(self, before: PolicyInForce) -> Concerned | None:
        """Between which classes this may decide otherwise than the policy that it has followed; None: any."""
        if self._after is None or self._after[0]() is not before:
            return None
        return self._after[1]

    def moving(self, other: PolicyInForce) -> frozenset[str] | None:
        """The segments whose sessions may have other classes under another policy; None if any session may have."""
        if not self.policy.has_places_of(other.policy):
            return None
        if other._moved is not None and other._moved[0]() is self:  # of the same class
            return other._moved[1]
        mine, asked = self.classes.segments, self.compiled.conditions
        return frozenset(
            name
            for name, number in other.classes.segments.items()
            if mine.get(name) != number or asked[name] != other.compiled.conditions[name]
        )

    def numbered(self, rules: frozenset[str]) -> frozenset[int]:
        """The numbers of rules."""
        return frozenset(self.rule_numbers[rule] for rule in rules)

    def has_denies(self, rules: Iterable[str]) -> bool:
        """Whether one of these rules denies, whoever has to be asked for that."""
        return any(not self.compiled.rules[rule].rule.allow for rule in rules)

    def denies(self, rule: int) -> bool:
        """Whether the number is that of a deny rule whose entry denies, and leaves no question to answer."""
        found = self.compiled.rules.get(self.rule_ids.get(rule, ""))
        return found is not None and not found.rule.allow and found.rule.expression is None

    def place(self, principal: Principal, now: float) -> Standing | None:
        """Where a principal stands at a moment; None if it fits no segment, or more than one."""
        segments = self.policy.segments_of(principal)
        if len(segments) != 1:
            return None
        (segment,) = segments
        number = self.classes.numbers[self.compiled.class_of(segment, principal, now)]
        return Standing(segment, number, self.compiled.until(segment, principal, now))

    def classes_at(
        self, segment: str, principal: Principal, addresses: Iterable[bytes], now: float
    ) -> dict[bytes, int]:
        """The class of a session at each of its addresses; nothing where it is the same at any."""
        if segment not in self._asking_addresses:
            return {}
        at = {address: replace(principal, address=ip_address(address)) for address in addresses}
        return {address: self.classes.numbers[self.compiled.class_of(segment, one, now)] for address, one in at.items()}

    def asks_addresses(self, segment: str) -> bool:
        """Whether a session of a segment may have several classes, by its addresses."""
        return segment in self._asking_addresses

    def unanswered(self, segment: str, principal: Principal, now: float) -> Iterator[tuple[Rule, str]]:
        """The expressions about a session of a segment alone that have no answer: a rule that asks, and the error."""
        expressions = self.policy.expressions
        for condition in self.compiled.conditions[segment] if expressions else ():
            answer = condition.answer(principal, now)
            if answer is not None and answer.error is not None and condition.key in expressions:
                yield expressions[condition.key], answer.error

    def allows_vlan(self, segment: str, vlan: int) -> bool:
        """Whether a session of the segment may be tagged with this VLAN; without a tag (0) every one may be."""
        return vlan in (0, self.policy.segments[segment].vlan)

    def may_reach(self, subject_class: int, object_class: int) -> bool:
        """Whether some rule lets one class open some flow to the other."""
        subject, obj = self.classes.classes.get(subject_class), self.classes.classes.get(object_class)
        return subject is not None and obj is not None and self.compiled.may_reach(subject, obj)

    def may_be_granted(self, subject_class: int, object_class: int) -> bool:
        """Whether switches may let flows of one class in to the other by themselves, or may have done so."""
        tracked = self.flows.grants.tracked
        subject, obj = self.classes.classes.get(subject_class), self.classes.classes.get(object_class)
        if not tracked or subject is None or obj is None:
            return False
        return any(pair in tracked for pair in pairs_about(subject, obj))

    def offers(self, subject_class: int, object_class: int) -> bool:
        """Whether some rule lets one class open some flow to the other, or would if it proved more, or later.

        Without hours and conditions that the subject does not meet; the object has to be as such a rule wants it.
        """
        target = self.classes.classes.get(object_class)
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
            found = self._asking[pair] = self._find_asking(
                self.classes.classes.get(pair[0]), self.classes.classes.get(pair[1])
            )
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
        return condition.key not in one.held

    def verdict(self, subject_class: int, object_class: int, proto: int, port: int) -> Verdict:
        """The decision for a flow between two classes; it may depend on relations."""
        wanted = (subject_class, object_class, proto, port)
        found = self._verdicts.get(wanted)
        if found is None:
            if len(self._verdicts) >= MAX_VERDICTS:
                self._verdicts.clear()
            found = self._verdicts[wanted] = self._kept.get(wanted) or self._decide(*wanted)
        return found

    def _decide(self, subject_class: int, object_class: int, proto: int, port: int) -> Verdict:
        subject, obj = self.classes.classes.get(subject_class), self.classes.classes.get(object_class)
        if isinstance(subject, SessionClass) and object_class == DNS_CLASS:
            return _dns(proto, port)
        flow, relations = (proto, port), []
        if self.has_relations and subject is not None and obj is not None:
            asked = [entry for entry in self.compiled.deciding(subject, obj, *flow) if entry.relation is not None]
            relations = [(self._rule(entry), self._verdict_of(subject, obj, flow, entry)) for entry in asked]
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

    def _rule(self, entry: Entry) -> Rule:
        """The rule of an entry, as the policy has it now: what it asks is the same, where it stands may be another."""
        return self.policy.rule(entry.rule) or self.compiled.rules[entry.rule].rule

    def stands(self, verdict: Verdict, group: Group, rule: int) -> bool:
        """Whether a flow that one rule has opened may go on under it, where this is what is decided about it now: the
        rule is open, and nothing denies the flow. Group: both classes, the protocol, and the port that was opened."""
        if verdict.rule == rule or not verdict.allowed:
            return verdict.allowed
        subject_class, object_class, *flow = group
        subject, obj, name = (
            self.classes.classes.get(subject_class),
            self.classes.classes.get(object_class),
            self.rule_ids.get(rule),
        )
        if subject is None or obj is None:
            return False
        return any(
            entry.rule == name and entry.relation is None and entry.service.matches(*flow)
            for entry in self.compiled.concerning(subject, obj)
        )


def _asking_addresses(compiled: CompiledPolicy, segments: Iterable[str]) -> Iterator[str]:
    """Those of some segments of whose sessions it is asked from which network they act."""
    return (name for name in segments if any(one.networks for one in compiled.conditions[name]))


def _place(one: Class) -> Place:
    return one.segment if isinstance(one, SessionClass) else one.prefix


def _dns(proto: int, port: int) -> Verdict:
    """The decision for a flow of a session to a DNS server of the infrastructure."""
    if proto in (UDP, TCP) and port == PORT:
        return Verdict(True, Reason.DNS.value, DNS_RULE, "DNS servers of the infrastructure answer every live session")
    return Verdict(False, 0, None, "a DNS server of the infrastructure answers nothing but DNS")
