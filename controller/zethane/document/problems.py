"""What pydantic found, in the file's own terms: line, column, key, and what was expected."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from zethane.document.compose import MAX_PROBLEMS
from zethane.document.node import Node, dotted
from zethane.document.text import closest, count, quote
from zethane.errors import Problem

Path = tuple[str | int, ...]

_EXPECTED = {
    "string_type": "expected text; a number, true, false or null needs quotes to be text",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "set_type": "expected a list",
    "frozen_set_type": "expected a list",
    "dict_type": "expected keys and values",
    "model_type": "expected keys and values",
    "model_attributes_type": "expected keys and values",
    "missing": "this key is required and missing",
}
_TEMPLATES = {
    "literal_error": "expected {expected}",
    "enum": "expected {expected}",
    "string_too_long": "expected at most {characters}",
    "string_too_short": "expected at least {characters}",
    "too_short": "expected at least {entries}",
    "too_long": "expected at most {entries}",
    "greater_than_equal": "expected at least {ge}",
    "less_than_equal": "expected at most {le}",
    "greater_than": "expected more than {gt}",
    "less_than": "expected less than {lt}",
    "string_pattern_mismatch": "expected text that matches {pattern}",
    "value_error": "{error}",
}


def problems_of(error: ValidationError, root: Node, file: str, model: type[BaseModel]) -> list[Problem]:
    """One Problem per place, in the order of the file; alternatives for one value are joined by "or"."""
    found: dict[tuple[int, int, str], list[tuple[ErrorDetails, Path]]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        path, node = _locate(root, detail)
        found.setdefault((node.line, node.column, dotted(path)), []).append((detail, path))
    places = sorted(found)
    problems = []
    # Only for these: a message with a suggestion takes time, and there may be hundreds of thousands.
    for line, column, key in places[:MAX_PROBLEMS]:
        messages = (_message(detail, path, model) for detail, path in found[line, column, key])
        problems.append(Problem(file, " or ".join(dict.fromkeys(messages)), line, column, key or None))
    left = len(places) - MAX_PROBLEMS
    return [*problems, Problem(file, f"and {left} more problems")] if left > 0 else problems


def _locate(root: Node, detail: ErrorDetails) -> tuple[Path, Node]:
    """The path and the node to point at, following pydantic's location through the tree.

    Steps that are in no tree are pydantic's names for the members of a union; they are left out.
    """
    path: Path = ()
    key_node = node = root
    for step in detail["loc"]:
        found = node.child(step)
        if found is not None:
            key_node, node = found
            path = (*path, step)
    if detail["type"] == "missing":
        return (*path, detail["loc"][-1]), node
    return path, key_node if _is_about_key(detail) else node


def _is_about_key(detail: ErrorDetails) -> bool:
    return detail["type"] == "extra_forbidden" or detail["loc"][-1:] == ("[key]",)


def _message(detail: ErrorDetails, path: Path, model: type[BaseModel]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown_key(str(path[-1]), sorted(_known_keys(model, path[:-1])))
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    if kind in _TEMPLATES:
        return _TEMPLATES[kind].format(**_bounds(detail.get("ctx", {})))
    return detail["msg"].replace("Input should be", "expected")


def _bounds(context: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a message may say of them, lengths in words."""
    length = context.get("min_length", context.get("max_length"))
    if not isinstance(length, int):
        return context
    return {**context, "characters": count(length, "character"), "entries": count(length, "entry", "entries")}


def _unknown_key(word: str, known: list[str]) -> str:
    return f"unknown key {quote(word)}{closest(word, known) or ';'} expected one of: {', '.join(known)}"


def _known_keys(model: type[BaseModel], path: Path) -> set[str]:
    """The keys that the model knows at `path`."""
    candidates: set[Any] = {model}
    for step in path:
        candidates = {inner for outer in candidates for inner in _step(outer, step)}
    return {name for candidate in candidates for name in _fields(candidate)}


def _fields(annotation: Any) -> dict[str, Any]:
    """The keys of a model class with their annotations; none for any other annotation."""
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return {}
    return {info.alias or name: info.annotation for name, info in annotation.model_fields.items()}


def _step(annotation: Any, step: str | int) -> set[Any]:
    """The annotations that a value one step below one of `annotation` can have."""
    inner = _fields(annotation).get(str(step))
    arguments = [argument for argument in get_args(annotation) if argument is not Ellipsis]
    if inner is None and arguments:
        inner = arguments[-1]
    return _alternatives(inner) if inner is not None else set()


def _alternatives(annotation: Any) -> set[Any]:
    """The members of a union, without what Annotated wraps around them."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return {member for part in get_args(annotation) for member in _alternatives(part)}
    return {annotation}
