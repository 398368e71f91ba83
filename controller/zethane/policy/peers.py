"""Which classes may open some flow to which, as sets of bits.

A rule from or to any session says something about thousands of pairs of classes at once. So pairs are never gone
through: for each class the rules about it are joined, and only pairs that a deny rule names are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from zethane.policy.bits import bits
from zethane.policy.entry import Class, Compiled, End, NetworkClass, SessionClass
from zethane.policy.service import Service, covered, simplify
from zethane.policy.versions import following, version

MAX_SHARED = 4096
"""Answers about rules of any session that one version takes over from another."""

MAX_COLUMNS = 256
"""Classes of which is told every other class that something about them is other; where they are more, nothing is
taken over."""

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
        self._at: Mapping[int, Class] = version({})
        self._found: list[Mapping[int, int]] = [version({}), version({})]
        """What has been found out, by place: whom a class may open a flow to, and who may open one to it."""
        self._both: dict[tuple[bool, int], list[Compiled]] = {}
        self._any: dict[tuple[bool, tuple[Service, ...]], tuple[int, int, tuple[Service, ...]]] = {}
        self.others: int | None = None
        """The classes that have to do with others than under the policy that this has followed; None: any may."""

    @classmethod
    def of_classes(cls, places: Mapping[Class, int], sessions: int, sources: ByKey, targets: ByKey) -> Peers:
        """Those of a policy that follows no other one."""
        new = cls(places, sessions, sources, targets)
        new._at = version({place: one for one, place in places.items()})
        return new

    def but_for(
        self,
        places: Mapping[Class, int],
        sessions: int,
        sources: ByKey,
        targets: ByKey,
        changed: Sequence[Compiled],
        gone: Collection[Class],
        new: Collection[Class],
    ) -> Peers:
        """The same after a change of some rules, as they were and as they are, and of some classes."""
        after = Peers(places, sessions, sources, targets)
        left, come = _bits(gone, self.places), _bits(new, after.places)
        after._at = following(self._at, {after.places[one]: one for one in new}, bits(left))
        are_same = after.places is self.places and not any(None in (*one.subjects, *one.objects) for one in changed)
        if are_same and len(self._any) < MAX_SHARED:
            # Rules about any session are the same ones, and so are the bits: shared, and filled by both.
            after._both, after._any = self._both, self._any
        touched = _Touched.by(changed, left | come)
        if touched is not None:
            after._take_over(self, touched)
        return after

    def _take_over(self, before: Peers, touched: _Touched) -> None:
        """Work out anew what rules are about that are others, and take over the rest: a rule about any session changes
        one bit for each class, which is that of the class at its other end."""
        fresh: list[dict[int, int]] = [{}, {}]
        for known, rows, other, found, out in (
            (before._found[0], touched.rows[0], touched.columns[1], fresh[0], True),
            (before._found[1], touched.rows[1], touched.columns[0], fresh[1], False),
        ):
            for place in bits(rows):
                one = self._at.get(place)
                if one is not None and (place in known or other >> place & 1):
                    found[place] = self._find(one, out=out)
        others = 0
        for side in (0, 1):
            kept, rows, columns = before._found[side], touched.rows[side], touched.columns[side]
            patched = _patched(kept, columns, rows, fresh[not side]) if columns else {}
            self._found[side] = following(kept, {**patched, **fresh[side]}, bits(rows))
            for place in patched:
                others |= 1 << place
            for place in kept if any(touched.columns) else ():
                if place not in before._found[not side]:  # nobody can say whether what is not known is the same
                    others |= 1 << place
        for place in bits((touched.rows[0] | touched.rows[1]) & ~others):
            now = self.known(place)
            if now is None or now != before.known(place):
                others |= 1 << place
        self.others = others

    def known(self, place: int) -> int | None:
        """What has been found out of the class at a place in both directions; None if not all is."""
        out, into = self._found[0].get(place), self._found[1].get(place)
        return None if out is None or into is None else out | into

    def knows(self, place: int) -> bool:
        """Whether both have been found out."""
        return place in self._found[0] and place in self._found[1]

    def reach(self, one: Class) -> int:
        """The classes that one may open some flow to."""
        return self._kept(one, out=True)

    def of(self, one: Class) -> int:
        """The classes that some flow may connect one with, in either direction."""
        return self._kept(one, out=True) | self._kept(one, out=False)

    def _kept(self, one: Class, *, out: bool) -> int:
        place = self.places[one]
        found = self._found[not out].get(place)
        if found is None:
            found = self._find(one, out=out)
            self._found[not out] = following(self._found[not out], {place: found})
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
        both = self._about(named, place, out=out)
        if common:
            shared = self._both.get((out, place))
            if shared is None:
                shared = self._both[out, place] = self._about(common, place, out=out)
            both += shared
        denied = simplify(s for rule in both if not rule.rule.allow and _denies(rule) for s in rule.services)
        return any(not covered(s, denied) for rule in both if rule.rule.allow for s in rule.services)

    def _about(self, rules: Iterable[Compiled], place: int, *, out: bool) -> list[Compiled]:
        """Those of some rules that are about the class at a place at their other end."""
        bit = 1 << place
        is_session = bool(self.sessions & bit)
        if out:
            return [rule for rule in rules if rule.targets & bit or (is_session and None in rule.objects)]
        return [rule for rule in rules if rule.sources & bit or (is_session and None in rule.subjects)]


@dataclass(frozen=True, slots=True)
class _Touched:
    """What may be other: of the subjects and of the objects the classes about which all has to be worked out anew
    (`rows`), and those about which it has to be for every class at the other end (`columns`), as bits."""

    rows: tuple[int, int]
    columns: tuple[int, int]

    @classmethod
    def by(cls, changed: Iterable[Compiled], classes: int) -> _Touched | None:
        """What rules are about that have changed, and classes that have come or gone; None: all, or nearly."""
        rows, columns = [classes, classes], [classes, classes]
        for rule in changed:
            if None in rule.subjects and None in rule.objects:
                return None
            for side, (ends, own, others) in enumerate(
                ((rule.subjects, rule.sources, rule.targets), (rule.objects, rule.targets, rule.sources))
            ):
                if None in ends:
                    columns[side] |= others
                else:
                    rows[side] |= own
        if (columns[0] | columns[1]).bit_count() > MAX_COLUMNS:
            return None
        return cls((rows[0], rows[1]), (columns[0], columns[1]))


def _patched(known: Mapping[int, int], columns: int, rows: int, fresh: Mapping[int, int]) -> dict[int, int]:
    """What is known with some bits as they are seen from the other end, by the classes that they stand for: where that
    is another, and but for some rows."""
    seen: dict[int, int] = {}
    for place, found in fresh.items():
        if columns >> place & 1:
            for other in bits(found):
                seen[other] = seen.get(other, 0) | 1 << place
    return {
        place: found & ~columns | seen.get(place, 0)
        for place, found in known.items()
        if found & columns != seen.get(place, 0) and not rows >> place & 1
    }


def _bits(classes: Iterable[Class], places: Mapping[Class, int]) -> int:
    found = 0
    for one in classes:
        found |= 1 << places[one]
    return found


def _denies(rule: Compiled) -> bool:
    """Whether a deny rule denies at any time, and whoever the ends are."""
    return rule.rule.hours is None and rule.rule.expression is None
