"""Which classes may open some flow to which, as sets of bits.

A rule from or to any session says something about thousands of pairs of classes at once. So pairs are never gone
through: for each class the rules about it are joined, and only pairs that a deny rule names are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from zethane.policy.bits import bits
from zethane.policy.entry import Class, Compiled, End, NetworkClass, SessionClass
from zethane.policy.service import Service, covered, simplify
from zethane.policy.versions import following, version

MAX_SHARED = 4096
"""Answers about rules of any session that one version takes over from another."""

Key = str | NetworkClass | None
"""Where rules are found by one end: a segment, a network outside, or any session."""

ByKey = Mapping[Key, tuple[Compiled, ...]]


def key_of(end: End) -> Key:
    """The key under which rules about an end are found."""
    return end.segment if isinstance(end, SessionClass) else end


def by_ends(rules: Iterable[Compiled]) -> tuple[dict[Key, tuple[Compiled, ...]], dict[Key, tuple[Compiled, ...]]]:
    """Rules by what they are about as subject, and as object."""
    sources: dict[Key, list[Compiled]] = {}
    targets: dict[Key, list[Compiled]] = {}
    for rule in rules:
        for found, ends in ((sources, rule.subjects), (targets, rule.objects)):
            for key in dict.fromkeys(map(key_of, ends)):
                found.setdefault(key, []).append(rule)
    return (
        {key: tuple(held) for key, held in sources.items()},
        {key: tuple(held) for key, held in targets.items()},
    )


class Peers:
    """Answers for a compiled policy as it is at some time: with every rule open that allows, and none of those with
    hours that denies. What it has found out it keeps."""

    def __init__(self, places: Mapping[Class, int], sessions: int, sources: ByKey, targets: ByKey) -> None:
        """`places` are the classes' bits, `sessions` those of all classes of sessions."""
        self.places = version(places)
        self.sessions = sessions
        self.by_source, self.by_target = version(sources), version(targets)
        self._found: list[Mapping[Class, int]] = [version({}), version({})]
        self._both: dict[tuple[bool, int], list[Compiled]] = {}
        self._any: dict[tuple[bool, tuple[Service, ...]], tuple[int, int, tuple[Service, ...]]] = {}

    def but_for(
        self,
        places: Mapping[Class, int],
        sessions: int,
        sources: ByKey,
        targets: ByKey,
        concerned: Collection[Class] | None,
    ) -> Peers:
        """The same after a change that concerns these classes, those that are gone with them; None: all."""
        new = Peers(places, sessions, sources, targets)
        if concerned is not None:
            new._found = [following(found, {}, concerned) for found in self._found]
            if new.places is self.places and len(self._any) < MAX_SHARED:
                # Rules about any session are the same ones, and so are the bits: shared, and filled by both.
                new._both, new._any = self._both, self._any
        return new

    def reach(self, one: Class) -> int:
        """The classes that one may open some flow to."""
        return self._kept(one, out=True)

    def of(self, one: Class) -> int:
        """The classes that some flow may connect one with, in either direction."""
        return self._kept(one, out=True) | self._kept(one, out=False)

    def knows(self, one: Class) -> bool:
        """Whether both have been found out already."""
        return all(one in found for found in self._found)

    def _kept(self, one: Class, *, out: bool) -> int:
        found = self._found[not out].get(one)
        if found is None:
            found = self._find(one, out=out)
            self._found[not out] = following(self._found[not out], {one: found})
        return found

    def _find(self, one: Class, *, out: bool) -> int:
        index, bit = self.by_source if out else self.by_target, 1 << self.places[one]
        named = [rule for rule in index.get(key_of(one), ()) if (rule.sources if out else rule.targets) & bit]
        common = index.get(None, ()) if isinstance(one, SessionClass) else ()
        wide = self._wide(named, out=out)
        found, touched, wide = self._common(common, wide, out=out)
        for rule in named:
            others = rule.targets if out else rule.sources
            if rule.rule.allow:
                found |= self._opened(rule, wide, out=out)
            elif _denies(rule):
                touched |= others
        for place in bits(found & touched):
            if not self._is_open(named, common, place, out=out):
                found &= ~(1 << place)
        return found

    def _common(
        self, rules: Sequence[Compiled], wide: tuple[Service, ...], *, out: bool
    ) -> tuple[int, int, tuple[Service, ...]]:
        """What rules about any session open where these services are denied to any other besides; which classes they
        deny something; and all that is denied to any."""
        if not rules:
            return 0, 0, wide
        known = self._any.get((out, wide))
        if known is None:
            denied = simplify((*wide, *self._wide(rules, out=out)))
            found = touched = 0
            for rule in rules:
                if rule.rule.allow:
                    found |= self._opened(rule, denied, out=out)
                elif _denies(rule):
                    touched |= rule.targets if out else rule.sources
            known = self._any[out, wide] = found, touched, denied
        return known

    def _opened(self, rule: Compiled, wide: tuple[Service, ...], *, out: bool) -> int:
        """The classes at the other end of an allow rule, but for sessions if all of it is denied to any session."""
        ends, others = (rule.objects, rule.targets) if out else (rule.subjects, rule.sources)
        if None in ends:
            others |= self.sessions
        if wide and all(any(one.covers(service) for one in wide) for service in rule.services):
            others &= ~self.sessions
        return others

    @staticmethod
    def _wide(rules: Iterable[Compiled], *, out: bool) -> tuple[Service, ...]:
        """What these rules deny to any session at the other end."""
        denying = (rule for rule in rules if not rule.rule.allow and _denies(rule))
        return simplify(
            service for rule in denying if None in (rule.objects if out else rule.subjects) for service in rule.services
        )

    def _is_open(self, named: Iterable[Compiled], common: Sequence[Compiled], place: int, *, out: bool) -> bool:
        """Whether rules about one class and about any session open something to, or from, the class at a place."""
        both = [rule for rule in named if self._is_about(rule, place, out=out)]
        if common:
            if (out, place) not in self._both:
                self._both[out, place] = [rule for rule in common if self._is_about(rule, place, out=out)]
            both += self._both[out, place]
        denied = simplify(s for rule in both if not rule.rule.allow and _denies(rule) for s in rule.services)
        return any(not covered(s, denied) for rule in both if rule.rule.allow for s in rule.services)

    def _is_about(self, rule: Compiled, place: int, *, out: bool) -> bool:
        ends, others = (rule.objects, rule.targets) if out else (rule.subjects, rule.sources)
        return bool(others >> place & 1) or (None in ends and bool(self.sessions >> place & 1))


def _denies(rule: Compiled) -> bool:
    """Whether a deny rule denies at any time, and whoever the ends are."""
    return rule.rule.hours is None and rule.rule.expression is None
