"""The graph of a policy as an adjacency matrix: legible where edges are too many to be drawn as lines."""

from __future__ import annotations

from collections.abc import Iterator

from zethane.document import count
from zethane.policy.graph import Edge, Graph
from zethane.render.boxes import MARGIN, MOST, document
from zethane.render.graph_text import MEANING, edge_kind, edge_text
from zethane.render.svg import cut, element, text, title, width

CELL = 14.0
SIZE = 10.0
GUIDE = 5
"""Cells between two lines that guide the eye."""

MAX_TITLES = 8000
"""Cells up to which each says on hovering what it stands for."""


def grid_svg(found: Graph, heading: str) -> str:
    """The picture: who opens is in the rows, to whom in the columns."""
    names = [node.name for node in found.nodes]
    number = {name: index for index, name in enumerate(names)}
    longest = max((width(cut(name, MOST), SIZE) for name in names), default=0.0) + 10
    left, top = MARGIN + longest, MARGIN + 40 + longest
    side = len(names) * CELL
    body = [element("text", text(heading), x=MARGIN, y=MARGIN + 12, class_="heading")]
    body.append(element("text", "rows open to columns", x=MARGIN, y=MARGIN + 30, class_="faint"))
    body += _guides(len(names), left, top)
    for index, name in enumerate(names):
        middle = index * CELL + CELL / 2
        label, full = text(cut(name, MOST)), title(name)
        row = element("text", label, x=left - 5, y=top + middle + 3.5, text_anchor="end")
        column = element("text", label, transform=f"translate({left + middle + 3.5:.1f} {top - 5:.1f}) rotate(-90)")
        body.append(element("g", full + row) + element("g", full + column))
    cells = sum(len(edge.targets) for edge in found.edges)
    for edge in found.edges:
        body.append(_cells(edge, number, left, top, titles=cells <= MAX_TITLES))
    used = {edge_kind(edge) for edge in found.edges}
    x, bottom = MARGIN, top + side + 26
    for kind, meaning in MEANING.items():
        if kind in used:
            sign = element("g", element("path", d=_sign(kind, x, bottom - 11), class_="tip"), class_=kind)
            body.append(sign + element("text", text(meaning), x=x + CELL + 6, y=bottom))
            x += width(meaning, SIZE) + CELL + 28
    across = max(left + side + MARGIN, x, width(heading, 15) + 2 * MARGIN)
    description = (
        f"{count(len(names), 'place')} and {count(cells, 'opening')} between them, as a matrix: rows open to columns."
    )
    return document("".join(body), across, bottom + MARGIN, heading, description)


def _guides(count: int, left: float, top: float) -> Iterator[str]:
    side = count * CELL
    for index in range(0, count + 1, GUIDE):
        at = index * CELL
        yield element(
            "path", d=f"M{left:.1f} {top + at:.1f}h{side:.1f}M{left + at:.1f} {top:.1f}v{side:.1f}", class_="grid"
        )
    yield element("rect", x=left, y=top, width=side, height=side, class_="grid", fill="none")


def _cells(edge: Edge, number: dict[str, int], left: float, top: float, titles: bool) -> str:
    y = top + number[edge.source] * CELL
    kind = edge_kind(edge)
    ways = [(target, _sign(kind, left + number[target] * CELL, y)) for target in edge.targets]
    about = edge_text(edge)
    if titles:
        drawn = "".join(
            element("path", title(f"{edge.source} → {target}\n{about}"), d=way, class_="tip") for target, way in ways
        )
    else:
        drawn = title(f"{edge.source}\n{about}") + element("path", d="".join(way for _, way in ways), class_="tip")
    return element("g", drawn, class_=kind)


def _sign(kind: str, x: float, y: float) -> str:
    """A shape for each kind in a cell, so that they are told apart without colours."""
    x, y = x + 1.5, y + 1.5
    side = CELL - 3
    shapes = {
        "always": f"M{x:.1f} {y:.1f}h{side}v{side}h-{side}z",
        "conditional": f"M{x:.1f} {y:.1f}v{side}h{side}z",
        "staged": f"M{x + 3:.1f} {y + 3:.1f}h{side - 6}v{side - 6}h-{side - 6}z",
        "gained": f"M{x + 4:.1f} {y:.1f}h3v4h4v3h-4v4h-3v-4h-4v-3h4z",
        "lost": f"M{x:.1f} {y + 4:.1f}h{side}v3h-{side}z",
        "denied": f"M{x:.1f} {y + 2:.1f}l2-2 3.5 3.5 3.5-3.5 2 2-3.5 3.5 3.5 3.5-2 2-3.5-3.5-3.5 3.5-2-2 3.5-3.5z",
    }
    return shapes[kind]
