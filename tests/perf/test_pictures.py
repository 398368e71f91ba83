"""Pictures can be read: labels are numbers, long titles are broken, and what is not there is not drawn."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import pytest

from lab.interrupts import Interrupts
from lab.ledger import Ledger
from lab.names import new_run_id
from perf.benchmark import Axis, Benchmark, Measure, Run
from perf.pictures import can_draw, draw
from perf.results import Result

pytestmark = pytest.mark.skipif(not can_draw(), reason="./run bench installs matplotlib")


class Drawn(Benchmark):
    name = "drawn"
    title = "A benchmark whose title says in so many words what it is about that no picture is wide enough for them"
    sides: ClassVar = {"one": "<one> & $\\alpha$", "other": "never measured"}
    measures = (
        Measure("narrow", "less than ten times apart", "s", is_log=True),
        Measure("wide", "some orders of magnitude", "", is_log=True),
        Measure("even", "an even one", "%"),
    )
    axis = Axis("flows", "flows", (0, 10, 1_000))


def picture(tmp_path: Path, scale: float = 1.0) -> str:
    result = Result(Drawn(Run(Ledger(new_run_id()), Interrupts())))
    for point, narrow in ((0, 0.5), (10, 0.6), (1_000, 0.55)):
        for more in (0, 1):
            turn = {"narrow": narrow * (1 + more / 9), "wide": scale * (7.0 + 30 * point + more), "even": 1.0}
            result.add("one", point, turn)
    (file,) = draw([result], tmp_path / "made")
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e5])
def test_labels_are_numbers_and_no_formulas(scale: float, tmp_path: Path) -> None:
    drawn = picture(tmp_path, scale)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert not [text for text in texts if "mathdefault" in text]
    assert "&lt;one&gt; &amp; $\\alpha$" in drawn
    assert "never measured" not in drawn
    numbers = [text for text in texts if re.fullmatch(r"[\d,.e+-]+", text)]
    assert len(numbers) > 3 * 3


def test_a_long_title_is_broken_so_that_it_fits(tmp_path: Path) -> None:
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", picture(tmp_path))
    assert Drawn.title not in texts
    assert all(len(text) <= 80 for text in texts)
    assert any(text and Drawn.title.startswith(text) for text in texts)
