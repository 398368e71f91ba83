"""A policy that differs in some rules from one that is compiled: only what depends on them is worked out again.

The result is what `compile_policy` makes of the new policy. What cannot be told from the rules that differ (other
segments, other networks, a condition of every segment) is left to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from zethane.errors import CapacityError
from zethane.policy import compile as whole
from zethane.policy.compile import CompiledPolicy, Frame, classes_of, closed_of, compile_rule, in_order
from zethane.policy.condition import Condition
from zethane.policy.entry import Class, Compiled, Entry, Pair, SessionClass
from zethane.policy.hours import Hours
from zethane.policy.model import ANY, Policy, Rule
from zethane.policy.peers import ByKey, Key, key_of
from zethane.policy.versions import following

MAX_CHANGED = 1000
"""Rules that may have to be compiled again; where it is more, all are."""


@dataclass(frozen=True, slots=True)
class Recompiled:
    """A policy that was compiled from another one.

    `differing` are the ids of the rules that are others, gone or new. `before` and `after` are those, and others whose
    entries may be others, as they were compiled before and are now; `segments` those of which other conditions are
    asked. `pairs` are those about which there are other entries.
    """

    compiled: CompiledPolicy
    differing: Sequence[str]
    before: Mapping[str, Compiled]
    after: Mapping[str, Compiled]
    segments: frozenset[str]
    pairs: frozenset[Pair]

    def concerned(self) -> list[tuple[int, int]]:
        """The classes of subjects and of objects that these rules are about, rule by rule."""
        sessions = self.compiled.between.sessions
        return [
            (
                rule.sources | (sessions if None in rule.subjects else 0),
                rule.targets | (sessions if None in rule.objects else 0),
            )
            for rule in chain(self.before.values(), self.after.values())
        ]


def recompile(old: CompiledPolicy, before: Policy, policy: Policy) -> Recompiled | None:
    """The new policy compiled, from the old one; None where that takes compiling all of it.

    Raises CapacityError as `compile_policy` does.
    """
    if not before.has_places_of(policy):
        return None
    differing = before.differing(policy)
    if differing is None or len(differing) > MAX_CHANGED:
        return None
    return _Work(old, policy, differing).result()


class _Work:
    """The way from one to the other."""

    def __init__(self, old: CompiledPolicy, policy: Policy, differing: Sequence[str]) -> None:
        self._old = old
        self._differing = differing
        self._policy = policy
        self._before = {name: old.rules[name] for name in differing if name in old.rules}
        self._around: dict[str, Compiled] = {}
        """Rules whose entries are the same, about segments that have other classes now."""
        self._wanted: dict[str, Rule] = {}
        for name in differing:
            rule = policy.rule(name)
            if rule is not None and rule.stage == "enforce":
                self._wanted[name] = rule

    def result(self) -> Recompiled | None:
        old = self._old
        asked = self._asked_segments()
        if asked is None:
            return None
        conditions = {name: found for name in asked if (found := self._conditions(name)) is not None}
        self._take_in(conditions)
        if len(self._before) + len(self._wanted) > 2 * MAX_CHANGED:
            return None
        classes, places = self._classes(conditions)
        if conditions and len(places) > 2 * whole.MAX_CLASSES:
            return None  # many classes have come and gone: their bits are free again when all is compiled
        frame = Frame(classes, old.networks, places)
        room = whole.MAX_ENTRIES - old.size + sum(len(rule.entries) for rule in self._before.values())
        after: dict[str, Compiled] = {}
        for rule in sorted(self._wanted.values(), key=lambda rule: (rule.allow, rule.id)):
            after[rule.id] = compiled = compile_rule(rule, frame, room)
            room -= len(compiled.entries)
        around = self._replaced(frame, conditions)
        rules = following(old.rules, {**around, **after}, self._before)
        by_pair = self._by_pair(self._pairs(after), after)
        sources, targets = self._by_ends(around, after)
        sessions = self._sessions(frame, conditions)
        hours, closed = self._hours(rules, after)
        # What other rules say of a class that stays is what they have said: they are compiled again as some have come.
        changed = [held[name] for name in self._differing for held in (self._before, after) if name in held]
        gone = [one for name in conditions for one in old.classes[name] if one not in places]
        new = [one for name in conditions for one in classes[name] if one not in old.between.places]
        between = old.between.but_for(places, sessions, sources, targets, changed, gone, new)
        compiled_policy = replace(
            old,
            rules=rules,
            conditions=following(old.conditions, conditions),
            classes=classes,
            by_pair=following(old.by_pair, {pair: entries for pair, entries in by_pair.items() if entries}, by_pair),
            between=between,
            size=whole.MAX_ENTRIES - room,
            hours=hours,
            closed=closed,
            spans={},
            _reach={},
        )
        segments, others = frozenset(conditions), frozenset(by_pair)
        return Recompiled(compiled_policy, self._differing, self._before, after, segments, others)

    def _asked_segments(self) -> set[str] | None:
        """The segments of which other conditions may be asked now; None: all."""
        found: set[str] = set()
        for rule in chain((one.rule for one in self._before.values()), self._wanted.values()):
            for names, condition in ((rule.sources, rule.condition), (rule.targets, rule.object_condition)):
                if condition and ANY in names:
                    return None
                if condition:
                    found.update(names)
        return found

    def _conditions(self, segment: str) -> tuple[Condition, ...] | None:
        """What rules ask of a segment's sessions; None if it is what they have asked."""
        between, found = self._old.between, dict[str, Condition]()
        for index, is_subject in ((between.by_source, True), (between.by_target, False)):
            for one in index.get(segment, ()):
                if one.rule.id not in self._before:
                    _ask(found, one.rule, segment, is_subject=is_subject)
        for rule in self._wanted.values():
            _ask(found, rule, segment, is_subject=True)
            _ask(found, rule, segment, is_subject=False)
        asked = in_order(found)
        return None if asked == self._old.conditions[segment] else asked

    def _take_in(self, segments: Iterable[str]) -> None:
        """Rules that ask something of segments with other classes have to be compiled again, as they are: they name
        these one by one. Others about them name the segment."""
        between = self._old.between
        for segment in segments:
            for one in chain(between.by_source.get(segment, ()), between.by_target.get(segment, ())):
                name = one.rule.id
                if name in self._before:
                    continue
                if _asks(one.rule, segment):
                    self._around.pop(name, None)
                    self._before[name] = one
                    rule = self._policy.rule(name)
                    self._wanted[name] = one.rule if rule is None else rule
                else:
                    self._around[name] = one

    def _classes(
        self, conditions: Mapping[str, tuple[Condition, ...]]
    ) -> tuple[Mapping[str, tuple[SessionClass, ...]], Mapping[Class, int]]:
        """The classes of all segments, and their places: those that there were keep theirs."""
        old = self._old
        if not conditions:
            return old.classes, old.between.places
        known = old.between.places
        classes = classes_of(conditions)
        held = {one for found in classes.values() for one in found}
        gone: list[Class] = [one for name in classes for one in old.classes[name] if one not in held]
        new: list[Class] = [one for found in classes.values() for one in found if one not in known]
        first = max(old.between.sessions.bit_length(), *(known[one] + 1 for one in old.networks), 0)
        places = following(known, dict(zip(new, range(first, first + len(new)), strict=True)), gone)
        if len(places) - len(old.networks) > whole.MAX_CLASSES:
            name = next(iter(conditions))
            raise CapacityError(f"segment {name}: the conditions of rules make more than {whole.MAX_CLASSES} classes")
        return following(old.classes, classes), places

    def _sessions(self, frame: Frame, segments: Iterable[str]) -> int:
        """The bits of all classes of sessions, where those of some segments are others."""
        found, places = self._old.between.sessions, self._old.between.places
        for name in segments:
            for one in self._old.classes[name]:
                found &= ~(1 << places[one])
        for name in segments:
            found |= frame.segment(name)
        return found

    def _pairs(self, after: Mapping[str, Compiled]) -> frozenset[Pair]:
        rules = chain(self._before.values(), after.values())
        return frozenset((one, other) for rule in rules for one in rule.subjects for other in rule.objects)

    def _by_pair(self, pairs: Iterable[Pair], after: Mapping[str, Compiled]) -> dict[Pair, tuple[Entry, ...]]:
        """The entries of the pairs that have others now, or none any more; in whatever order, they are the same."""
        held = self._old.by_pair
        fresh = whole.by_pair(chain.from_iterable(rule.entries for rule in after.values()))
        found: dict[Pair, tuple[Entry, ...]] = {}
        for pair in pairs:
            before, new = held.get(pair, ()), fresh.get(pair, ())
            gone = [entry for entry in before if entry.rule in self._before]
            if gone != [*new] and {*gone} != {*new}:
                found[pair] = tuple(entry for entry in before if entry.rule not in self._before) + new
        return found

    def _replaced(self, frame: Frame, segments: Iterable[str]) -> dict[str, Compiled]:
        """The rules with the same entries, about the classes that these segments have now."""
        places = self._old.between.places
        gone = {name: sum(1 << places[one] for one in self._old.classes[name]) for name in segments}
        bits = [(name, ~held, frame.segment(name)) for name, held in gone.items()]
        found: dict[str, Compiled] = {}
        for rule_id, one in self._around.items():
            sources, targets = one.sources, one.targets
            for name, others, new in bits:
                if name in one.subjects:
                    sources = sources & others | new
                if name in one.objects:
                    targets = targets & others | new
            found[rule_id] = Compiled(one.rule, one.subjects, one.objects, one.services, one.entries, sources, targets)
        return found

    def _by_ends(self, around: Mapping[str, Compiled], after: Mapping[str, Compiled]) -> tuple[ByKey, ByKey]:
        """The rules by what they are about at either end."""
        instead: dict[int, Compiled | None] = {id(one): None for one in self._before.values()}
        instead.update((id(one), around[name]) for name, one in self._around.items())
        between, get = self._old.between, instead.get
        found: list[ByKey] = []
        for index, is_subject in ((between.by_source, True), (between.by_target, False)):
            gone = _by_key(self._before.values(), is_subject)
            new = _by_key(after.values(), is_subject)
            # Rules that stay, about whole segments for the most part, stay where they were.
            ends = chain.from_iterable(one.subjects if is_subject else one.objects for one in self._around.values())
            changed: dict[Key, tuple[Compiled, ...]] = {}
            for key in {*map(key_of, ends), *gone, *new}:
                kept = [now for one in index.get(key, ()) if (now := get(id(one), one)) is not None]
                if held := (*kept, *new.get(key, ())):
                    changed[key] = held
            found.append(following(index, changed, gone))
        return found[0], found[1]

    def _hours(
        self, rules: Mapping[str, Compiled], after: Mapping[str, Compiled]
    ) -> tuple[Mapping[str, Hours], frozenset[str]]:
        hours = {name: found for name, found in self._old.hours.items() if name not in self._before}
        hours.update((name, one.rule.hours) for name, one in after.items() if one.rule.hours is not None)
        return hours, closed_of(hours, rules)


def _asks(rule: Rule, segment: str) -> bool:
    """Whether a rule asks something of a segment's sessions."""
    ends = (rule.sources, rule.condition), (rule.targets, rule.object_condition)
    return any(condition and (segment in names or ANY in names) for names, condition in ends)


def _by_key(rules: Iterable[Compiled], is_subject: bool) -> dict[Key, list[Compiled]]:
    """Rules by what they are about at one end."""
    found: dict[Key, list[Compiled]] = {}
    for rule in rules:
        for key in dict.fromkeys(map(key_of, rule.subjects if is_subject else rule.objects)):
            found.setdefault(key, []).append(rule)
    return found


def _ask(found: dict[str, Condition], rule: Rule, segment: str, *, is_subject: bool) -> None:
    names, condition = (rule.sources, rule.condition) if is_subject else (rule.targets, rule.object_condition)
    if condition and (segment in names or ANY in names):
        found[condition.key] = condition
