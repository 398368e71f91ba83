"""Boxes with lines of text from which edges go to other boxes, in columns, as one SVG picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from zethane.render.layers import Item, Layout, Route, Wire, layers_of, layout
from zethane.render.svg import attribute, cut, element, text, title, width
from zethane.render.theme import STYLE

NAME_SIZE, LINE_SIZE = 12.0, 10.0
HEAD, LINE, PAD = 24.0, 15.0, 8.0
MARGIN = 18.0
MOST = 44
"""Characters of a line; hovering shows all of it."""

WEAK = ("denied",)
"""Kinds of edges that play no role for the columns of the boxes."""

ARC = 42.0
"""How far a wire between two boxes of one column goes out."""

ALONE_MIN = 150.0
"""Width of a box without edges, at least."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a box: what it says, the boxes to which edges go from it, and how those look (see theme.KINDS)."""

    label: str
    kind: str
    targets: tuple[int, ...]
    hover: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """A box: its name, what stands at the right of it, its lines, and the classes that it is drawn with."""

    name: str
    note: str = ""
    lines: tuple[Line, ...] = ()
    classes: tuple[str, ...] = ()
    hover: str = ""
    stacked: bool = False

    @property
    def height(self) -> float:
        """In pixels."""
        return HEAD + (len(self.lines) * LINE + 6 if self.lines else 0)

    @property
    def width(self) -> float:
        """In pixels, of all that it says."""
        head = width(cut(self.name, MOST), NAME_SIZE) + (width(self.note, LINE_SIZE) + 12 if self.note else 0)
        return max(head, *(width(cut(line.label, MOST), LINE_SIZE) for line in self.lines), 0.0) + 2 * PAD


def picture(
    boxes: Sequence[Box],
    heading: str,
    description: str,
    legend: Mapping[str, str],
    columns: Sequence[int] | None = None,
    captions: Sequence[str] = (),
) -> str:
    """The picture. `legend` says what each kind of edge means; `columns` are those of the boxes, found if not given."""
    return _Picture(boxes, columns, captions).draw(heading, description, legend)


class _Picture:
    def __init__(self, boxes: Sequence[Box], columns: Sequence[int] | None, captions: Sequence[str]) -> None:
        busy = {number for number, box in enumerate(boxes) for line in box.lines for number in (number, *line.targets)}
        shown = [number for number in range(len(boxes)) if number in busy or columns is not None]
        self._alone = [box for number, box in enumerate(boxes) if number not in busy and columns is None]
        again = {number: index for index, number in enumerate(shown)}
        busy_boxes = [boxes[number] for number in shown]
        lines = [
            tuple(replace(line, targets=tuple(again[target] for target in line.targets)) for line in box.lines)
            for box in busy_boxes
        ]
        self._boxes = [replace(box, lines=found) for box, found in zip(busy_boxes, lines, strict=True)]
        self._wire()
        strong = [wire for wire, (_, line) in zip(self._wires, self._lines, strict=True) if line.kind not in WEAK]
        where = columns if columns is not None else layers_of(len(self._boxes), strong)
        self._layout = layout([box.height for box in self._boxes], self._wires, where)
        self._sort_lines()
        self._captions = captions
        self._measure()

    def _wire(self) -> None:
        """Lines in the order of the boxes, each with its wire."""
        self._lines = [(index, line) for index, box in enumerate(self._boxes) for line in box.lines]
        self._wires = [
            Wire(index, tuple(t for t in line.targets if t != index), HEAD + (row + 0.5) * LINE + 2)
            for index, box in enumerate(self._boxes)
            for row, line in enumerate(box.lines)
        ]

    def _sort_lines(self) -> None:
        """Put the lines of each box in the order of where their edges go, so that those do not cross."""
        items = self._layout.items
        goes: dict[int, list[float]] = {}
        for route in self._layout.routes:
            if items[route.start].box is not None:
                end = items[route.end]
                goes.setdefault(route.wire, []).append(end.y + end.height / 2)
        middle = {wire: sum(ends) / len(ends) for wire, ends in goes.items()}
        first = 0
        again = [0] * len(self._wires)
        for index, box in enumerate(self._boxes):
            order = sorted(range(first, first + len(box.lines)), key=lambda wire: middle.get(wire, 0.0))
            for place, wire in enumerate(order):
                again[wire] = first + place
            self._boxes[index] = replace(box, lines=tuple(box.lines[wire - first] for wire in order))
            first += len(box.lines)
        self._wire()
        routes = tuple(replace(route, wire=again[route.wire]) for route in self._layout.routes)
        self._layout = replace(self._layout, routes=routes)

    def _measure(self) -> None:
        found: Layout = self._layout
        pieces = Counter(min(found.items[r.start].column, found.items[r.end].column) for r in found.routes)
        self._left: list[float] = []
        self._wide: list[float] = []
        at = MARGIN
        for number, column in enumerate(found.columns):
            widths = [self._boxes[box].width for item in column if (box := found.items[item].box) is not None]
            self._left.append(at)
            self._wide.append(max(widths, default=20.0))
            at += self._wide[-1] + min(170.0, 56 + 1.5 * pieces[number])
        self.width = (
            max((left + wide for left, wide in zip(self._left, self._wide, strict=True)), default=0.0) + MARGIN + ARC
        )
        self._top = MARGIN + 34 + (18 if self._captions else 0)
        self._bottom = self._top + max((item.y + item.height for item in found.items), default=0.0)

    def draw(self, heading: str, description: str, legend: Mapping[str, str]) -> str:
        body = [element("text", text(heading), x=MARGIN, y=MARGIN + 12, class_="heading")]
        for left, caption in zip(self._left, self._captions, strict=False):
            body.append(element("text", text(caption), x=left, y=self._top - 12, class_="faint"))
        body += self._ways()
        body += (self._box(number, item) for number, item in enumerate(self._layout.items) if item.box is not None)
        across = max(self.width, width(heading, 15) + 2 * MARGIN, 460.0)
        bottom = self._bottom
        if self._alone:
            drawn, bottom = self._without_edges(across, bottom + 34)
            body += drawn
        drawn, bottom = _legend(legend, across, bottom + 34)
        body += drawn
        return document("".join(body), across, bottom + MARGIN, heading, description)

    def _ways(self) -> Iterator[str]:
        ways: dict[int, list[str]] = {}
        tips: dict[int, list[str]] = {}
        for route in self._layout.routes:
            way, tip = self._piece(route)
            ways.setdefault(route.wire, []).append(way)
            tips.setdefault(route.wire, []).append(tip)
        for number, (index, line) in enumerate(self._lines):
            if number in ways:
                path = "".join(ways[number])
                drawn = element("path", d=path, class_="hit") + element("path", d=path, class_="way")
                drawn += element("path", d="".join(tips[number]), class_="tip")
                about = title(f"{self._boxes[index].name}: {line.hover or line.label}")
                ends = " ".join(map(str, (index, *line.targets)))
                yield element("g", about + drawn, class_=f"wire {line.kind}", data_ends=ends)

    def _piece(self, route: Route) -> tuple[str, str]:
        """The way of a piece of a wire, and the arrowhead if it ends there."""
        items = self._layout.items
        start, end = items[route.start], items[route.end]
        around = start.column == end.column
        x1, y1 = self._leaves(start, route.forward, self._wires[route.wire].port)
        x2, y2 = self._enters(end, route.forward and not around)
        tip = ""
        if route.ends:
            x2 -= 7 if route.forward and not around else -7
            tip = _tip(x2, y2, route.forward and not around)
        bend1, bend2 = (ARC, ARC) if around else ((x2 - x1) / 2, (x1 - x2) / 2)
        way = f"M{_n(x1)} {_n(y1)}C{_n(x1 + bend1)} {_n(y1)} {_n(x2 + bend2)} {_n(y2)} {_n(x2)} {_n(y2)}"
        if not route.ends:
            way += f"h{_n(self._wide[end.column] * (1 if route.forward else -1))}"
        return way, tip

    def _leaves(self, item: Item, forward: bool, port: float) -> tuple[float, float]:
        x = self._left[item.column] + (self._wide[item.column] if forward else 0)
        return x, self._top + item.y + (port if item.box is not None else item.height / 2)

    def _enters(self, item: Item, forward: bool) -> tuple[float, float]:
        x = self._left[item.column] + (0 if forward else self._wide[item.column])
        return x, self._top + item.y + (HEAD / 2 if item.box is not None else item.height / 2)

    def _box(self, number: int, item: Item) -> str:
        left, wide = self._left[item.column], self._wide[item.column]
        return _drawn(self._boxes[number], left, self._top + item.y, wide, number)

    def _without_edges(self, across: float, top: float) -> tuple[list[str], float]:
        """Boxes that no edge goes to or from, in rows below the others."""
        wide = max(ALONE_MIN, *(box.width for box in self._alone))
        columns = max(1, int((across - 2 * MARGIN + 12) // (wide + 12)))
        drawn = [element("text", "nothing opens to or from these", x=MARGIN, y=top, class_="faint")]
        for number, box in enumerate(self._alone):
            row, column = divmod(number, columns)
            drawn.append(_drawn(box, MARGIN + column * (wide + 12), top + 12 + row * (HEAD + 10), wide))
        return drawn, top + 12 + -(-len(self._alone) // columns) * (HEAD + 10)


def _drawn(box: Box, x: float, y: float, wide: float, number: int | None = None) -> str:
    body = [title(box.hover or box.name)]
    if box.stacked:
        body.append(element("rect", x=x + 4, y=y - 4, width=wide, height=box.height, rx=4, class_="box"))
    body.append(element("rect", x=x, y=y, width=wide, height=box.height, rx=4, class_="box"))
    band = f"M{_n(x + 1)} {_n(y + HEAD - 1)}h{_n(wide - 2)}v-{_n(HEAD - 2)}h-{_n(wide - 2)}z"
    body.append(element("path", d=band, class_="head"))
    body.append(element("text", text(cut(box.name, MOST)), x=x + PAD, y=y + 16, class_="name"))
    if box.note:
        body.append(element("text", text(box.note), x=x + wide - PAD, y=y + 16, class_="faint", text_anchor="end"))
    for row, line in enumerate(box.lines):
        label = element("text", text(cut(line.label, MOST)), x=x + PAD, y=y + HEAD + row * LINE + 13, class_=line.kind)
        body.append(element("g", title(line.hover or line.label) + label))
    named = {} if number is None else {"data_node": number}
    return element("g", "".join(body), class_=" ".join(("node", *box.classes)), **named)


def _tip(x: float, y: float, forward: bool) -> str:
    """An arrowhead of 7 pixels, from its base at x."""
    step = 7 if forward else -7
    return f"M{_n(x)} {_n(y - 3.5)}l{step} 3.5l{-step} 3.5z"


def _legend(legend: Mapping[str, str], across: float, top: float) -> tuple[list[str], float]:
    drawn, x, y = [], MARGIN, top
    for kind, meaning in legend.items():
        wide = width(meaning, LINE_SIZE) + 62
        if x > MARGIN and x + wide > across:
            x, y = MARGIN, y + 18
        way = element("path", d=f"M{_n(x)} {_n(y)}h27", class_="way")
        tip = element("path", d=_tip(x + 27, y, True), class_="tip")
        drawn.append(element("g", way + tip, class_=kind) + element("text", text(meaning), x=x + 40, y=y + 3.5))
        x += wide
    return drawn, y


def document(body: str, wide: float, high: float, heading: str, description: str) -> str:
    """A picture of this size that stands for itself."""
    # Several pictures in one page must not have the same ids.
    one = sha256(f"{heading}{description}{body}".encode()).hexdigest()[:8]
    about = element("title", text(heading), id=f"t{one}") + element("desc", text(description), id=f"d{one}")
    paper = element("rect", width=wide, height=high, class_="paper")
    return element(
        "svg",
        f"{about}<style>{STYLE}</style>{paper}{body}",
        xmlns="http://www.w3.org/2000/svg",
        width=wide,
        height=high,
        viewBox=f"0 0 {attribute(wide)} {attribute(high)}",
        class_="z",
        role="img",
        aria_labelledby=f"t{one} d{one}",
    )


def _n(value: float) -> str:
    """A coordinate, as short as it may be."""
    return f"{value:.1f}".removesuffix(".0")
