"""A YAML document as a tree whose every node knows where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from zethane.document.text import MAX_QUOTED, quote

Scalar = str | int | float | bool | None
Value = Scalar | list["Value"] | dict[str, "Value"]


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file. Lines and columns count from 1; `key` is the dotted path to the value."""

    file: str
    line: int
    column: int
    key: str = ""


@dataclass(slots=True)
class Node:
    """One value of the document: a scalar, a list of nodes, or named nodes.

    `size` counts the nodes in it, itself included, `characters` those of their scalars, and `height` the levels
    below it.
    """

    line: int
    column: int
    scalar: Scalar = field(default=None, repr=False)  # may be a secret
    items: list[Node] | None = None
    members: dict[str, tuple[Node, Node]] | None = None
    size: int = 1
    characters: int = 0
    height: int = 0

    def value(self) -> Value:
        """The plain Python value. The depth is bounded by whoever built the tree."""
        if self.members is not None:
            return {name: child.value() for name, (_, child) in self.members.items()}
        if self.items is not None:
            return [item.value() for item in self.items]
        return self.scalar

    def child(self, step: str | int) -> tuple[Node, Node] | None:
        """The key's node and the value's node below this one; an item of a list is its own key."""
        if self.members is not None and isinstance(step, str):
            return self.members.get(step)
        if self.items is not None and isinstance(step, int) and 0 <= step < len(self.items):
            return self.items[step], self.items[step]
        return None

    def adopt(self, child: Node) -> None:
        """Count a finished child in."""
        self.size += child.size
        self.characters += child.characters
        self.height = max(self.height, child.height + 1)


def dotted(path: Sequence[str | int]) -> str:
    """`rules[3].from[0]` for ("rules", 3, "from", 0)."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            word = step if step.isprintable() and len(step) <= MAX_QUOTED else quote(step)
            text += f".{word}" if text else word
    return text
