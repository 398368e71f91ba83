"""Time windows: when a rule is open, in the wall time of a zone (IANA time zone database, RFC 6557).

A window begins at the first moment at which a clock in its zone shows the time or a later one, and ends likewise. Where
clocks are put forward, a time that they skip is therefore the moment of the skip; where they are put back, the first of
two equal times counts, so that no window ends later than its clock first says. A day's window that ends at or before
its beginning ends on the next day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from functools import cache, lru_cache
from itertools import chain
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EXPECTED = "expected DAYS HH:MM-HH:MM ZONE, such as Mon-Fri 07:00-19:00 Europe/Berlin"

MAX_WINDOWS = 256
"""Different windows that one policy may have: all of them are looked at whenever one of its rules opens or closes."""

_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_TEXT = re.compile(
    rf"({_DAY}(?:-{_DAY})?(?:,{_DAY}(?:-{_DAY})?)*) +(\d\d):(\d\d)-(\d\d):(\d\d) +([A-Za-z][A-Za-z0-9_+/-]*)",
    re.ASCII,
)
_DAY_MINUTES = 24 * 60
_WEEK = 7
_HORIZON = 15
"""Days ahead that windows are looked at: one of any weekday is in it even where a zone skips a day."""

_NO_ZONES = frozenset({"Factory", "localtime", "posixrules"})
"""Names in a time zone database that mean another thing on each machine, or nothing."""


@dataclass(frozen=True, slots=True)
class Window:
    """Days of the week (0: Monday), the minutes of the day at which it begins and ends, and the zone of its clock."""

    days: frozenset[int]
    begins: int
    ends: int
    zone: str

    def spans(self, now: float) -> Iterator[tuple[float, float]]:
        """Its times around a moment, in order: seconds since the epoch, the ends excluded. Some may be empty."""
        yield from _around(self, datetime.fromtimestamp(now, _zone(self.zone)).date())

    def around(self, day: date) -> Iterator[tuple[float, float]]:
        """The same around a day of its zone."""
        zone, today = _zone(self.zone), datetime.combine(day, time())
        length = self.ends - self.begins if self.ends > self.begins else self.ends - self.begins + _DAY_MINUTES
        for offset in range(-2, _HORIZON):
            day = today + timedelta(days=offset)
            if day.weekday() in self.days:
                begins = day + timedelta(minutes=self.begins)
                yield _moment(begins, zone), _moment(begins + timedelta(minutes=length), zone)

    def __str__(self) -> str:
        return f"{_days_text(self.days)} {_clock(self.begins)}-{_clock(self.ends)} {self.zone}"


Spans = tuple[tuple[float, float], ...]
"""Times in seconds since the epoch, the ends excluded: in order, none empty, no two that meet."""


@dataclass(frozen=True, slots=True)
class Hours:
    """Open while one of its windows is."""

    windows: tuple[Window, ...]

    def spans(self, now: float) -> Spans:
        """When it is open, from days before a moment to two weeks after."""
        return _merged(tuple(tuple(window.spans(now)) for window in self.windows))

    def open(self, now: float) -> bool:
        """Whether a moment, in seconds since the epoch, is in one of the windows."""
        return in_spans(self.spans(now), now)

    def until(self, now: float) -> float:
        """The first moment after `now` at which it opens or closes. What is always open is to be looked at again
        then."""
        return next(moment for span in self.spans(now) for moment in span if moment > now)

    def __str__(self) -> str:
        return " or ".join(map(str, self.windows))


@lru_cache(maxsize=4 * MAX_WINDOWS)
def _around(window: Window, day: date) -> tuple[tuple[float, float], ...]:
    """A window's times around a day: it takes long to say which moments the clock of a zone means."""
    return tuple(window.around(day))


@lru_cache(maxsize=4 * MAX_WINDOWS)
def _merged(spans: tuple[tuple[tuple[float, float], ...], ...]) -> Spans:
    """The times of several windows together."""
    found: list[tuple[float, float]] = []
    for begins, ends in sorted(chain.from_iterable(spans)):
        if found and begins <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], ends)
        elif begins < ends:
            found.append((begins, ends))
    return tuple(found)


def in_spans(spans: Spans, moment: float) -> bool:
    """Whether a moment is in one of them."""
    return any(begins <= moment < ends for begins, ends in spans)


def parse_window(text: str) -> Window:
    """The window that a text like `Mon-Fri 07:00-19:00 Europe/Berlin` means. Raises ValueError."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ValueError(EXPECTED)
    begins, ends = int(match[2]) * 60 + int(match[3]), int(match[4]) * 60 + int(match[5])
    if begins >= _DAY_MINUTES or ends > _DAY_MINUTES or int(match[3]) > 59 or int(match[5]) > 59:
        raise ValueError("expected times from 00:00 to 24:00")
    try:
        _zone(match[6])
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"expected a time zone such as Europe/Berlin or UTC, found {match[6]}") from None
    return Window(frozenset(_days(match[1])), begins, ends, match[6])


@cache
def _zone(name: str) -> ZoneInfo:
    """The zone of a name, kept for as long as the process lives: decisions read no files. Raises as ZoneInfo does."""
    if name in _NO_ZONES or name.startswith(("posix/", "right/")):  # `right` counts leap seconds
        raise ZoneInfoNotFoundError(name)
    return ZoneInfo(name)


def _days(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin = DAYS.index(first)
        length = (DAYS.index(last or first) - begin) % _WEEK
        yield from ((begin + offset) % _WEEK for offset in range(length + 1))


def _days_text(days: frozenset[int]) -> str:
    """`Mon-Fri`, or each day where they are not in a row."""
    ordered = sorted(days)
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{DAYS[ordered[0]]}-{DAYS[ordered[-1]]}"
    return ",".join(DAYS[day] for day in ordered)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _moment(wall: datetime, zone: ZoneInfo) -> float:
    """The first moment at which a clock in the zone shows this time or a later one."""
    first = wall.replace(tzinfo=zone).astimezone(timezone.utc)
    if _shown(first, zone) == wall:
        return first.timestamp()
    # The time is skipped: read by the offset before the skip it is after it, by the one after the skip before it.
    late, early = int(first.timestamp()), int(wall.replace(tzinfo=zone, fold=1).timestamp())
    while late - early > 1:
        middle = (late + early) // 2
        if _shown(datetime.fromtimestamp(middle, timezone.utc), zone) >= wall:
            late = middle
        else:
            early = middle
    return float(late)


def _shown(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)
