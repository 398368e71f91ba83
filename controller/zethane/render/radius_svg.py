"""A blast radius as a picture: a column for each hop; and the scores of all segments as bars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from zethane.document import count
from zethane.policy.access import asks
from zethane.policy.blast_radius import BlastRadius, Reached, compare
from zethane.policy.model import Rule
from zethane.policy.reach import Step
from zethane.render.boxes import MARGIN, MOST, Box, Line, document, picture
from zethane.render.svg import cut, element, text, title, width

MEANING = {
    "always": "open",
    "conditional": "open under a condition",
    "gained": "+ gained",
    "lost": "\N{MINUS SIGN} lost",
}
SHOWN = 60
BAR, ROW = 260.0, 20.0


def radius_svg(found: BlastRadius, before: BlastRadius | None = None) -> str:
    """The picture of one start; with what was `before`, what a change gains and loses."""
    return _Radius(found, before).draw()


class _Radius:
    """The tree of shortest ways; leaves that differ in nothing but their names are one box."""

    def __init__(self, found: BlastRadius, before: BlastRadius | None) -> None:
        self._found = found
        change = {one.place: one.word for one in compare(before, found) if one.way == "hop"} if before else {}
        old = {one.place: one for one in before.reached} if before else {}
        lost = [old[place] for place, word in change.items() if word == "lost"]
        self._change = change
        self._reached = [*found.reached, *sorted(lost, key=lambda one: one.hop)]
        self._own = {*found.places, *(before.places if before else ())}
        self._column = self._columns()
        self._parents = {one.via.source for one in self._reached}

    def _columns(self) -> Mapping[str, int]:
        column: dict[str, int] = {}
        for one in self._reached:
            parent = 0 if one.via.source in self._own else column[one.via.source]
            column[one.place] = max(one.hop, parent + 1)
        return column

    def draw(self) -> str:
        found = self._found
        groups = self._groups()
        number = {one.place: index for index, group in enumerate(groups, 1) for one in group}
        lines: dict[int, list[Line]] = defaultdict(list)
        for index, group in enumerate(groups, 1):
            parent = group[0].via.source
            lines[0 if parent in self._own else number[parent]].append(self._line(group, index))
        start = Box(
            found.start,
            f"score {found.score:.0f}, now {found.score_now:.0f}",
            tuple(lines[0]),
            ("start", "critical") if found.critical else ("start",),
            f"{found.start}: the intruder",
        )
        boxes = [start, *(self._box(group, lines[index]) for index, group in enumerate(groups, 1))]
        columns = [0, *(self._column[group[0].place] for group in groups)]
        used = {line.kind for box in boxes for line in box.lines}
        legend = {kind: meaning for kind, meaning in MEANING.items() if kind in used}
        hops = max(columns)
        captions = ["the intruder", *(f"hop {hop}" for hop in range(1, hops + 1))]
        description = (
            f"{count(len(found.reached), 'place')} within reach of {found.start}, in at most {count(hops, 'hop')}."
        )
        return picture(boxes, f"Blast radius of {found.start}", description, legend, columns, captions)

    def _groups(self) -> list[list[Reached]]:
        groups: dict[object, list[Reached]] = defaultdict(list)
        for one in self._reached:
            alone = one.critical or one.place in self._parents
            kind = (one.via.source, _step(one.via), self._kind(one), one.outside, one.hop_now is None)
            groups[(one.place,) if alone else (*kind, self._column[one.place])].append(one)
        return list(groups.values())

    def _kind(self, one: Reached) -> str:
        word = self._change.get(one.place, "")
        return word if word in ("gained", "lost") else "always" if one.via.always else "conditional"

    def _line(self, group: Sequence[Reached], index: int) -> Line:
        kind = self._kind(group[0])
        sign = {"gained": "+ ", "lost": "\N{MINUS SIGN} "}.get(kind, "")
        label = sign + _step(group[0].via)
        return Line(label, kind, (index,), f"{label}\nto {', '.join(one.place for one in group[:SHOWN])}")

    def _box(self, group: Sequence[Reached], lines: Sequence[Line]) -> Box:
        first = group[0]
        hosts = sum(len(one.hosts) for one in group)
        note = "outside" if first.outside else count(hosts, "host")
        if first.hop_now is None and self._kind(first) != "lost":
            note += ", not now"
        name = first.place if len(group) == 1 else f"{first.place} + {len(group) - 1}"
        names = ", ".join(one.place for one in group[:SHOWN])
        classes = ("outside",) if first.outside else ("critical",) if first.critical else ()
        name = f"{name} *" if first.critical else name
        present = ", ".join(host for one in group for host in one.hosts[:SHOWN])
        hover = f"{names}\n{note}: {present}" if present else f"{names}\n{note}"
        return Box(name, note, tuple(lines), classes, hover, stacked=len(group) > 1)


def _step(step: Step) -> str:
    parts = []
    for piece in step.pieces:
        rules = "+".join(map(_rule, piece.rules)) if not piece.always else "+".join(rule.id for rule in piece.rules)
        unless = "".join(f" unless {rule.id}" for rule in piece.denies)
        parts.append(f"{piece} {rules}{unless}")
    return "; ".join(parts)


def _rule(rule: Rule) -> str:
    return rule.id + (f" if {' and '.join(asks(rule))}" if rule.is_conditional else "")


def scores_svg(found: Sequence[BlastRadius], before: Sequence[BlastRadius] | None = None) -> str:
    """Bars of the scores, in the order given; with what they were `before` a change, if that is given."""
    heading = "Blast radius by segment"
    longest = max((width(cut(one.start, MOST), 10) for one in found), default=0.0) + 24
    old = {one.start: one.score for one in before or ()}
    body = [element("text", heading, x=MARGIN, y=MARGIN + 12, class_="heading")]
    said = "score with every condition met; the mark is that of now" + ("; hollow: before" if before else "")
    body.append(element("text", said, x=MARGIN, y=MARGIN + 30, class_="faint"))
    for index, one in enumerate(found):
        body += _bar(one, old.get(one.start), MARGIN + longest, MARGIN + 44 + index * ROW)
    across = max(MARGIN + longest + BAR + 150, width(said, 10) + 2 * MARGIN)
    high = MARGIN + 44 + len(found) * ROW + MARGIN
    description = f"The scores of {len(found)} segments and networks, from 0 to 100, the highest first."
    return document("".join(body), across, high, heading, description)


def _bar(one: BlastRadius, old: float | None, left: float, top: float) -> Iterator[str]:
    critical = ", ".join(one.critical_places[:6])
    about = f"{one.start}: {one.score:.1f}, now {one.score_now:.1f}" + (f"\nreaches {critical}" if critical else "")
    name = f"{cut(one.start, MOST)}{' *' if one.critical else ''}"
    parts = [title(about), element("text", text(name), x=left - 10, y=top + 12, text_anchor="end")]
    long, now = one.score / 100 * BAR, one.score_now / 100 * BAR
    parts.append(element("rect", x=left, y=top + 3, width=BAR, height=12.0, class_="head"))
    kind = "denied" if critical else "always"
    bar = element("rect", x=left, y=top + 3, width=long, height=12.0, class_="tip")
    parts.append(element("g", bar, class_=kind))
    if old is not None:
        parts.append(element("rect", x=left, y=top + 3, width=old / 100 * BAR, height=12.0, class_="before"))
    parts.append(element("rect", x=left + now - 1, y=top + 1, width=2.0, height=16.0, class_="now"))
    label = f"{one.score:.1f}" + (f" (was {old:.1f})" if old is not None and abs(old - one.score) >= 0.05 else "")
    label += " critical" if critical else ""
    parts.append(element("text", text(label), x=left + BAR + 8, y=top + 12))
    yield element("g", "".join(parts))
