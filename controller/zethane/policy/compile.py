"""The policy as entries over classes of sessions, as a switch can hold it.

Two sessions that no rule can tell apart are of one class: the same segment and the same answers to the conditions
that rules ask of sessions of that segment, at either end. Addresses outside that no rule can tell
apart have the same longest prefix among those that the policy names. An entry is about a whole segment where its rule
asks for nothing, and about single classes elsewhere. Entries therefore grow with the policy, never with the number of
sessions or addresses, and only with the classes of those rules that have conditions.

Hours are no part of a class: a rule's entries are there while it is open, whoever has a session. A policy is compiled
once with all of its rules, and `as_of` says which of them are closed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, compress

from zethane.errors import CapacityError
from zethane.net.prefix import Prefix, within
from zethane.policy.bits import bits
from zethane.policy.condition import Condition
from zethane.policy.decide import BOTH_OUTSIDE, Decision, describe
from zethane.policy.entry import Class, Compiled, End, Entry, NetworkClass, Pair, SessionClass
from zethane.policy.hours import Hours, Spans, in_spans
from zethane.policy.implication import standings
from zethane.policy.model import ANY, Policy, Rule
from zethane.policy.order import ordered
from zethane.policy.peers import Peers, by_ends
from zethane.policy.principal import Principal
from zethane.policy.service import covered, simplify
from zethane.policy.versions import version

MAX_ENTRIES = 200_000
"""Entries that one policy may compile to."""

MAX_CLASSES = 4096
"""Classes of sessions that one policy may have."""


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """What `compile_policy` makes. `by_pair` holds the entries of the rules by what they are about.

    `conditions` are those that rules ask of the sessions of each segment, as subject or as object, in an order that
    depends on nothing else. `hours` are those of the rules that have some, whose entries are all there; `closed` are
    the rules that are not open, and what is said of flows leaves them out. Before `as_of` has said what time it is,
    nothing is open that allows something.
    """

    rules: Mapping[str, Compiled]
    conditions: Mapping[str, tuple[Condition, ...]]
    classes: Mapping[str, tuple[SessionClass, ...]]
    by_pair: Mapping[Pair, tuple[Entry, ...]]
    between: Peers
    size: int
    """How many entries there are."""
    networks: tuple[NetworkClass, ...] = ()
    hours: Mapping[str, Hours] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()
    spans: Mapping[str, Spans] = field(default_factory=dict, compare=False, repr=False)
    """When the rules with hours are open, around the moment that was looked at."""
    _reach: dict[Pair, bool] = field(default_factory=dict, compare=False, repr=False)

    def as_of(self, now: float) -> CompiledPolicy:
        """The same policy at a moment, in seconds since the epoch: with the rules closed whose hours say so."""
        if not self.hours:
            return self
        known = {hours: hours.spans(now) for hours in set(self.hours.values())}
        spans = {rule: known[hours] for rule, hours in self.hours.items()}
        closed = frozenset(rule for rule, when in spans.items() if not in_spans(when, now))
        return replace(self, closed=closed, spans=spans, _reach={})

    def versioned(self) -> CompiledPolicy:
        """The same, so that another one can follow at little cost."""
        return replace(
            self,
            rules=version(self.rules),
            conditions=version(self.conditions),
            classes=version(self.classes),
            by_pair=version(self.by_pair),
        )

    def boundaries(self, rules: Iterable[str]) -> list[float]:
        """The moments at which one of these rules opens or closes, in order, around the one that was looked at."""
        return sorted({moment for rule in rules for span in self.spans[rule] for moment in span})

    def class_of(self, segment: str, principal: Principal, now: float) -> SessionClass:
        """The class of a session at a moment. Raises KeyError if the policy has no such segment."""
        return SessionClass(segment, tuple(one.key for one in self.conditions[segment] if one.holds(principal, now)))

    def until(self, segment: str, principal: Principal, now: float) -> float:
        """The first moment after `now` at which the class may change by time alone; infinity if there is none."""
        return min((one.until(principal, now) for one in self.conditions[segment]), default=math.inf)

    @property
    def entries(self) -> Iterator[Entry]:
        """Every entry, rule by rule."""
        return chain.from_iterable(rule.entries for rule in self.rules.values())

    @property
    def every_class(self) -> Iterator[Class]:
        """All classes of sessions, then those of networks."""
        return chain(chain.from_iterable(self.classes.values()), self.networks)

    def concerning(self, subject: Class, object: Class) -> Iterator[Entry]:  # noqa: A002 - as in decide
        """Every entry about flows from one class to another, of rules that are open."""
        found = self._about(subject, object)
        return (entry for entry in found if entry.rule not in self.closed) if self.closed else found

    def _about(self, subject: Class, target: Class) -> Iterator[Entry]:
        """The same, whether the rules are open or not."""
        for pair in pairs_about(subject, target):
            yield from self.by_pair.get(pair, ())

    def sure_until(
        self,
        subject: Class,
        object: Class,  # noqa: A002 - as in decide
        ip_proto: int,
        port: int,
        rule: str,
        now: float,
    ) -> float:
        """The first moment after `now` at which hours may make an end to what `rule` allows now; infinity if none can.

        It is no later than what `as_of` has looked at, where nothing ends before. What rests on a relation allows
        nothing, unless it is what has decided; and denies where it opens.
        """
        matching = {
            entry.rule: entry.allow
            for entry in self._about(subject, object)
            if entry.service.matches(ip_proto, port)
            and (entry.relation is None or (entry.rule == rule if entry.allow else entry.rule in self.hours))
        }
        timed = matching.keys() & self.hours.keys()
        if all(matching[name] for name in timed) and timed != matching.keys():
            return math.inf  # what is open at any hour goes on
        moments = self.boundaries(timed)
        for moment in moments:
            if moment > now and not self._allowed_at(matching, moment):
                return moment
        return moments[-1] if moments else math.inf

    def _allowed_at(self, matching: Mapping[str, bool], moment: float) -> bool:
        """Whether of these rules (whether each allows) some are open then, and none of them denies."""
        opened = (name for name in matching if name not in self.hours or in_spans(self.spans[name], moment))
        return {matching[name] for name in opened} == {True}

    def deciding(self, subject: Class, object: Class, ip_proto: int, port: int) -> list[Entry]:  # noqa: A002
        """The entries about a flow, by rank, to the first that rests on no relation: it decides if none before does."""
        found: list[Entry] = []
        matching = (entry for entry in self.concerning(subject, object) if entry.service.matches(ip_proto, port))
        for entry in sorted(matching, key=lambda entry: entry.rank):
            found.append(entry)
            if entry.relation is None:
                break
        return found

    def may_reach(self, subject: Class, object: Class) -> bool:  # noqa: A002 - as in decide
        """Whether there is any flow that one class may open to the other.

        Answered once per pair; the memory that this takes is bounded by the number of classes, squared.
        """
        pair = (subject, object)
        if pair not in self._reach:
            self._reach[pair] = self._open(subject, object)
        return self._reach[pair]

    def peers(self) -> dict[Class, frozenset[Class]]:
        """For each class those that it may open some flow to, at some time: it is the same at any hour."""
        at = {place: one for one, place in self.between.places.items()}
        return {one: frozenset(at[place] for place in bits(self.between.reach(one))) for one in self.every_class}

    def _open(self, subject: Class, target: Class) -> bool:
        entries = list(self.concerning(subject, target))
        denied = simplify(entry.service for entry in entries if not entry.allow and entry.relation is None)
        allowed = (entry.service for entry in entries if entry.allow)
        return any(not covered(service, denied) for service in allowed)


def _with_any(one: Class) -> tuple[End, ...]:
    """The ends whose entries are about this class."""
    return (one, one.segment, None) if isinstance(one, SessionClass) else (one,)


def pairs_about(subject: Class, target: Class) -> Iterator[Pair]:
    """The pairs of ends whose entries are about these two classes."""
    return ((source, other) for source in _with_any(subject) for other in _with_any(target))


def compile_policy(policy: Policy) -> CompiledPolicy:
    """The policy as entries. Raises CapacityError if there are more than MAX_ENTRIES, or MAX_CLASSES of sessions."""
    conditions = conditions_of(policy)
    classes = classes_of(conditions)
    networks = tuple(map(NetworkClass, policy.networks))
    every: Iterator[Class] = chain(chain.from_iterable(classes.values()), networks)
    places = {one: place for place, one in enumerate(every)}
    frame = Frame(classes, networks, places)
    rules: dict[str, Compiled] = {}
    room = MAX_ENTRIES
    for rule in ordered(policy.enforced, key=lambda rule: (rule.allow, rule.id)):
        rules[rule.id] = compiled = compile_rule(rule, frame, room)
        room -= len(compiled.entries)
    pairs = by_pair(chain.from_iterable(rule.entries for rule in rules.values()))
    between = Peers.of_classes(places, frame.sessions, *by_ends(rules.values()))
    return CompiledPolicy(rules, conditions, classes, pairs, between, MAX_ENTRIES - room, networks, *hours_of(rules))


def hours_of(rules: Mapping[str, Compiled]) -> tuple[dict[str, Hours], frozenset[str]]:
    """The rules' hours, and which of them are closed before anybody has looked at the time."""
    hours = {name: one.rule.hours for name, one in rules.items() if one.rule.hours is not None}
    return hours, closed_of(hours, rules)


def closed_of(hours: Iterable[str], rules: Mapping[str, Compiled]) -> frozenset[str]:
    """Of the rules with hours those that allow something: nothing of it is open before somebody has looked."""
    return frozenset(name for name in hours if rules[name].rule.allow)


def simulate(
    compiled: CompiledPolicy,
    subject: Class | None,
    object: Class | None,  # noqa: A002 - as in decide
    ip_proto: int,
    port: int,
    holds: Callable[[Entry], bool] | None = None,
) -> Decision:
    """The decision that a switch with these entries reaches. None stands for an unauthenticated party.

    Where an entry rests on a relation, a switch asks the controller, which asks `holds`. Without that an entry which
    allows does not hold, and one which denies does.
    """
    source, target = _place(subject), _place(object)
    if subject is None or object is None:
        role = "subject" if subject is None else "object"
        return Decision(False, None, f"the {role} is not authenticated", source, target)
    if isinstance(subject, NetworkClass) and isinstance(object, NetworkClass):
        return Decision(False, None, BOTH_OUTSIDE, source, target)
    deciding = compiled.deciding(subject, object, ip_proto, port)
    entry = next((one for one in deciding if one.relation is None or _related(one, holds)), None)
    what = f"{describe(ip_proto, port)} from {source} to {target}"
    if entry is None:
        return Decision(False, None, f"no rule allows {what}", source, target)
    verb = "allows" if entry.allow else "denies"
    return Decision(entry.allow, entry.rule, f"rule {entry.rule} {verb} {what}", source, target)


def _related(entry: Entry, holds: Callable[[Entry], bool] | None) -> bool:
    return not entry.allow if holds is None else holds(entry)


def _place(one: Class | None) -> str | None:
    """The segment or the network of a class."""
    if one is None:
        return None
    return one.segment if isinstance(one, SessionClass) else str(one)


@dataclass(frozen=True, slots=True)
class Frame:
    """What rules are compiled against: the classes that there are, with their places as bits."""

    classes: Mapping[str, tuple[SessionClass, ...]]
    networks: tuple[NetworkClass, ...]
    places: Mapping[Class, int]
    _segments: dict[str, int] = field(default_factory=dict, init=False)

    def bits(self, ends: Iterable[End]) -> int:
        """The classes that ends stand for; those of any session are not among them."""
        found = 0
        for end in ends:
            if isinstance(end, str):
                found |= self.segment(end)
            elif end is not None:
                found |= 1 << self.places[end]
        return found

    def segment(self, name: str) -> int:
        """The classes of a segment."""
        if name not in self._segments:
            self._segments[name] = sum(1 << self.places[one] for one in self.classes[name])
        return self._segments[name]

    @property
    def sessions(self) -> int:
        """All classes of sessions."""
        return sum(map(self.segment, self.classes))


def conditions_of(policy: Policy) -> dict[str, tuple[Condition, ...]]:
    """The different conditions that rules ask of the sessions of each segment, by their keys."""
    asked: dict[str, dict[str, Condition]] = {name: {} for name in policy.segments}
    for rule in policy.enforced:
        for names, condition in ((rule.sources, rule.condition), (rule.targets, rule.object_condition)):
            if condition:
                for name in policy.segments if ANY in names else names:
                    asked[name][condition.key] = condition
    return {name: in_order(found) for name, found in asked.items()}


def in_order(found: Mapping[str, Condition]) -> tuple[Condition, ...]:
    """Conditions, by their keys."""
    return tuple(found[key] for key in sorted(found))


def classes_of(conditions: Mapping[str, tuple[Condition, ...]]) -> dict[str, tuple[SessionClass, ...]]:
    """The classes of each segment: one for every way in which its conditions can hold or not, together. Raises
    CapacityError if they are more than MAX_CLASSES."""
    known: dict[tuple[str, ...], tuple[tuple[str, ...], ...]] = {}
    classes: dict[str, tuple[SessionClass, ...]] = {}
    room = MAX_CLASSES
    for name, asked in conditions.items():
        keys = tuple(one.key for one in asked)
        if keys not in known:
            known[keys] = tuple(tuple(compress(keys, standing)) for standing in standings(asked))
        room -= len(known[keys])
        if room < 0:
            raise CapacityError(f"segment {name}: the conditions of rules make more than {MAX_CLASSES} classes")
        classes[name] = tuple(SessionClass(name, held) for held in known[keys])
    return classes


def compile_rule(rule: Rule, frame: Frame, room: int) -> Compiled:
    """One rule with its entries. Raises CapacityError if they are more than there is room for."""
    subjects: list[End] = [*_holding(rule.sources, rule.condition, frame), *_inside(rule.source_networks, frame)]
    objects: list[End] = [*_holding(rule.targets, rule.object_condition, frame), *_inside(rule.target_networks, frame)]
    services = simplify(rule.services)
    if len(subjects) * len(objects) * len(services) > room:
        raise CapacityError(f"rule {rule.id}: the policy compiles to more than {MAX_ENTRIES} entries")
    allow = rule.allow
    entries = tuple(
        Entry(rule.id, allow, subject, target, service, rule.expression, rule.is_grant)
        for subject in subjects
        for target in objects
        for service in services
    )
    return Compiled(rule, tuple(subjects), tuple(objects), services, entries, frame.bits(subjects), frame.bits(objects))


def _holding(names: tuple[str, ...], condition: Condition, frame: Frame) -> list[End]:
    """What a rule is about at one end, in these segments: all of them or, of each, the classes that it asks for."""
    if not names:
        return []
    if not condition:
        # All segments together are any session: every one is in exactly one.
        return [None] if ANY in names or len(set(names)) == len(frame.classes) else list(names)
    key = condition.key
    asked = sorted(frame.classes) if ANY in names else names
    return [one for name in asked for one in frame.classes[name] if key in one.held]


def _inside(wanted: tuple[Prefix, ...], frame: Frame) -> list[NetworkClass]:
    """The classes of all named networks that are part of one of the wanted ones."""
    return [one for one in frame.networks if any(within(one.prefix, outer) for outer in wanted)] if wanted else []


def by_pair(entries: Iterable[Entry]) -> dict[Pair, tuple[Entry, ...]]:
    """Entries by what they are about at both ends."""
    pairs: dict[Pair, list[Entry]] = {}
    for entry in entries:
        pairs.setdefault((entry.subject, entry.object), []).append(entry)
    return {pair: tuple(found) for pair, found in pairs.items()}
