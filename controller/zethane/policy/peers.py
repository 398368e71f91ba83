"""Which classes may open some flow to which, as sets of bits.

A rule from or to any session says something about thousands of pairs of classes at once. So pairs are never gone
through: for each class the rules about it are joined, and only pairs that a deny rule names are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from weakref import ref

from zethane.policy.bits import bits
from zethane.policy.entry import Class, Compiled, End, NetworkClass, SessionClass
from zethane.policy.service import Service, covered, simplify
from zethane.policy.versions import following, version

MAX_SHARED = 4096
"""Answers about rules of any session that one version takes over from another."""

MAX_COLUMNS = 256
"""Classes of which is told every other class that something about them is other; where they are more, nothing is
taken over."""

MAX_UNTOLD = 64
"""Of so many classes others may be told only when they are asked about; where they are more, all are told."""

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


class _Side(NamedTuple):
    """What has been found out for one direction, by place: the classes at the other end, as bits.

    In `columns` are classes of which others have not been told yet that something about them is other, with the version
    as of which it is. Their own rows of the other direction say what it is now; so whoever asks for a row of an earlier
    version (`versions`, 0 for those that it leaves out) is told then.
    """

    rows: Mapping[int, int]
    versions: Mapping[int, int]
    columns: Mapping[int, int]


_NOTHING = _Side(version({}), version({}), {})


class Peers:
    """Answers for a compiled policy as it is at some time: with every rule open that allows, and none of those with
    hours that denies. What it has found out it keeps."""

    def __init__(self, places: Mapping[Class, int], sessions: int, sources: ByKey, targets: ByKey) -> None:
        """`places` are the classes' bits, `sessions` those of all classes of sessions."""
        self.places = version(places)
        self.sessions = sessions
        self.by_source, self.by_target = version(sources), version(targets)
        self._all = 0
        """The bits of all classes that there are."""
        self._at: Mapping[int, Class] = version({})
        self._sides = [_NOTHING, _NOTHING]
        """Whom a class may open a flow to, and who may open one to it."""
        self._version = 0
        self._both: dict[tuple[bool, int], list[Compiled]] = {}
        self._any: dict[tuple[bool, tuple[Service, ...]], tuple[int, int, tuple[Service, ...]]] = {}
        self.touched: int | None = None
        """The classes about one of which is whatever is other than under the policy that this has followed, as bits;
        None: it may be about any."""
        self._before: ref[Peers] | None = None
        self.is_same = False
        """Whether it is sure that all have to do with the same ones as under that policy."""

    @classmethod
    def of_classes(cls, places: Mapping[Class, int], sessions: int, sources: ByKey, targets: ByKey) -> Peers:
        """Those of a policy that follows no other one."""
        new = cls(places, sessions, sources, targets)
        new._at = version({place: one for one, place in places.items()})
        new._all = _bits(places, places)
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
        after._all = self._all & ~left | come
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
        one bit for each class, which is that of the class at its other end. Each of them is told when it is asked
        about."""
        self._version = before._version + 1
        fresh: list[dict[int, int]] = [{}, {}]
        for earlier, rows, other, found, out in (
            (before._sides[0].rows, touched.rows[0], touched.columns[1], fresh[0], True),
            (before._sides[1].rows, touched.rows[1], touched.columns[0], fresh[1], False),
        ):
            for place in bits(rows):
                one = self._at.get(place)
                if one is not None and (place in earlier or other >> place & 1):
                    found[place] = self._find(one, out=out)
        for side in (0, 1):
            kept, rows = before._sides[side], touched.rows[side]
            columns = {place: since for place, since in kept.columns.items() if place in self._at}
            columns.update((place, self._version) for place in bits(touched.columns[side]) if place in self._at)
            versions = dict.fromkeys(fresh[side], self._version)
            self._sides[side] = _Side(
                following(kept.rows, fresh[side], bits(rows)),
                following(kept.versions, versions, bits(rows)),
                columns,
            )
        if max(len(side.columns) for side in self._sides) > MAX_UNTOLD:
            self.tell_all()
        self._before = ref(before)
        self.touched = touched.rows[0] | touched.rows[1] | touched.columns[0] | touched.columns[1]
        self.is_same = all(self._is_as_before(place, before) for place in bits(self.touched))

    def _is_as_before(self, place: int, before: Peers) -> bool:
        """Whether it is sure that the class at a place has to do with the same ones."""
        now = self.known(place)
        return now is not None and now == before.known(place)

    def tell_all(self) -> None:
        """Tell every class what is other about others: the next ones that are asked for many have less to do. It
        changes no answer, and may be done in a thread beside another one that asks."""
        for side in (0, 1):
            found = self._sides[side]
            if not found.columns:
                continue
            seen: dict[int, int] = {}
            columns = 0
            for place in found.columns:
                columns |= 1 << place
                for other in bits(self._sides[not side].rows[place]):
                    seen[other] = seen.get(other, 0) | 1 << place
            others: dict[int, int] = {}
            for place, row in found.rows.items():
                told = self._row(side, place) if place in found.versions else row & ~columns | seen.get(place, 0)
                if told is not None and told != row:
                    others[place] = told & self._all
            self._sides[side] = _Side(following(found.rows, others), version({}), {})

    def _row(self, side: int, place: int) -> int | None:
        """What has been found out of a class in one direction, told what is other; None if nothing has."""
        rows, versions, columns = self._sides[side]
        found = rows.get(place)
        if found is None:
            return None
        if columns:
            since, others = versions.get(place, 0), self._sides[not side].rows
            for column, when in columns.items():
                if when > since:
                    bit = 1 << column
                    found = found | bit if others[column] >> place & 1 else found & ~bit
        return found & self._all

    def known(self, place: int) -> int | None:
        """What has been found out of the class at a place in both directions; None if not all is."""
        out, into = self._row(0, place), self._row(1, place)
        return None if out is None or into is None else out | into

    def follows(self, before: Peers) -> bool:
        """Whether these are those of the policy that has followed directly, with most of it taken over."""
        return self._before is not None and self._before() is before

    @property
    def has_untold(self) -> bool:
        """Whether classes are told of others only as they are asked about."""
        return bool(self._sides[0].columns or self._sides[1].columns)

    def knows(self, place: int) -> bool:
        """Whether both have been found out."""
        return place in self._sides[0].rows and place in self._sides[1].rows

    def reach(self, one: Class) -> int:
        """The classes that one may open some flow to."""
        return self._kept(one, out=True)

    def of(self, one: Class) -> int:
        """The classes that some flow may connect one with, in either direction."""
        return self._kept(one, out=True) | self._kept(one, out=False)

    def _kept(self, one: Class, *, out: bool) -> int:
        place, side = self.places[one], int(not out)
        found = self._row(side, place)
        if found is None:
            found, kept = self._find(one, out=out), self._sides[side]
            as_of = following(kept.versions, {place: self._version}) if kept.columns else kept.versions
            self._sides[side] = _Side(following(kept.rows, {place: found}), as_of, kept.columns)
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


def _bits(classes: Iterable[Class], places: Mapping[Class, int]) -> int:
    found = 0
    for one in classes:
        found |= 1 << places[one]
    return found


def _denies(rule: Compiled) -> bool:
    """Whether a deny rule denies at any time, and whoever the ends are."""
    return rule.rule.hours is None and rule.rule.expression is None
