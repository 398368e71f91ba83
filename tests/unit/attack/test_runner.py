"""What a result means for the exit status, and what is shown."""

from __future__ import annotations

import pytest

from attack.runner import Result
from attack.scenario import Scenario
from attack.view import report, summary

SCENARIO = Scenario("name", "group", "reference", "tried", "success", lambda _: None, ("rarp",))


@pytest.mark.parametrize(
    ("status", "protected", "unprotected"),
    [
        ("held", True, False),
        ("passed", False, True),
        ("unproven", False, False),
        ("harmed", False, False),
        ("failed", False, False),
        ("skipped", True, True),
    ],
)
def test_what_is_wanted(status, protected: bool, unprotected: bool) -> None:
    result = Result(SCENARIO, status)
    assert result.as_wanted(protected=True) is protected
    assert result.as_wanted(protected=False) is unprotected


def test_the_report_counts_and_names_everything() -> None:
    results = [Result(SCENARIO, "held"), Result(SCENARIO, "passed", {"one": "1 frame at web1"}, seconds=1.234)]
    told = report(results, "campus", protected=True)
    assert told["summary"] == summary(results)
    assert (told["summary"]["attacks"], told["summary"]["held"], told["summary"]["passed"]) == (2, 1, 1)
    assert told["results"][1]["variants"] == {"one": "1 frame at web1"}
    assert told["results"][1]["seconds"] == 1.23
