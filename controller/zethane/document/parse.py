"""YAML text to a validated, frozen model whose every value can still be pointed at."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from zethane.document.compose import compose
from zethane.document.node import Node, Place, dotted
from zethane.document.problems import problems_of
from zethane.errors import InputError, Problem

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Document(Generic[M]):
    """A model, and where in its file each of its values stands."""

    value: M
    file: str
    root: Node = field(repr=False)

    def place(self, *path: str | int, key: bool = False) -> tuple[int, int]:
        """Line and column, from 1, of the value at `path`, or of its key.

        A value that the file leaves out is at the innermost value around it that is there.
        """
        node = key_node = self.root
        for step in path:
            found = node.child(step)
            if found is None:
                return node.line, node.column
            key_node, node = found
        return (key_node.line, key_node.column) if key else (node.line, node.column)

    def where(self, *path: str | int, key: bool = False) -> Place:
        """The same with the file and the dotted path."""
        return Place(self.file, *self.place(*path, key=key), dotted(path))

    def problem(self, message: str, *path: str | int, key: bool = False) -> Problem:
        """A finding at the value at `path`, or at its key."""
        return Problem(self.file, message, *self.place(*path, key=key), dotted(path) or None)


def parse(text: str, file: str, model: type[M]) -> Document[M]:
    """The document in `text` as `model`. `file` only names it in problems.

    Values are held against the model as JSON's would be: strictly, with sequences for tuples and sets.
    Raises InputError with everything that is wrong.
    """
    return read(compose(text, file), file, model)


def read(root: Node, file: str, model: type[M]) -> Document[M]:
    """The tree of a document, or of a part of one, as `model`. Raises InputError with everything that is wrong."""
    try:
        value = model.model_validate_json(json.dumps(root.value()), strict=True)
    except ValidationError as error:
        # The cause is not chained: pydantic's error carries the values, secrets among them.
        raise InputError(problems_of(error, root, file, model)) from None
    return Document(value, file, root)
