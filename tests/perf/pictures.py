"""How a cost grows, as a picture: one SVG file for each benchmark that has an axis.

matplotlib draws it (`./run bench` installs it). Text stays text, which matplotlib escapes, and nothing of it is read
as a formula.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from textwrap import wrap
from typing import Any

from perf.results import Result

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "zethane",
    "text.parse_math": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
_MARKERS = "osD^vP*X"
_WIDTH, _HEIGHT = 7.0, 3.2
"""Inches; the height is that of one measure."""
_COLUMNS = 80
"""Of text in that width."""
_DECADE = 10.0


def can_draw() -> bool:
    """Whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(results: Iterable[Result], folder: Path) -> list[Path]:
    """Draw what has an axis into a folder, which is made; the files. Raises OSError."""
    return [_draw(result, folder) for result in results if result.benchmark.axis is not None and result.turns]


def _draw(result: Result, folder: Path) -> Path:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{result.benchmark.name}.svg"
    drawn = [measure for measure in result.benchmark.measures if measure.is_drawn]
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, _HEIGHT * len(drawn)), layout="constrained")
        figure.suptitle("\n".join(wrap(result.benchmark.title, _COLUMNS)), fontsize=10)
        for place, measure in zip(figure.subplots(len(drawn), squeeze=False)[:, 0], drawn, strict=True):
            _one_measure(place, result, measure.key)
            text = f"{measure.text}, {measure.unit}" if measure.unit else measure.text
            place.set_title("\n".join(wrap(text, _COLUMNS)), loc="left", fontsize=9)
            _scale(place, [one for _, _, values in result.every(measure.key) for one in values], is_log=measure.is_log)
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file


def _scale(place: Any, values: list[float], *, is_log: bool) -> None:
    """From nothing up, or by orders of magnitude where there are some."""
    from matplotlib.ticker import LogLocator, NullFormatter

    least, most = min(values, default=0.0), max(values, default=0.0)
    if is_log and 0 < least <= most / _DECADE:
        place.set_yscale("log")
        few = most / least < _DECADE**3
        place.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=20))
        place.yaxis.set_minor_formatter(NullFormatter())
    else:
        place.set_ylim(bottom=0)
    # Its own labels of logarithmic axes are formulas.
    place.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def _one_measure(place: Any, result: Result, key: str) -> None:
    """A line for each side through its medians, with a bar from the lowest to the highest of the rounds."""
    axis = result.benchmark.axis
    for number, (side, heading) in enumerate(result.benchmark.sides.items()):
        found = [(point, values) for point in result.points if (values := result.series(side, key, point))]
        if not found:
            continue
        points = [point for point, _ in found]
        middles = [median(values) for _, values in found]
        below = [middle - min(values) for middle, (_, values) in zip(middles, found, strict=True)]
        above = [max(values) - middle for middle, (_, values) in zip(middles, found, strict=True)]
        place.errorbar(
            points, middles, yerr=[below, above], marker=_MARKERS[number % len(_MARKERS)], capsize=3, label=heading
        )
    if axis is not None:
        place.set_xlabel(axis.text)
        if axis.is_log and min(axis.points) > 0:
            place.set_xscale("log")
        place.set_xticks(axis.points, [f"{point:,}" for point in axis.points])
        place.minorticks_off()
    place.legend(frameon=False)
