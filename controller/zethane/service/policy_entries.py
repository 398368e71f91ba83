"""The entries of the table `rule` for a policy: by rule for what opens flows, by pair of ends for the answers.

So a change of one rule touches its own entries, and the answers between the ends that it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TypeVar
from weakref import ref

from zethane.pipeline.flow import EntryKey, Flow
from zethane.pipeline.rules import answer_entries, policy_entries
from zethane.pipeline.tables import Priority
from zethane.policy.compile import CompiledPolicy
from zethane.policy.entry import Pair
from zethane.policy.recompile import Recompiled
from zethane.policy.versions import following, version
from zethane.service.policy_classes import ClassNumbers
from zethane.service.policy_numbers import Numbering, Priorities

_Flows = tuple[Flow, ...]

LOOKED_AT = 32
"""Parts that are the same and count as one that is looked at."""


@dataclass(frozen=True, slots=True)
class Granted:
    """`granting`: some rule is a grant. `tracked` are the pairs of ends that some grant is or was about: switches may
    hold connections between them."""

    granting: bool
    tracked: frozenset[Pair]

    @classmethod
    def of(cls, compiled: CompiledPolicy, tracked: frozenset[Pair]) -> Granted:
        """Those of a policy that follows one with these pairs."""
        found = [name for name, one in compiled.rules.items() if one.rule.is_grant]
        return cls(bool(found), tracked | _pairs_of(found, compiled))

    def changed(self, change: Recompiled, compiled: CompiledPolicy) -> Granted:
        """Those of a policy that was compiled from the one of these."""
        new = [name for name, one in change.after.items() if one.rule.is_grant]
        lost = any(one.rule.is_grant for one in change.before.values())
        granting = bool(new) or self.granting
        if lost and not new:
            granting = any(one.rule.is_grant for one in compiled.rules.values())
        return Granted(granting, self.tracked | _pairs_of(new, compiled))


@dataclass(frozen=True, slots=True, weakref_slot=True)
class PolicyEntries:
    """Never changed: another policy, or hour, has others, which share what is the same.

    `closed` are the rules whose entries are not in the table now. `_before` are the entries that these follow from,
    with the rules and pairs in which alone they differ.
    """

    closed: frozenset[str]
    _rules: Mapping[str, _Flows]
    _answers: Mapping[Pair, _Flows]
    _priorities: Priorities
    _classes: ClassNumbers
    grants: Granted
    _before: tuple[ref[PolicyEntries], Iterable[str], Iterable[Pair]] | None = field(default=None, compare=False)

    @classmethod
    def of(
        cls,
        compiled: CompiledPolicy,
        classes: ClassNumbers,
        rule_numbers: Mapping[str, int],
        numbering: Numbering,
        tracked: frozenset[Pair] = frozenset(),
    ) -> PolicyEntries:
        """All entries of a policy; `tracked` are pairs with connections of an earlier one's grants. Raises
        CapacityError."""
        allows = {name: one.rule.allow for name, one in compiled.rules.items()}
        kept = numbering.priorities
        priorities, given = Priorities.of(allows, kept)
        numbering.use_priorities(given, {name for name in kept if name not in allows}, len(allows))
        rules = version(
            {
                name: policy_entries(one, classes.field, rule_numbers[name], priorities[allows[name], name])
                for name, one in compiled.rules.items()
            }
        )
        grants = Granted.of(compiled, tracked)
        answers = version(_answers_between(compiled.by_pair, compiled, classes, grants))
        return cls(compiled.closed, rules, answers, priorities, classes, grants)

    def changed(
        self,
        change: Recompiled,
        compiled: CompiledPolicy,
        classes: ClassNumbers,
        rule_numbers: Mapping[str, int],
        numbering: Numbering,
    ) -> PolicyEntries:
        """Those of a policy that was compiled from the one of these. Raises CapacityError."""
        gone = {(one.rule.allow, name) for name, one in change.before.items()}
        new = {(one.rule.allow, name) for name, one in change.after.items()}
        priorities, moved = self._priorities.changed(gone - new, new - gone)
        leaving = {name for _, name in gone - new} - moved.keys()
        numbering.use_priorities(moved, leaving, len(compiled.rules))
        renumbered = _about(compiled, classes.renumbered(self._classes, change.segments))
        differing = {*change.before, *change.after, *moved, *renumbered}
        others: dict[str, _Flows] = {}
        for name in differing:
            if one := compiled.rules.get(name):
                number, priority = rule_numbers[name], priorities[one.rule.allow, name]
                others[name] = policy_entries(one, classes.field, number, priority, self._rules.get(name, ()))
        rules = following(self._rules, others, change.before)
        turned = self.closed ^ compiled.closed
        others_too = chain((name for name in turned if name in compiled.rules), renumbered)
        pairs = change.pairs | _pairs_of(others_too, compiled)
        grants = self.grants.changed(change, compiled)
        if grants.granting != self.grants.granting:
            pairs = pairs.union(compiled.by_pair)
        answers = following(self._answers, _answers_between(pairs, compiled, classes, grants), pairs)
        before = ref(self), differing | turned, pairs
        return PolicyEntries(compiled.closed, rules, answers, priorities, classes, grants, before)

    def as_of(self, compiled: CompiledPolicy) -> PolicyEntries:
        """Those of the same policy at another hour."""
        turned = self.closed ^ compiled.closed
        pairs = _pairs_of(turned, compiled)
        answers = following(self._answers, _answers_between(pairs, compiled, self._classes, self.grants), pairs)
        return replace(self, closed=compiled.closed, _answers=answers, _before=(ref(self), turned, pairs))

    def __iter__(self) -> Iterator[Flow]:
        # Denies first: nothing that they deny is let through while the rest is on its way.
        for is_deny in (True, False):
            for rule, flows in self._rules.items():
                if flows and (flows[0].priority > Priority.RULE_ALLOW_TOP) is is_deny and rule not in self.closed:
                    yield from flows
        for flows in self._answers.values():
            yield from flows

    def apart_from(self, other: PolicyEntries) -> tuple[Iterable[str], Iterable[Pair]]:
        """The rules and pairs for which others that take the place of these need not share what is the same: those in
        which alone they differ if they follow from these, and else all."""
        return other._changed_in(self) or (self._rules, self._answers)

    def parts(self, rules: Iterable[str], pairs: Iterable[Pair]) -> Iterator[_Flows]:
        """What they are made of for some rules and pairs."""
        yield from filter(None, map(self._rules.get, rules))
        yield from filter(None, map(self._answers.get, pairs))

    def differences(self, other: PolicyEntries) -> Iterator[tuple[list[EntryKey], list[Flow]]]:
        """What is to be removed, and what is to be added, when others take the place of these: bit by bit."""
        changed = other._changed_in(self)
        if changed is not None:
            yield from self._differing(other, *changed)
            return
        rules, pairs = _others(self._rules, other._rules), _others(self._answers, other._answers)
        turned = (one for one in self.closed ^ other.closed if self._rules.get(one) is other._rules.get(one))
        yield from self._differing(other, chain(rules, turned), pairs)

    def _changed_in(self, before: PolicyEntries) -> tuple[Iterable[str], Iterable[Pair]] | None:
        """The rules and pairs in which alone these differ from others; None if that is not known."""
        if self._before is None or self._before[0]() is not before:
            return None
        return self._before[1], self._before[2]

    def _differing(
        self, other: PolicyEntries, rules: Iterable[str | None], pairs: Iterable[Pair | None]
    ) -> Iterator[tuple[list[EntryKey], list[Flow]]]:
        for rule in rules:
            yield ([], []) if rule is None else _differ(self._open(rule), other._open(rule))
        for pair in pairs:
            yield ([], []) if pair is None else _differ(self._answers.get(pair, ()), other._answers.get(pair, ()))

    def _open(self, rule: str) -> _Flows:
        return () if rule in self.closed else self._rules.get(rule, ())


def _answers_between(
    pairs: Iterable[Pair], compiled: CompiledPolicy, classes: ClassNumbers, grants: Granted
) -> dict[Pair, _Flows]:
    """The answers to what open rules allow, where there are any; and, where there are grants, to what they deny."""
    found: dict[Pair, _Flows] = {}
    for pair in pairs:
        entries = [
            entry
            for entry in compiled.by_pair.get(pair, ())
            if (entry.allow or grants.granting) and entry.rule not in compiled.closed
        ]
        if entries:
            entries.sort(key=lambda entry: entry.rule)
            tracked = pair in grants.tracked
            found[pair] = answer_entries(pair, entries, classes.field, granting=grants.granting, tracked=tracked)
    return found


def _about(compiled: CompiledPolicy, segments: Iterable[str]) -> set[str]:
    """The rules about some segments."""
    sources, targets = compiled.between.by_source, compiled.between.by_target
    return {one.rule.id for name in segments for one in (*sources.get(name, ()), *targets.get(name, ()))}


def _pairs_of(rules: Iterable[str], compiled: CompiledPolicy) -> frozenset[Pair]:
    found = (compiled.rules[rule] for rule in rules)
    return frozenset((one, other) for rule in found for one in rule.subjects for other in rule.objects)


_K = TypeVar("_K")


def _others(old: Mapping[_K, _Flows], new: Mapping[_K, _Flows]) -> Iterator[_K | None]:
    """What has others, or none any more. None stands for some that have the same: they take time as well."""
    for number, one in enumerate(old):
        if one not in new:
            yield one
        elif number % LOOKED_AT == 0:
            yield None
    for number, (one, flows) in enumerate(new.items()):
        if old.get(one) is not flows:
            yield one
        elif number % LOOKED_AT == 0:
            yield None


def _differ(old: _Flows, new: _Flows) -> tuple[list[EntryKey], list[Flow]]:
    if old is new:
        return [], []
    # What is taken over is told by being the same object: nothing of it has to be looked at.
    shared = {*map(id, old)}.intersection(map(id, new))
    before = {flow.key: flow for flow in old if id(flow) not in shared}
    after = {flow.key: flow for flow in new if id(flow) not in shared}
    added = [flow for key, flow in after.items() if key not in before or before[key].body != flow.body]
    return [key for key in before if key not in after], added
