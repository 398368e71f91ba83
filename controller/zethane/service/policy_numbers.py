"""Numbers and priorities for a policy: given out while it is worked out, kept before it is put in force.

What a number or a priority stands for outlives the controller: switches hold entries that carry it. A rule keeps its
priority as long as it is there, whatever comes before or behind it, so that a change of one rule is a change of its
own entries.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

from zethane.errors import CapacityError
from zethane.pipeline.fields import MAX_CLASS, MAX_RULE, STANDING_BITS
from zethane.pipeline.tables import Priority
from zethane.policy.condition import Condition
from zethane.policy.order import ordered
from zethane.policy.versions import following, version

PRIORITY = "priority"
"""The kind under which priorities are kept, by the rules' ids."""

STANDING = "standing"
"""The kind under which the bits of conditions are kept, by the segment's number and a digest of the condition; and how
many there are, by the number alone."""

_LAST = {"rule": MAX_RULE, "class": MAX_CLASS}
_COUNT = 1 << 3
"""Apart from bits are counts. All that is kept of one kind differs, so that the segment's number is in both."""


class Numbers(Protocol):
    """Stable numbers for rules, classes, conditions and priorities, across restarts."""

    def numbers(self, kind: str) -> Mapping[str, int]:
        """All numbers of a kind that are kept, by what they stand for."""

    def last_number(self, kind: str) -> int:
        """The highest of a kind that has been kept; 0 where none has."""

    def keep_numbers(self, kind: str, given: Mapping[str, int], gone: Collection[str] = ()) -> None:
        """Keep numbers that were given out, and forget some. Raises CapacityError, and nothing has changed then."""


class Numbering:
    """What is kept, and what is given out besides: nothing of that is kept before `keep`.

    It writes nothing, so that a policy may be worked out beside the event loop.
    """

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._given: dict[str, dict[str, int]] = {"rule": {}, "class": {}, STANDING: {}}
        # First: what is kept between these two looks makes that this does not fit.
        self._last = self._last_kept()
        self._kept = {kind: numbers.numbers(kind) for kind in (*self._given, PRIORITY)}
        self._first = dict(self._last)
        self._priorities: tuple[Mapping[str, int], Collection[str], int] = {}, (), 0

    def _last_kept(self) -> dict[str, int]:
        # Bits are given out for each segment by itself; with every one there are more.
        last = {kind: self._numbers.last_number(kind) for kind in _LAST}
        return {**last, STANDING: len(self._numbers.numbers(STANDING))}

    def fits(self) -> bool:
        """Whether no number has been kept meanwhile that may be given out here for something else."""
        return self._last_kept() == self._first

    def number_of(self, kind: str, key: str) -> int:
        """The number of a rule or class (`kind` "rule" or "class"), the same ever after. Raises CapacityError."""
        number = self.known(kind, key)
        if number is None:
            if self._last[kind] >= _LAST[kind]:
                raise CapacityError(f"no {kind} number is left; a new state directory starts from 1")
            self._last[kind] = self._given[kind][key] = number = self._last[kind] + 1
        return number

    def known(self, kind: str, key: str) -> int | None:
        """The number of a rule or class; None if it has none yet."""
        number = self._kept[kind].get(key)
        return self._given[kind].get(key) if number is None else number

    def bits_of(self, segment: int, asked: Sequence[Condition], *, give: bool) -> tuple[int, ...] | None:
        """The bits of conditions in the classes of the segment with this number, the same ever after: `give` some to
        those that have none. None if not all have one."""
        keys = [f"{segment} {hashlib.sha256(one.key.encode()).hexdigest()}" for one in asked]
        found = [self._standing(key) for key in keys]
        if None not in found:
            return tuple(number & _COUNT - 1 for number in found if number is not None)
        taken = (self._standing(str(segment)) or 0) & _COUNT - 1
        new = [key for key, number in zip(keys, found, strict=True) if number is None]
        if not give or taken + len(new) > STANDING_BITS:
            return None
        first = segment * 2 * _COUNT
        given = self._given[STANDING]
        given.update((key, first + bit) for bit, key in enumerate(new, taken))
        given[str(segment)] = first + _COUNT + taken + len(new)
        self._last[STANDING] += len(new) + (taken == 0)
        return self.bits_of(segment, asked, give=False)

    def _standing(self, key: str) -> int | None:
        given = self._given[STANDING].get(key)
        return self._kept[STANDING].get(key) if given is None else given

    @property
    def priorities(self) -> Mapping[str, int]:
        """Those that are kept, by the rules' ids; also of rules that are gone."""
        return self._kept[PRIORITY]

    def use_priorities(self, given: Mapping[str, int], gone: Collection[str], count: int) -> None:
        """What has changed of them, and of how many rules they are now."""
        self._priorities = given, gone, count

    def keep(self) -> None:
        """Keep what was given out. Raises CapacityError if that cannot be written: nothing may rest on it then."""
        for kind, given in self._given.items():
            if given:
                self._numbers.keep_numbers(kind, given)
                self._given[kind] = {}
        self._first = dict(self._last)
        moved, gone, count = self._priorities
        if moved or gone:
            kept = self._numbers.numbers(PRIORITY)
            if len(following(kept, moved, gone)) != count:
                # A policy that was kept and never put in force may have given these to other rules.
                given_anew = set(moved.values())
                others = (name for name, number in kept.items() if number in given_anew and name not in moved)
                gone = {*gone, *others}
            self._numbers.keep_numbers(PRIORITY, moved, gone)
            self._priorities = {}, (), 0


class Ladder:
    """The priorities of one band: the smaller a rule's id, the higher it is. Between rungs there is room for others."""

    def __init__(self, top: int, bottom: int, at: Mapping[str, int]) -> None:
        """Priorities from `top` down to `bottom`; `at` are those that are taken, in the order of the ids."""
        self._top, self._bottom = top, bottom
        self.at = version(at)
        self._ids = ordered(at)

    def copy(self) -> Ladder:
        """One that can be changed without this one."""
        new = Ladder(self._top, self._bottom, {})
        new.at, new._ids = self.at, list(self._ids)
        return new

    def remove(self, name: str) -> None:
        """Let a rule go."""
        self.at = following(self.at, {}, [name])
        del self._ids[bisect_left(self._ids, name)]

    def add(self, names: Iterable[str]) -> dict[str, int]:
        """Take rules in; the priorities of these, and of others that had to give way."""
        new = ordered({name for name in names if name not in self.at})
        if len(self.at) + len(new) > self._top - self._bottom + 1:
            raise CapacityError(f"more than {self._top - self._bottom + 1} rules of one action")
        changed: dict[str, int] = {}
        if not self._ids:
            self._ids = new
            changed = self._spread(0, len(new))
        else:
            for name in new:
                insort(self._ids, name)
            if len(new) > len(self._ids) // 2:
                changed = self._spread(0, len(self._ids))
            else:
                for name in new:
                    changed.update(self._place(name))
        return changed

    def _place(self, name: str) -> dict[str, int]:
        """Find room for a rule that is in order and has no priority: between its neighbours, or by moving some."""
        place = bisect_left(self._ids, name)
        reach = 0
        while True:
            first, behind = max(place - reach, 0), min(place + reach + 1, len(self._ids))
            while first > 0 and self._ids[first - 1] not in self.at:
                first -= 1  # those that are new as well get their priorities together with it
            while behind < len(self._ids) and self._ids[behind] not in self.at:
                behind += 1
            over, under = self._around(first, behind)
            count, room = behind - first, over - under - 1
            # Room for half as many more where rungs are moved, so that the next one finds some.
            if count <= room and (reach == 0 or 2 * room >= 3 * count or count == len(self._ids)):
                return self._spread(first, behind)
            reach = 2 * reach or 2

    def _around(self, first: int, behind: int) -> tuple[int, int]:
        """The priorities above and below a stretch of ids."""
        over = self.at[self._ids[first - 1]] if first else self._top + 1
        under = self.at[self._ids[behind]] if behind < len(self._ids) else self._bottom - 1
        return over, under

    def _spread(self, first: int, behind: int) -> dict[str, int]:
        """Give a stretch of ids priorities at equal distances; those that are others than before."""
        over, under = self._around(first, behind)
        names = self._ids[first:behind]
        found = {name: over - (index * (over - under)) // (len(names) + 1) for index, name in enumerate(names, 1)}
        changed = {name: priority for name, priority in found.items() if self.at.get(name) != priority}
        self.at = following(self.at, changed)
        return changed


class Priorities:
    """Which rule has which priority: denies above allows, and within both by their ids."""

    def __init__(self, allows: Ladder, denies: Ladder) -> None:
        self._ladders = {True: allows, False: denies}

    @classmethod
    def of(cls, rules: Mapping[str, bool], kept: Mapping[str, int]) -> tuple[Priorities, dict[str, int]]:
        """Those of rules (whether each allows), where some are known; and what is new or has changed."""
        bands = {
            True: (int(Priority.RULE_ALLOW_TOP), int(Priority.RULE_ALLOW_BOTTOM)),
            False: (int(Priority.RULE_DENY_TOP), int(Priority.RULE_ALLOW_TOP) + 1),
        }
        ladders, changed = {}, {}
        for allow, (top, bottom) in bands.items():
            names = [name for name, allows in rules.items() if allows is allow]
            at = {name: kept[name] for name in names if bottom <= kept.get(name, 0) <= top}
            held = [at[name] for name in ordered(at)]
            if any(one <= other for one, other in pairwise(held)):
                at = {}  # not as this has left them: start over
            ladders[allow] = Ladder(top, bottom, at)
            changed.update(ladders[allow].add(names))
        return cls(ladders[True], ladders[False]), changed

    def __getitem__(self, rule: tuple[bool, str]) -> int:
        allow, name = rule
        return self._ladders[allow].at[name]

    def changed(
        self, gone: Iterable[tuple[bool, str]], new: Iterable[tuple[bool, str]]
    ) -> tuple[Priorities, dict[str, int]]:
        """The same without some rules and with others (whether each allows); and what is new or has changed."""
        going, added = list(gone), list(new)
        others = {allow for allow, _ in (*going, *added)}
        ladders = {allow: ladder.copy() if allow in others else ladder for allow, ladder in self._ladders.items()}
        for allow, name in going:
            ladders[allow].remove(name)
        given: dict[str, int] = {}
        for allow in others:
            given.update(ladders[allow].add(name for allows, name in added if allows is allow))
        return Priorities(ladders[True], ladders[False]), given
