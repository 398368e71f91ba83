"""A policy as the text of a file, one line per entry, with comments. What is written reads back as the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zethane.document.scalar import plain

_BARE = re.compile(r"[A-Za-z0-9/](?:[A-Za-z0-9_./-]|:(?=[A-Za-z0-9]))*(?: -> [A-Za-z0-9_./:-]+)?")
"""Text that needs no quotes inside brackets, unless YAML has a meaning of its own for it. No prefix of IPv6 is among it
that ends in a colon."""


_WORDS = frozenset(("y", "n", "yes", "no", "on", "off"))
"""What other readers, of YAML 1.1, take for true or false."""

WIDTH = 120
"""Characters of a line, where it can be broken."""


@dataclass(frozen=True, slots=True)
class Written:
    """One rule or test as plain values, with the lines of comment above it."""

    values: Mapping[str, Any]
    comments: tuple[str, ...] = ()


def policy_text(
    head: Sequence[str],
    segments: Mapping[str, Mapping[str, Any]],
    services: Mapping[str, Sequence[str]],
    rules: Sequence[Written],
    tests: Sequence[Written] = (),
) -> str:
    """policy.yaml. `head` are lines of comment at the top; all else has the keys of the file's models."""
    lines = [*map(_comment, head), "version: 1", "", "segments:"]
    lines += (f"  {_scalar(name)}: {_flow(selector)}" for name, selector in segments.items())
    if services:
        lines += ["", "services:"]
        lines += (f"  {_scalar(name)}: {_flow(list(words))}" for name, words in services.items())
    lines += ["", "rules:" if rules else "rules: []", *_entries(rules)]
    if tests:
        lines += ["", "tests:", *_entries(tests)]
    return "\n".join(lines) + "\n"


def _entries(entries: Iterable[Written]) -> Iterable[str]:
    for entry in entries:
        yield from (f"  {_comment(line)}" for line in entry.comments)
        yield from _broken(f"  - {_flow(entry.values)}")


def _broken(line: str) -> Iterable[str]:
    """A line broken behind commas. In a text with quotes the break stands for the blank behind the comma."""
    while len(line) > WIDTH:
        at = line.rfind(", ", 8, WIDTH)
        if at < 0 or line[at + 2 : at + 3] == " ":
            break
        yield line[: at + 1]
        line = "      " + line[at + 2 :]
    yield line


def _comment(text: str) -> str:
    """A line of comment; what names hosts come from cannot end it."""
    return "# " + "".join(character if character.isprintable() else "?" for character in text) if text else "#"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value) and plain(value) == value and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
