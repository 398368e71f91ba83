"""The graph of a policy as a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from zethane.document import count, some
from zethane.policy.graph import Edge, Graph, Mark, Node
from zethane.render.boxes import Box, Line, picture
from zethane.render.graph_text import MEANING, edge_kind, edge_sign, mark_text
from zethane.render.grid_svg import grid_svg
from zethane.render.layers import Wire, lanes, layers_of

LINES = 14
"""Lines of one box; what is more becomes one line."""

SHOWN = 60
"""Names of the members of a group that are shown on hovering."""


FEW = 24
"""Nodes up to which a picture is made of lines, however many."""

EDGES, LANES = 4, 6
"""Edges, and columns that edges pass, for each node, above which a matrix is more legible than lines."""

Style = Literal["auto", "columns", "grid"]


def graph_svg(found: Graph, heading: str, style: Style = "auto") -> str:
    """The picture: boxes in columns with lines between them, or a matrix (`grid`); `auto` takes what is legible."""
    if style == "grid" or (style == "auto" and len(found.nodes) > FEW and _is_tangled(found)):
        return grid_svg(found, heading)
    return columns_svg(found, heading)


def _is_tangled(found: Graph) -> bool:
    if sum(len(edge.targets) for edge in found.edges) > EDGES * len(found.nodes):
        return True
    number = {node.name: index for index, node in enumerate(found.nodes)}
    wires = [Wire(number[edge.source], tuple(number[target] for target in edge.targets)) for edge in found.edges]
    return lanes(wires, layers_of(len(found.nodes), wires)) > LANES * len(found.nodes)


def columns_svg(found: Graph, heading: str) -> str:
    """A box for each node, with a line for each of its edges."""
    number = {node.name: index for index, node in enumerate(found.nodes)}
    leaving: dict[str, list[Edge]] = defaultdict(list)
    for edge in found.edges:
        leaving[edge.source].append(edge)
    boxes = [_box(node, leaving[node.name], number) for node in found.nodes]
    used = {edge_kind(edge) for edge in found.edges}
    edges = sum(len(edge.targets) for edge in found.edges)
    sizes = f"{count(len(found.nodes), 'node')}, {count(edges, 'edge')}"
    description = f"{sizes}: which segments may open which services to which others."
    return picture(boxes, heading, description, {kind: text for kind, text in MEANING.items() if kind in used})


def _box(node: Node, edges: Sequence[Edge], number: dict[str, int]) -> Box:
    lines = [_line(edge, mark, number) for edge in edges for mark in edge.marks]
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], _rest(lines[LINES - 1 :])]
    hosts = count(node.hosts, "host")
    note = {"any": "every segment", "network": "outside"}.get(node.kind, hosts)
    if node.kind == "group":
        note = f"{len(node.places)} segments, {hosts}"
    hover = f"{some(node.places, SHOWN)}\n{note}" if node.places else note
    classes = ("outside",) if node.kind == "network" else ()
    name = node.name.removeprefix("to ") if node.kind == "any" else node.name
    return Box(name, note, tuple(lines), classes, hover, stacked=node.kind == "group")


def _rest(lines: Sequence[Line]) -> Line:
    targets = tuple(dict.fromkeys(target for line in lines for target in line.targets))
    return Line(f"and {len(lines)} more", lines[0].kind, targets, "\n".join(line.hover for line in lines))


def _line(edge: Edge, mark: Mark, number: dict[str, int]) -> Line:
    itself = " (among themselves)" if edge.source in edge.targets else ""
    label = f"{edge_sign(edge)}{mark_text(mark)}{itself}"
    hover = f"{label}\nto {', '.join(edge.targets[:SHOWN])}"
    return Line(label, edge_kind(edge), tuple(number[target] for target in edge.targets), hover)
