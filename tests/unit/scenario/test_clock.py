"""Windows moved about now, so that a scenario's moment is one of today."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.clock import minute_of, moved, policy_at
from zethane.document import parse
from zethane.policy.hours import DAYS, Hours, Window, parse_window
from zethane.policy.load import parse_policy
from zethane.policy.schema import PolicyFile

NOW = datetime(2026, 11, 25, 20, 4, 30, tzinfo=timezone.utc).timestamp()
OFFICE = "Mon-Fri 07:00-19:00 Europe/Berlin"
SHIFT = "Fri 22:00-06:00 Europe/Berlin"


@pytest.mark.parametrize(
    ("window", "at", "is_open"),
    [
        (OFFICE, "Tue 08:00", True),
        (OFFICE, "Tue 22:30", False),
        (OFFICE, "Sat 08:00", False),
        (OFFICE, "Mon 06:59", False),
        (OFFICE, "Mon 07:00", True),
        (OFFICE, "Fri 18:59", True),
        (OFFICE, "Fri 19:00", False),
        (SHIFT, "Sat 05:59", True),
        (SHIFT, "Sat 06:00", False),
        (SHIFT, "Fri 21:59", False),
        (SHIFT, "Fri 22:00", True),
        ("Mon-Sun 00:00-24:00 UTC", "Wed 00:00", True),
    ],
)
def test_now_is_in_a_moved_window_what_the_moment_is_in_its_own(window: str, at: str, is_open: bool) -> None:
    found = Hours((moved(parse_window(window), minute_of(at), NOW),))
    assert found.open(NOW) == is_open
    assert parse_window(str(found)) == found.windows[0]


@given(
    days=st.sets(st.integers(0, 6), min_size=1),
    begins=st.integers(0, 1439),
    ends=st.integers(1, 1440),
    at=st.integers(0, 7 * 1440 - 1),
    now=st.integers(1_700_000_000, 1_900_000_000),
)
def test_moving_changes_nothing_but_where_the_week_begins(
    days: set[int], begins: int, ends: int, at: int, now: int
) -> None:
    """On the clock of UTC, which skips nothing."""
    window = Window(frozenset(days), begins, ends, "UTC")
    # A week that begins on Monday at 00:00 UTC: 1970-01-05 was one.
    moment = 4 * 86400 + 2600 * 7 * 86400 + at * 60
    assert Hours((moved(window, at, now),)).open(now // 60 * 60) == Hours((window,)).open(moment)


def test_a_policy_at_another_moment_differs_in_its_windows_alone() -> None:
    text = f"""
version: 1
segments: {{web: {{labels: {{"yes": "22:22"}}}}}}
rules:
  - {{id: day, from: [web], to: [web], services: [tcp/22], when: {{hours: "{OFFICE}", aal: 1}}}}
  - {{id: both, from: [web], to: [web], services: [tcp/23], when: {{hours: ["{OFFICE}", "{SHIFT}"]}}}}
  - {{id: always, from: [web], to: [web], services: [tcp/24]}}
tests: [{{deny: a -> b, service: tcp/22}}]
"""
    written = policy_at(parse(text, "policy.yaml", PolicyFile), minute_of("Tue 22:30"), NOW)
    before, after = parse_policy(text, "policy.yaml"), parse_policy(written, "policy.yaml")
    assert "tests" not in json.loads(written)
    assert before.segments["web"].labels == after.segments["web"].labels
    assert [rule.id for rule in after.rules] == [rule.id for rule in before.rules]
    open_rules = {rule.id for rule in after.rules if rule.hours is None or rule.hours.open(NOW)}
    assert open_rules == {"always"}
    assert all(
        day in DAYS for rule in after.rules if rule.hours for day in str(rule.hours).replace("-", ",")[:3].split()
    )
