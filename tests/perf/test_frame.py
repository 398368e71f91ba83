"""The frame of the benchmarks: rounds, ratios, goals, tables, JSON and pictures, with a benchmark of fixed figures."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lab.interrupts import Interrupts
from perf.benchmark import Axis, Benchmark, Measure, Run, Turn, benchmarks, registered, run_rounds
from perf.goals import TIMES, apart, at_least, at_most, growth, median_of, ratio, within
from perf.pictures import draw
from perf.report import Report, rows, write_json, write_markdown
from perf.results import Result

FIGURES = {("a", 1): (10.0, 30.0, 20.0), ("b", 1): (5.0, 10.0, 4.0), ("a", 10): (40.0, 40.0, 40.0)}


class Fixed(Benchmark):
    """Always the same figures; the second side cannot do the second point."""

    name = "fixed"
    title = "fixed figures <&> $x^2$"
    sides: ClassVar = {"a": "A <&>", "b": "B|$2$"}
    measures = (Measure("rate", "rate", "per second"), Measure("only_a", "of one side", "", digits=1, is_log=True))
    pairs = (("a", "b"),)
    axis = Axis("flows", "live flows", (1, 10))
    goals = (
        at_least("a / b", ratio("rate", "a", "b", 1), 3, TIMES),
        at_most("median of a", median_of("rate", "a", 10), 40),
        at_most("growth of a", growth("rate", "a", 1, 10), 1.5, TIMES),
        within("all of them", apart("rate"), 20),
        at_most("what nobody measured", median_of("rate", "b", 10), 1),
    )

    def can(self, side: str, point: int) -> bool:
        return (side, point) in FIGURES

    def turn(self, side: str, number: int, point: int) -> Turn:
        turn = {"rate": FIGURES[side, point][number], "beside": 7.0}
        return turn | {"only_a": 1.0} if side == "a" else turn


@pytest.fixture
def result() -> Result:
    run: Any = None  # the ledger of a real run is of no use to fixed figures
    made = Result(Fixed(run))
    run_rounds(made.benchmark, 3, lambda _: None, made.add)
    return made


def test_every_other_round_turns_the_order_round() -> None:
    run: Any = None
    order: list[tuple[str, int]] = []
    run_rounds(Fixed(run), 2, lambda _: None, lambda side, point, _: order.append((side, point)))
    assert order == [("a", 1), ("b", 1), ("a", 10), ("a", 10), ("b", 1), ("a", 1)]


def test_ratios_are_those_of_each_rounds_pair(result: Result) -> None:
    assert result.ratios("a", "b", "rate", 1) == [2.0, 3.0, 5.0]
    assert result.ratios("a", "b", "rate", 10) == []


def test_goals_are_held_against_the_medians(result: Result) -> None:
    outcomes = result.outcomes()
    assert [(one.figure, one.is_met) for one in outcomes[:3]] == [(3.0, True), (40.0, True), (2.0, False)]
    assert outcomes[3].figure == pytest.approx(87.5)  # of 5, 20 and 40
    assert not outcomes[3].is_met
    assert not outcomes[4].is_measured
    assert not outcomes[4].is_met


def test_a_table_has_a_row_for_each_measure_and_point(result: Result) -> None:
    assert list(rows(result)) == [
        ["measure", "live flows", "A <&>", "B|$2$", "A <&> / B|$2$"],
        ["rate, per second", "1", "20 (10\N{EN DASH}30)", "5 (4\N{EN DASH}10)", "3.00 (2.00\N{EN DASH}5.00)"],
        ["rate, per second", "10", "40", "\N{EN DASH}", "\N{EN DASH}"],
        ["of one side", "1", "1.0", "\N{EN DASH}", "\N{EN DASH}"],
        ["of one side", "10", "1.0", "\N{EN DASH}", "\N{EN DASH}"],
    ]


def test_files_hold_every_figure_and_nothing_that_a_reader_would_run(result: Result, tmp_path: Path) -> None:
    report = Report([result], {"other": "it <failed>"}, {"processor": "some"}, 3, is_quick=False)
    write_json(tmp_path / "figures.json", report)
    told = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    fixed = told["benchmarks"]["fixed"]
    assert len(fixed["rounds"]) == 9
    assert fixed["rounds"][0] == {"side": "a", "at": 1, "round": 1, "rate": 10.0, "beside": 7.0, "only_a": 1.0}
    assert fixed["goals"][-1] == {
        "text": "what nobody measured", "wanted": "≤ 1", "measured": None, "is_met": False
    }  # fmt: skip
    assert told["failed"] == {"other": "it <failed>"}
    write_markdown(tmp_path / "figures.md", report)
    page = (tmp_path / "figures.md").read_text(encoding="utf-8")
    assert "B\\|$2$" in page
    assert "MISSED: growth of a ≤ 1.5 \N{MULTIPLICATION SIGN}: 2" in page
    assert "<&" not in page
    assert "it <" not in page


def test_a_picture_shows_text_as_it_is(result: Result, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (file,) = draw([result], tmp_path / "pictures")
    drawn = ElementTree.parse(file)  # noqa: S314  # written a moment ago
    texts = {element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"fixed figures <&> $x^2$", "A <&>", "B|$2$", "live flows"} <= texts
    assert not [text for text in texts if text and "mathdefault" in text]
    assert not list(drawn.iter("{http://www.w3.org/2000/svg}script"))


def test_every_benchmark_says_what_it_is() -> None:
    for name, kind in benchmarks().items():
        assert name == kind.name
        assert kind.title
        assert kind.sides
    with pytest.raises(ValueError, match="two benchmarks are called setup"):
        registered(type("Another", (Fixed,), {"name": "setup"}))


def test_a_run_knows_where_its_files_are(tmp_path: Path) -> None:
    class Book:
        directory = tmp_path
        environment: ClassVar = {"A": "b"}

    book: Any = Book()
    run = Run(book, Interrupts())
    assert (run.folder, run.tagged) == (tmp_path, {"A": "b"})
