"""Expressions in CEL, the Common Expression Language: what the other conditions cannot say.

They are checked when a policy is read, against the attributes that there are and their types, and run by the
language's reference implementation, which bounds depth and work. Whoever asks gets the answer, and until when it is
sure. The moment that an expression sees is the beginning of the minute, so that time changes its answer only then.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from zethane.errors import ExpressionError
from zethane.policy.attributes import ABSENT, MINUTE, SIDES, TIMES, Moment, attribute, fresh_until, plain
from zethane.policy.cel import Language, language
from zethane.policy.principal import Party, Principal

if TYPE_CHECKING:
    from cel_expr_python.cel import Expression as Program

MAX_EXPRESSIONS = 512
"""Different expressions that one policy may have."""

MAX_REMEMBERED = 4096
"""Answers that one expression keeps, one for each different set of values."""

MAX_ERROR = 200
"""Characters of an error that are told."""

QUARTER = 15 * MINUTE
"""What the offset of every time zone is a multiple of."""

_DAYS_AND_HOURS = "FullYear|Month|Date|DayOfMonth|DayOfWeek|DayOfYear|Hours"
_NO_ZONE_OR_NAMED = r"""\(\s*(?:\)|["'][A-Za-z][\w/+-]*["']\s*\))"""
_FINE = re.compile(rf"\btime\s*\.\s*now\b(?!\s*\.\s*get(?:{_DAYS_AND_HOURS}){_NO_ZONE_OR_NAMED})")
"""`time.now` where more may depend on it than the day and the hour in UTC or in a zone that has a name."""

_STEPS = 4
"""How many changes of the clock an answer is worked out for at once."""


class Answer(NamedTuple):
    """What an expression says: true, false, or None and the error for which it says nothing.

    `until` is the first moment, in seconds since the epoch, at which time alone may change it; infinity if it cannot.
    """

    value: bool | None
    error: str | None
    until: float

    def holds(self, or_error: bool) -> bool:
        """Whether it is true; `or_error` is what counts where there is no answer."""
        return or_error if self.value is None else self.value


class _Known(NamedTuple):
    """An answer that is sure from `since` to `until`; `again` is when it is worked out once more, if not before."""

    value: bool | None
    error: str | None
    since: float = -math.inf
    until: float = math.inf
    again: float = math.inf

    def lasts(self, subject: Party, target: Party, now: float) -> float:
        """Until when to rely on it. Where it may well be the same afterwards, that is not one moment for everybody."""
        if self.again >= self.until:
            return self.until
        share = crc32(f"{_name(subject)} {_name(target)}".encode()) / 2**32
        return now + (self.until - now) * (1 + share) / 2


def _name(party: Party) -> str:
    return party.name if isinstance(party, Principal) else str(party)


class Expression:
    """One expression that has been checked. `names` are the attributes that it refers to, such as `subject.labels`.

    `runs` counts how often it was run; answers for the same values are remembered.
    """

    def __init__(self, text: str, program: Program, names: frozenset[str]) -> None:
        self.text = text
        self.names = names
        self.runs = 0
        self._program = program
        self._sides = tuple(sorted(name for name in names if name not in TIMES))
        self._times = tuple(sorted(names & TIMES.keys()))
        self._step = _step(text, names)
        self._known: dict[tuple[Any, ...], _Known] = {}

    def is_about(self, side: str) -> bool:
        """Whether it refers to the `subject` or the `object`; a session is the subject's."""
        return any(SIDES[name] == side for name in self._sides)

    @property
    def is_about_time(self) -> bool:
        """Whether it looks at the clock."""
        return bool(self._times)

    @property
    def is_about_address(self) -> bool:
        """Whether it refers to an address, which is one of a flow rather than of a session."""
        return any(name.endswith(".address") for name in self._sides)

    def answer(self, subject: Party, target: Party, now: float) -> Answer:
        """What it says of these ends at a moment, in seconds since the epoch. Raises nothing."""
        values = tuple(attribute(name, subject, target, now) for name in self._sides)
        known = self._known.get(values)
        if known is None or not known.since <= now < known.again:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            known = self._known[values] = self._work_out(values, now)
        fresh = min((fresh_until(name, subject, target, now) for name in self._sides), default=math.inf)
        return Answer(known.value, known.error, min(known.lasts(subject, target, now), fresh))

    def seen(self, subject: Party, target: Party, now: float) -> Iterator[tuple[str, str]]:
        """The attributes that it refers to and their values at a moment, in words."""
        for name in self._sides:
            yield name, _text(attribute(name, subject, target, now))
        for name in self._times:
            yield name, _text(TIMES[name].value(Moment(now)))

    def _work_out(self, values: tuple[Any, ...], now: float) -> _Known:
        """Run it for now, and for the changes of the clock that come next for as long as the answer is the same."""
        try:
            pairs = zip(self._sides, values, strict=True)
            given = {name: plain(name, value) for name, value in pairs if value is not ABSENT}
        except (ValueError, OverflowError, OSError) as wrong:
            return _Known(None, str(wrong)[:MAX_ERROR])
        value, error = self._run(given, now)
        if self._step is None:
            return _Known(value, error)
        since = now - now % self._step
        for step in range(1, _STEPS + 1):
            until = since + step * self._step
            if self._run(given, until)[0] != value:
                return _Known(value, error, since, until, until)
        return _Known(value, error, since, until, (since + until) / 2)

    def _run(self, given: dict[str, Any], now: float) -> tuple[bool | None, str | None]:
        moment = Moment(now)
        self.runs += 1
        try:
            found = self._program.eval(data=given | {name: TIMES[name].value(moment) for name in self._times})
            kind, value = found.type().name(), found.value()
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no answer, and that denies
            return None, str(error)[:MAX_ERROR]
        if kind == "BOOL":
            return value is True, None
        return None, str(value)[:MAX_ERROR] if kind == "ERROR" else f"expected true or false, found {kind.lower()}"


def _step(text: str, names: frozenset[str]) -> float | None:
    """The seconds between changes of what it may see of the clock; None if it does not look."""
    if not names & TIMES.keys():
        return None
    fine = MINUTE if _FINE.search(text) else QUARTER
    return min(fine if name == "time.now" else TIMES[name].step for name in names & TIMES.keys())


def _text(value: Any) -> str:
    if value is ABSENT:
        return "absent"
    if isinstance(value, frozenset):
        value = ", ".join(sorted(value))
    elif isinstance(value, tuple):
        value = ", ".join(f"{pair[0]}={pair[-1]}" for pair in value)
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


@lru_cache(maxsize=4 * MAX_EXPRESSIONS)
def compiled(text: str) -> Expression:
    """The expression that a text stands for. Raises ExpressionError, which says what is wrong and where in the text."""
    cel = language()
    program = cel.program(text)
    _check_literals(cel, text)
    return Expression(text, program, cel.names_in(text))


_LITERAL = r"""((?:\br)?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))"""
_LITERALS = (
    (re.compile(rf"\.\s*get[A-Z]\w*\(\s*{_LITERAL}\s*\)"), "timestamp(0).getHours({}) == 0", "a time zone"),
    (re.compile(rf"\.\s*matches\(\s*{_LITERAL}\s*\)"), "''.matches({})", "a regular expression of RE2"),
    (re.compile(rf"\bcidr\(\s*{_LITERAL}\s*\)"), "cidr({}) == ''", "a prefix such as 198.51.100.0/24"),
    (re.compile(rf"\btimestamp\(\s*{_LITERAL}\s*\)"), "timestamp({0}) == timestamp({0})", "a time as RFC 3339 has it"),
    (re.compile(rf"\bduration\(\s*{_LITERAL}\s*\)"), "duration({0}) == duration({0})", "a length of time such as 90m"),
)


def _check_literals(cel: Language, text: str) -> None:
    """Constants that can never be right are found now rather than with the first flow."""
    for pattern, probe, expected in _LITERALS:
        for match in pattern.finditer(text):
            if cel.program(probe.format(match[1])).eval(data={}).type().name() == "ERROR":
                line = text.count("\n", 0, match.start(1)) + 1
                column = match.start(1) - text.rfind("\n", 0, match.start(1))
                raise ExpressionError(f"{line}:{column}: expected {expected}, found {match[1][:60]}")
