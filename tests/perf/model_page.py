"""The model of cost as a part of a page in Markdown: slopes, messages, flows per core, and a site that is reckoned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from perf.measured import Measured
from perf.model import Found, PerFlow, Projected, Scenario, laws, per_flow, projection

_DASH = "\N{EN DASH}"
_MESSAGES = (
    ("octets_there", "octets to the controller: a packet-in"),
    ("messages_back", "messages to the switch: two flow-mods, a packet-out"),
    ("octets_back", "octets of these"),
    ("octets_end", "octets to the controller at its end: flow-removed"),
)


def page(measured: Measured, site: Scenario) -> str:
    """The whole part, without a heading of its own."""
    found = laws(measured)
    costs = per_flow(measured, found)
    parts = [
        _slopes(found),
        _messages(measured),
        _costs(costs),
        _projected(list(projection(found, costs, site)), site),
        [f"- {', '.join(f'{name} {value}' for name, value in about.items())}" for about in measured.about],
    ]
    return "\n".join("\n".join([*part, ""]) for part in parts if part)


def _slopes(found: Iterable[Found]) -> Iterator[str]:
    yield from (
        "Least squares over the medians. The residual is the greatest distance of a point from the fit, over the",
        "greatest figure; where there are no more points than numbers to be found, there is none.",
        "",
    )
    yield from _table(["what", "fixed", "and for each", "residual", "`./run bench …`"])
    for one in found:
        law = one.law
        if one.fit is None:
            yield _row([law.text, _DASH, ", ".join(law.things), one.missing, law.benchmark])
            continue
        each = ", ".join(
            f"{_short(slope)} {law.unit} per {thing}" for slope, thing in zip(one.fit.slopes, law.things, strict=True)
        )
        residual = f"{100 * one.fit.residual:.1f} %" if one.fit.is_held else f"{one.fit.points} points"
        yield _row([law.text, f"{_short(one.fit.constant)} {law.unit}", each, residual, law.benchmark])


def _messages(measured: Measured) -> Iterator[str]:
    columns = [("setup", "zethane", 0, "within a switch")]
    columns += [
        ("scale", "10-across", at, "between two switches")
        for at, _ in measured.series("scale", "10-across", "messages_back")
    ][-1:]
    yield from _table(["a new flow", *(text for *_, text in columns)])
    for key, text in _MESSAGES:
        values = [measured.get(benchmark, side, key, at) for benchmark, side, at, _ in columns]
        yield _row([text, *(_DASH if value is None else _short(value) for value in values)])


def _costs(costs: Sequence[PerFlow]) -> Iterator[str]:
    yield from _table([
        "processor time of a flow", "set up, µs", "with its end, its records and all else, µs",
        "of which the controller at rest, µs", "flows/s on a core without that",
    ])  # fmt: skip
    for cost in costs:
        figures = (f"{figure:,.2f}" for figure in (cost.set_up, cost.whole, cost.besides))
        yield _row([cost.text, *figures, f"{cost.per_core:,.0f}"])


def _projected(found: Sequence[Projected], site: Scenario) -> Iterator[str]:
    yield from (
        f"A site of {site.switches:,} switches, {site.endpoints:,} endpoints and {site.rules:,} rules, where each"
        f" endpoint opens {site.flows:g} flows per",
        f"second that live for {site.seconds:g} s. Nothing of this was measured: it is the slopes above, continued.",
        "What lies beyond the largest that was measured is named.",
        "",
    )
    yield from _table(["what", "figure", "from", "beyond what was measured"])
    for one in found:
        yield _row([one.text, f"{_short(one.figure)} {one.unit}".strip(), one.how, one.beyond or _DASH])


def _table(headings: Sequence[str]) -> Iterator[str]:
    yield _row(headings)
    yield _row(["---"] * len(headings))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _short(value: float) -> str:
    """Three digits, and whole numbers from a hundred up."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
