"""What the edges of a graph say."""

from __future__ import annotations

from zethane.policy.graph import Edge, Mark

MEANING = {
    "always": "open",
    "conditional": "open under a condition",
    "staged": "staged: would be open",
    "denied": "denied by a rule",
    "gained": "+ gained",
    "lost": "\N{MINUS SIGN} lost",
}


def edge_kind(edge: Edge) -> str:
    """How it is drawn."""
    return edge.kind if edge.change == "same" else edge.change


def edge_sign(edge: Edge) -> str:
    """What stands before its text, so that colour is not all that tells its kind."""
    sign = {"gained": "+ ", "lost": "\N{MINUS SIGN} ", "same": ""}[edge.change]
    return f"{sign}\N{MULTIPLICATION SIGN} " if edge.kind == "denied" else sign


def edge_text(edge: Edge) -> str:
    """All that it says, a line for each of its marks."""
    return "\n".join(f"{edge_sign(edge)}{mark_text(mark)}" for mark in edge.marks)


def mark_text(mark: Mark) -> str:
    """`tcp/443 staff-web if mfa`."""
    asked = f" if {', '.join(mark.conditions)}" if mark.conditions else ""
    return f"{', '.join(mark.services)} {'+'.join(mark.rules)}{asked}"
