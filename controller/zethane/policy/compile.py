"""The policy as a flat list of entries over classes of sessions, as a switch can hold it.

Two sessions that no rule can tell apart are of one class: the same segment and, only where some rule asks
subjects of that segment about a second factor, the same answer to that. Addresses outside that no rule can tell
apart have the same longest prefix among those that the policy names. Entries therefore grow with the policy, never
with the number of sessions or addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from zethane.errors import CapacityError
from zethane.net.prefix import Prefix, within
from zethane.policy.decide import BOTH_OUTSIDE, Decision, describe
from zethane.policy.model import ANY, Policy, Rule
from zethane.policy.service import Service, covered, simplify

MAX_ENTRIES = 200_000
"""Entries that one policy may compile to."""


@dataclass(frozen=True, slots=True, order=True)
class SessionClass:
    """Sessions that no rule can tell apart. `mfa` is None where no rule asks subjects of the segment."""

    segment: str
    mfa: bool | None = None

    def __str__(self) -> str:
        return self.segment if self.mfa is None else f"{self.segment} {'with' if self.mfa else 'without'} mfa"


@dataclass(frozen=True, slots=True)
class NetworkClass:
    """The addresses outside whose longest prefix among the named ones is this one."""

    prefix: Prefix

    def __str__(self) -> str:
        return str(self.prefix)


Class = SessionClass | NetworkClass
Pair = tuple[Class | None, Class | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the compiled policy. None for a class means any authenticated session, and no network.

    `rank` is the same for all entries of a rule and differs between rules; of the entries that match a flow
    the one with the lowest rank decides. All denies rank before all allows.
    """

    rule: str
    allow: bool
    subject: Class | None
    object: Class | None
    service: Service
    rank: int


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """What `compile_policy` makes. `by_pair` holds the entries again, by their classes and by rank."""

    entries: tuple[Entry, ...]
    classes: Mapping[str, tuple[SessionClass, ...]]
    by_pair: Mapping[Pair, tuple[Entry, ...]]
    networks: tuple[NetworkClass, ...] = ()
    _reach: dict[Pair, bool] = field(default_factory=dict, compare=False, repr=False)

    def class_of(self, segment: str, mfa: bool) -> SessionClass:
        """The class of a session. Raises KeyError if the policy has no such segment."""
        classes = self.classes[segment]
        return classes[0] if len(classes) == 1 else classes[int(mfa)]

    @property
    def every_class(self) -> Iterator[Class]:
        """All classes of sessions, then those of networks."""
        return chain(chain.from_iterable(self.classes.values()), self.networks)

    def concerning(self, subject: Class, object: Class) -> Iterator[Entry]:  # noqa: A002 - as in decide
        """Every entry about flows from one class to another."""
        for source in _with_any(subject):
            for target in _with_any(object):
                yield from self.by_pair.get((source, target), ())

    def may_reach(self, subject: Class, object: Class) -> bool:  # noqa: A002 - as in decide
        """Whether there is any flow that one class may open to the other.

        Answered once per pair; the memory that this takes is bounded by the number of classes, squared.
        """
        pair = (subject, object)
        if pair not in self._reach:
            self._reach[pair] = self._open(subject, object)
        return self._reach[pair]

    def peers(self) -> dict[Class, frozenset[Class]]:
        """For each class those that it may open some flow to."""
        every = list(self.every_class)
        return {one: frozenset(other for other in every if self.may_reach(one, other)) for one in every}

    def _open(self, subject: Class, target: Class) -> bool:
        entries = list(self.concerning(subject, target))
        denied = simplify(entry.service for entry in entries if not entry.allow)
        allowed = (entry.service for entry in entries if entry.allow)
        return any(not covered(service, denied) for service in allowed)


def _with_any(one: Class) -> tuple[Class | None, ...]:
    """The classes whose entries are about this one."""
    return (one, None) if isinstance(one, SessionClass) else (one,)


def compile_policy(policy: Policy) -> CompiledPolicy:
    """The policy as entries. Raises CapacityError if there are more than MAX_ENTRIES."""
    classes = _classes(policy)
    networks = tuple(map(NetworkClass, policy.networks))
    entries: list[Entry] = []
    for rank, rule in enumerate(sorted(policy.rules, key=lambda rule: (rule.allow, rule.id))):
        entries.extend(_entries(rule, rank, classes, networks, MAX_ENTRIES - len(entries)))
    return CompiledPolicy(tuple(entries), classes, _by_pair(entries), networks)


def simulate(
    compiled: CompiledPolicy,
    subject: Class | None,
    object: Class | None,  # noqa: A002 - as in decide
    ip_proto: int,
    port: int,
) -> Decision:
    """The decision that a switch with these entries reaches. None stands for an unauthenticated party."""
    source, target = _place(subject), _place(object)
    if subject is None or object is None:
        role = "subject" if subject is None else "object"
        return Decision(False, None, f"the {role} is not authenticated", source, target)
    if isinstance(subject, NetworkClass) and isinstance(object, NetworkClass):
        return Decision(False, None, BOTH_OUTSIDE, source, target)
    matching = (entry for entry in compiled.concerning(subject, object) if entry.service.matches(ip_proto, port))
    entry = min(matching, key=lambda entry: entry.rank, default=None)
    what = f"{describe(ip_proto, port)} from {source} to {target}"
    if entry is None:
        return Decision(False, None, f"no rule allows {what}", source, target)
    verb = "allows" if entry.allow else "denies"
    return Decision(entry.allow, entry.rule, f"rule {entry.rule} {verb} {what}", source, target)


def _place(one: Class | None) -> str | None:
    """The segment or the network of a class."""
    if one is None:
        return None
    return one.segment if isinstance(one, SessionClass) else str(one)


def _classes(policy: Policy) -> dict[str, tuple[SessionClass, ...]]:
    """The classes of each segment: one, or that without and that with a second factor."""
    asking = [rule for rule in policy.rules if rule.mfa is not None]
    asked = {name for rule in asking for name in rule.sources}
    return {
        name: (SessionClass(name, False), SessionClass(name, True))
        if name in asked or ANY in asked
        else (SessionClass(name),)
        for name in policy.segments
    }


def _entries(
    rule: Rule, rank: int, classes: Mapping[str, tuple[SessionClass, ...]], networks: Iterable[NetworkClass], room: int
) -> list[Entry]:
    outside = list(networks)
    subjects = [*_expand(rule.sources, classes, rule.mfa), *_inside(rule.source_networks, outside)]
    objects = [*_expand(rule.targets, classes, None), *_inside(rule.target_networks, outside)]
    services = simplify(rule.services)
    if len(subjects) * len(objects) * len(services) > room:
        raise CapacityError(f"rule {rule.id}: the policy compiles to more than {MAX_ENTRIES} entries")
    return [
        Entry(rule.id, rule.allow, subject, target, service, rank)
        for subject in subjects
        for target in objects
        for service in services
    ]


def _expand(
    names: tuple[str, ...], classes: Mapping[str, tuple[SessionClass, ...]], mfa: bool | None
) -> list[SessionClass | None]:
    """The classes of the named segments that a condition on the second factor leaves.

    All segments together are any session, since every session is in exactly one.
    """
    if not names:
        return []
    everybody = ANY in names or len(set(names)) == len(classes)
    if everybody and mfa is None:
        return [None]
    members = (one for name in (sorted(classes) if everybody else names) for one in classes[name])
    return [one for one in members if mfa is None or one.mfa is mfa]


def _inside(wanted: tuple[Prefix, ...], networks: Iterable[NetworkClass]) -> list[NetworkClass]:
    """The classes of all named networks that are part of one of the wanted ones."""
    return [one for one in networks if any(within(one.prefix, outer) for outer in wanted)]


def _by_pair(entries: Iterable[Entry]) -> dict[Pair, tuple[Entry, ...]]:
    pairs: dict[Pair, list[Entry]] = {}
    for entry in entries:
        pairs.setdefault((entry.subject, entry.object), []).append(entry)
    return {pair: tuple(found) for pair, found in pairs.items()}
