"""Time windows: when a rule is open, in the wall time of a zone (IANA time zone database, RFC 6557).

A window begins at the first moment at which its clock shows the time, and ends likewise; a time that the clock skips
counts as if it had not. A day's window that ends at or before its beginning ends on the next day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EXPECTED = "expected DAYS HH:MM-HH:MM ZONE, such as Mon-Fri 07:00-19:00 Europe/Berlin"

_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_TEXT = re.compile(
    rf"({_DAY}(?:-{_DAY})?(?:,{_DAY}(?:-{_DAY})?)*) +(\d\d):(\d\d)-(\d\d):(\d\d) +([A-Za-z][A-Za-z0-9_+/-]*)"
)
_DAY_MINUTES = 24 * 60
_WEEK = 7


@dataclass(frozen=True, slots=True)
class Window:
    """Days of the week (0: Monday), the minutes of the day at which it begins and ends, and the zone of its clock."""

    days: frozenset[int]
    begins: int
    ends: int
    zone: str

    def spans(self, now: float) -> Iterator[tuple[float, float]]:
        """Its times around a moment, from the day before to a week after; seconds since the epoch, the end excluded."""
        zone = ZoneInfo(self.zone)
        today = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        length = self.ends - self.begins if self.ends > self.begins else self.ends - self.begins + _DAY_MINUTES
        for offset in range(-2, _WEEK + 2):
            day = today + timedelta(days=offset)
            if day.weekday() in self.days:
                begins = day + timedelta(minutes=self.begins)
                yield _moment(begins, zone), _moment(begins + timedelta(minutes=length), zone)

    def __str__(self) -> str:
        return f"{_days_text(self.days)} {_clock(self.begins)}-{_clock(self.ends)} {self.zone}"


@dataclass(frozen=True, slots=True)
class Hours:
    """Open while one of its windows is."""

    windows: tuple[Window, ...]

    def open(self, now: float) -> bool:
        """Whether a moment, in seconds since the epoch, is in one of the windows."""
        return any(begins <= now < ends for window in self.windows for begins, ends in window.spans(now))

    def until(self, now: float) -> float:
        """The first moment after `now` at which a window begins or ends."""
        return min(moment for window in self.windows for span in window.spans(now) for moment in span if moment > now)

    def __str__(self) -> str:
        return " or ".join(map(str, self.windows))


def parse_window(text: str) -> Window:
    """The window that a text like `Mon-Fri 07:00-19:00 Europe/Berlin` means. Raises ValueError."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ValueError(EXPECTED)
    begins, ends = int(match[2]) * 60 + int(match[3]), int(match[4]) * 60 + int(match[5])
    if begins >= _DAY_MINUTES or ends > _DAY_MINUTES or int(match[3]) > 59 or int(match[5]) > 59:
        raise ValueError("expected times from 00:00 to 24:00")
    try:
        zone = ZoneInfo(match[6]).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"expected a time zone such as Europe/Berlin or UTC, found {match[6]}") from None
    return Window(frozenset(_days(match[1])), begins, ends, zone)


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
    return wall.replace(tzinfo=zone).astimezone(timezone.utc).timestamp()
