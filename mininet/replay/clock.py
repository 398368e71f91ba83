"""What time it is in a scenario: the windows of a policy, moved so that now is in them what another moment would be.

The controller's clock is the machine's, and so are those of everybody who vouches for somebody. What a scenario says of
the time is therefore done to the policy: a copy of it has its windows elsewhere in the week. Pure.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from zethane.document import Document
from zethane.document.node import Value
from zethane.policy.hours import DAYS, Window, parse_window

_DAY, _WEEK = 24 * 60, 7 * 24 * 60


def minute_of(moment: str) -> int:
    """The minute of the week that a text like `Tue 22:30` means."""
    day, clock = moment.split(" ")
    hour, minute = clock.split(":")
    return DAYS.index(day) * _DAY + int(hour) * 60 + int(minute)


def moved(window: Window, at: int, now: float) -> Window:
    """A window on the clock of UTC that lies about `now` (seconds since the epoch) as `window` lies about the minute
    `at` of the week on its own clock. It is right to the minute."""
    wall = datetime.fromtimestamp(now, timezone.utc)
    today = wall.weekday() * _DAY + wall.hour * 60 + wall.minute
    begins = window.begins + today - at
    length = window.ends - window.begins if window.ends > window.begins else window.ends - window.begins + _DAY
    days = frozenset((day + begins // _DAY) % 7 for day in window.days)
    start = begins % _DAY
    end = (start + length) % _DAY
    return Window(days, start, end or _DAY, "UTC")


def policy_at(policy: Document[Any], at: int, now: float) -> str:
    """The policy as text (JSON, which is YAML) with its windows moved, without its tests: those are about others."""
    value = policy.root.value()
    if not isinstance(value, dict):
        return json.dumps(value)
    value.pop("tests", None)
    rules = value.get("rules")
    for rule in rules if isinstance(rules, list) else ():
        when = rule.get("when") if isinstance(rule, dict) else None
        if isinstance(when, dict) and "hours" in when:
            when["hours"] = _moved_text(when["hours"], at, now)
    return json.dumps(value, indent=1) + "\n"


def _moved_text(hours: Value, at: int, now: float) -> Value:
    if isinstance(hours, list):
        return [_moved_text(one, at, now) for one in hours]
    return str(moved(parse_window(str(hours)), at, now))
