"""Time windows: exact moments in zones with every kind of change of the clock."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zethane.errors import InputError
from zethane.policy.hours import EXPECTED, Hours, parse_window
from zethane.policy.load import parse_policy

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Pacific/Kiritimati",
)


def hours(*texts: str) -> Hours:
    return Hours(tuple(map(parse_window, texts)))


def at(text: str) -> float:
    """The moment of an RFC 3339 text."""
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("text", "begins", "ends"),
    [
        # An ordinary day, in winter and in summer.
        ("Mon-Fri 07:00-19:00 Europe/Berlin", "2026-11-23T06:00+00:00", "2026-11-23T18:00+00:00"),
        ("Mon-Fri 07:00-19:00 Europe/Berlin", "2026-07-06T05:00+00:00", "2026-07-06T17:00+00:00"),
        ("Mon 00:00-24:00 UTC", "2026-11-23T00:00+00:00", "2026-11-24T00:00+00:00"),
        ("Wed 09:15-17:45 Asia/Kathmandu", "2026-11-25T03:30+00:00", "2026-11-25T12:00+00:00"),
        # Over midnight, and over the end of the week.
        ("Fri 22:00-06:00 Europe/Berlin", "2026-11-27T21:00+00:00", "2026-11-28T05:00+00:00"),
        ("Sun 22:00-06:00 UTC", "2026-11-29T22:00+00:00", "2026-11-30T06:00+00:00"),
        ("Mon 07:00-07:00 UTC", "2026-11-23T07:00+00:00", "2026-11-24T07:00+00:00"),
        # Berlin, 2026-03-29: 02:00 to 03:00 is skipped at 01:00 UTC.
        ("Sun 01:00-04:00 Europe/Berlin", "2026-03-29T00:00+00:00", "2026-03-29T02:00+00:00"),
        ("Sun 02:30-05:00 Europe/Berlin", "2026-03-29T01:00+00:00", "2026-03-29T03:00+00:00"),
        ("Sat 22:00-02:30 Europe/Berlin", "2026-03-28T21:00+00:00", "2026-03-29T01:00+00:00"),
        ("Sun 02:15-03:15 Europe/Berlin", "2026-03-29T01:00+00:00", "2026-03-29T01:15+00:00"),
        # Berlin, 2026-10-25: 02:00 to 03:00 comes twice, first at 00:00 UTC.
        ("Sun 02:30-04:00 Europe/Berlin", "2026-10-25T00:30+00:00", "2026-10-25T03:00+00:00"),
        ("Sat 22:00-02:30 Europe/Berlin", "2026-10-24T20:00+00:00", "2026-10-25T00:30+00:00"),
        ("Sun 00:00-24:00 Europe/Berlin", "2026-10-24T22:00+00:00", "2026-10-25T23:00+00:00"),
        # Lord Howe moves by half an hour: 2026-10-04, 02:00-02:30 is skipped; 2026-04-05, 01:30-02:00 comes twice.
        ("Sun 02:15-05:00 Australia/Lord_Howe", "2026-10-03T15:30+00:00", "2026-10-03T18:00+00:00"),
        ("Sun 01:45-05:00 Australia/Lord_Howe", "2026-04-04T14:45+00:00", "2026-04-04T18:30+00:00"),
        # Havana changes at midnight: 2026-03-08 begins at 01:00; on 2026-11-01 midnight comes twice.
        ("Sun 00:00-12:00 America/Havana", "2026-03-08T05:00+00:00", "2026-03-08T16:00+00:00"),
        ("Sat 12:00-24:00 America/Havana", "2026-10-31T16:00+00:00", "2026-11-01T04:00+00:00"),
        # Apia had no Friday 2011-12-30.
        ("Thu 20:00-08:00 Pacific/Apia", "2011-12-30T06:00+00:00", "2011-12-30T10:00+00:00"),
    ],
)
def test_a_window_is_open_from_its_first_moment_to_its_last(text: str, begins: str, ends: str) -> None:
    window = hours(text)
    first, end = at(begins), at(ends)
    assert [window.open(moment) for moment in (first - 0.001, first, end - 0.001, end)] == [False, True, True, False]
    assert window.until(first) == end
    assert window.until(first - 0.001) == first
    assert window.until(math.nextafter(end, 0)) == end


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("Sun 02:00-02:59 Europe/Berlin", "2026-03-29T00:00+00:00"),
        ("Sun 02:00-02:30 Australia/Lord_Howe", "2026-10-03T15:00+00:00"),
        ("Fri 07:00-19:00 Pacific/Apia", "2011-12-30T05:00+00:00"),
    ],
)
def test_a_window_in_a_time_that_is_skipped_does_not_open(text: str, day: str) -> None:
    """The next one does, a week later."""
    window = hours(text)
    start = at(day)
    assert not any(window.open(start + minute * 60) for minute in range(12 * 60))
    assert 5 * 86400 < window.until(start) - start < 8 * 86400


def test_windows_that_meet_are_one() -> None:
    both = hours("Mon 08:00-12:00 UTC", "Mon 12:00-18:00 UTC", "Mon 17:00-20:00 UTC")
    assert both.until(at("2026-11-23T09:00+00:00")) == at("2026-11-23T20:00+00:00")
    night = hours("Mon-Sun 22:00-24:00 UTC", "Mon-Sun 00:00-06:00 UTC")
    assert night.until(at("2026-11-23T23:00+00:00")) == at("2026-11-24T06:00+00:00")


def test_what_is_always_open_is_looked_at_again() -> None:
    always = hours("Mon-Sun 00:00-24:00 Europe/Berlin")
    now = at("2026-10-24T12:00+00:00")
    assert always.open(now)
    assert 5 * 86400 < always.until(now) - now < 30 * 86400


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Sat-Mon 07:00-19:00 UTC", "Mon,Sat,Sun 07:00-19:00 UTC"),
        ("Mon-Fri 07:00-19:00 UTC", "Mon-Fri 07:00-19:00 UTC"),
        ("Mon,Wed-Thu  07:00-24:00  Etc/GMT+5", "Mon,Wed,Thu 07:00-24:00 Etc/GMT+5"),
        ("Mon-Mon 00:00-24:00 UTC", "Mon 00:00-24:00 UTC"),
    ],
)
def test_a_window_reads_as_it_is_written(text: str, shown: str) -> None:
    assert str(parse_window(text)) == shown
    assert parse_window(shown) == parse_window(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", EXPECTED),
        ("Mon 07:00-19:00", EXPECTED),
        ("mon 07:00-19:00 UTC", EXPECTED),
        ("Mon- 07:00-19:00 UTC", EXPECTED),
        ("Mon 7:00-19:00 UTC", EXPECTED),
        ("Mon 07:00-19:00 ../../etc/passwd", EXPECTED),
        ("Mon 07:00-19:00 UTC+1;", EXPECTED),
        ("Mon 24:00-24:00 UTC", "expected times from 00:00 to 24:00"),
        ("Mon 07:60-19:00 UTC", "expected times from 00:00 to 24:00"),
        ("Mon 07:00-24:01 UTC", "expected times from 00:00 to 24:00"),
        ("Mon 07:00-19:00 Europe/Atlantis", "expected a time zone such as Europe/Berlin or UTC, found Europe/Atlantis"),
        ("Mon 07:00-19:00 Europe", "expected a time zone such as Europe/Berlin or UTC, found Europe"),
        ("Mon 07:00-19:00 localtime", "expected a time zone such as Europe/Berlin or UTC, found localtime"),
        ("Mon 07:00-19:00 right/UTC", "expected a time zone such as Europe/Berlin or UTC, found right/UTC"),
        ("Mon \u0660\u0667:00-19:00 UTC", EXPECTED),
    ],
)
def test_a_wrong_window_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_window(text)


def test_a_wrong_window_is_pointed_at() -> None:
    text = "version: 1\nsegments: {a: {groups: [a]}}\nrules:\n"
    windows = "[Mon 07:00-19:00 UTC, Mon 07:00-19:00 Mars/Base]"
    with pytest.raises(InputError) as caught:
        parse_policy(text + f"  - {{id: r, from: [a], to: [a], services: [any], when: {{hours: {windows}}}}}", "p")
    (problem,) = caught.value.problems
    assert str(problem).startswith("p:4:")
    assert "rules[0].when.hours[1]: expected a time zone" in str(problem)


DAYS = st.lists(st.sampled_from(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")), min_size=1, max_size=3, unique=True)
CLOCK = st.builds(lambda hour, minute: f"{hour:02}:{minute:02}", st.integers(0, 23), st.sampled_from((0, 15, 30, 59)))
WINDOWS = st.builds(
    lambda days, begins, ends, zone: f"{','.join(days)} {begins}-{ends} {zone}",
    DAYS,
    CLOCK,
    CLOCK | st.just("24:00"),
    st.sampled_from(ZONES),
)
MOMENTS = st.integers(int(at("2011-01-01T00:00+00:00")), int(at("2030-01-01T00:00+00:00")))
CHANGES = [
    *map(at, ("2026-03-28T20:00+00:00", "2026-10-24T20:00+00:00", "2026-10-03T12:00+00:00", "2026-04-04T12:00+00:00")),
    *map(at, ("2026-03-08T00:00+00:00", "2026-11-01T00:00+00:00", "2011-12-29T12:00+00:00")),
]


@given(
    st.lists(WINDOWS, min_size=1, max_size=3),
    MOMENTS | st.builds(lambda change, more: int(change) + more, st.sampled_from(CHANGES), st.integers(0, 50000)),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=10, max_size=10),
)
@example(["Sun 02:30-02:30 Europe/Berlin"], int(at("2026-03-28T20:00+00:00")), [0.1, 0.5])
def test_it_opens_and_closes_only_at_the_moments_that_it_names(
    texts: list[str], start: int, between: list[float]
) -> None:
    open_at = hours(*texts)
    moments = [float(start)]
    while len(moments) < 12:
        moments.append(open_at.until(moments[-1]))
    for begins, end in pairwise(moments):
        assert end > begins
        state = open_at.open(begins)
        for part in (*between, 1.0):
            assert open_at.open(min(begins + (end - begins) * part, math.nextafter(end, 0))) is state


@given(WINDOWS, MOMENTS)
def test_away_from_changes_of_the_clock_it_is_open_when_the_clock_says_so(text: str, moment: int) -> None:
    """The other way to say it, for all zones: by what a clock on the wall shows."""
    window = parse_window(text)
    zone = ZoneInfo(window.zone)
    wall = datetime.fromtimestamp(moment, zone)
    around = {datetime.fromtimestamp(moment + 3600 * off, zone).utcoffset() for off in range(-49, 50)}
    if len(around) > 1:
        return
    minute = wall.hour * 60 + wall.minute
    today, yesterday = wall.weekday() in window.days, (wall.weekday() - 1) % 7 in window.days
    if window.ends > window.begins:
        expected = today and window.begins <= minute < window.ends
    else:
        expected = (today and minute >= window.begins) or (yesterday and minute < window.ends)
    assert Hours((window,)).open(moment) is expected


@given(
    st.text(max_size=60)
    | st.builds(
        " ".join,
        st.tuples(st.text("MonTueFri,-", max_size=12), st.text("0123456789:-", max_size=12), st.text(max_size=20)),
    )
)
def test_whatever_the_text_it_is_a_window_or_an_error(text: str) -> None:
    """Nothing else is raised, and what is read can be asked."""
    with suppress(ValueError):
        assert Hours((parse_window(text),)).until(0.0) > 0.0
