"""What a result means for the exit status, and what is shown."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from attack.runner import Result
from attack.scenario import Scenario
from attack.view import UNSEEN_WIDTH, WIDE, output, print_results, report, summary

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


@pytest.mark.parametrize("width", [80, WIDE, UNSEEN_WIDTH])
def test_all_is_shown_whatever_the_width(width: int) -> None:
    texts = ("port-amnesia", "group", "RFC 2131 §4", "a port that goes down", "success")
    scenario = Scenario(*texts, lambda _: None, ("rarp",))
    console = Console(width=width, file=io.StringIO())
    result = Result(scenario, "passed", {"one": "1 frame at web1", "two": ""}, logged="lldp-on-edge x4")
    print_results(console, [result], protected=True)
    lines = console.file.getvalue().splitlines()
    (first,) = [line for line in lines if "port-amnesia" in line]
    assert "RFC 2131 §4" in first
    assert "one: 1 frame at web1" in first
    assert "two" not in first
    below = first if width >= WIDE else " ".join(lines[1:])
    assert "a port that goes down" in below
    assert "lldp-on-edge x4" in below


def test_what_is_no_terminal_is_wide() -> None:
    assert output().width == UNSEEN_WIDTH
