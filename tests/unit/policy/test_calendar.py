"""Windows are the same if they are open at the same times, and a moment is found if there is one."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.rewriting import WINDOWS
from zethane.errors import CapacityError
from zethane.policy import calendar as module
from zethane.policy.calendar import Calendar
from zethane.policy.cube import Work
from zethane.policy.hours import Hours, parse_window

NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc).timestamp()


def hours(*texts: str) -> Hours:
    return Hours(tuple(map(parse_window, texts)))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            ("Mon-Fri 07:00-19:00 UTC",),
            ("Mon-Wed 07:00-19:00 UTC", "Thu,Fri 07:00-12:00 UTC", "Thu-Fri 12:00-19:00 UTC"),
            True,
        ),
        (("Mon 22:00-06:00 UTC",), ("Mon 22:00-24:00 UTC", "Tue 00:00-06:00 UTC"), True),
        (("Mon-Fri 07:00-19:00 Europe/Berlin",), ("Mon-Fri 07:00-19:00 Europe/Vienna",), True),
        # The same in winter only.
        (("Mon-Fri 07:00-19:00 Europe/Berlin",), ("Mon-Fri 06:00-18:00 UTC",), False),
        # The clock goes back on a Sunday: this one is longer then.
        (("Sun 00:00-24:00 Europe/Berlin",), ("Sat 23:00-24:00 UTC", "Sun 00:00-23:00 UTC"), False),
    ],
)
def test_the_same_windows_are_the_same(one: tuple[str, ...], other: tuple[str, ...], same: bool) -> None:
    found = Calendar(NOW)
    assert (found.same(hours(*one)) == found.same(hours(*other))) == same


def test_all_the_time_is_no_condition() -> None:
    assert Calendar(NOW).is_always(hours("Mon-Fri 00:00-24:00 Europe/Berlin", "Sat,Sun 00:00-24:00 Europe/Berlin"))
    assert not Calendar(NOW).is_always(hours("Mon-Fri 00:00-24:00 Europe/Berlin", "Sat 00:00-24:00 Europe/Berlin"))


@given(
    st.lists(st.sampled_from(WINDOWS), max_size=3), st.lists(st.sampled_from(WINDOWS), max_size=3), st.floats(0, 7e7)
)
def test_a_moment_is_as_asked_and_is_found_if_there_is_one(held: list[str], lacking: list[str], later: float) -> None:
    inside, outside = [hours(text) for text in held], [hours(text) for text in lacking]
    found = Calendar(NOW).moment(inside, outside, Work())

    def fits(moment: float) -> bool:
        return all(one.open(moment) for one in inside) and not any(one.open(moment) for one in outside)

    assert found is None or (found >= NOW and fits(found))
    if fits(NOW + min(later, module.HORIZON - 1)):
        assert found is not None


def test_windows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WINDOWS", 2)
    found = Calendar(NOW)
    found.spans(hours(*WINDOWS[:2]))
    with pytest.raises(CapacityError, match="more than 2 different windows"):
        found.spans(hours(WINDOWS[2]))
