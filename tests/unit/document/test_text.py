"""Counts in words."""

from __future__ import annotations

import pytest

from zethane.document import count


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((0, "rule"), "0 rules"),
        ((1, "rule"), "1 rule"),
        ((2, "loss"), "2 losses"),
        ((2, "switch"), "2 switches"),
        ((1_024, "address"), "1,024 addresses"),
        ((3, "flow that ended", "flows that ended"), "3 flows that ended"),
        ((1, "flow that ended", "flows that ended"), "1 flow that ended"),
    ],
)
def test_counts_are_said_as_people_say_them(given: tuple[int, str], words: str) -> None:
    assert count(*given) == words
