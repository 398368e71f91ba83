"""YAML written by hand, to be read by people: one line for a short thing, its reason above it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from zethane.document import scalar

WIDTH = 120

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]*(:[A-Za-z0-9_./:-]*[A-Za-z0-9_./-])?")
_OTHER_WORDS = re.compile(r"(y|n|yes|no|on|off|true|false|null|~)|[0-9_:.+-]+|0[xob].*", re.IGNORECASE)
"""What YAML 1.1 takes for a truth value, a number or a time: readers other than this project's do."""


def word(text: str) -> str:
    """The text as a scalar, in quotes unless every reader takes it for text without them."""
    if _SAFE.fullmatch(text) and not _OTHER_WORDS.fullmatch(text) and isinstance(scalar.plain(text), str):
        return text
    return json.dumps(text, ensure_ascii=True)


def flow_list(words: Iterable[str]) -> str:
    """`[a, b]`."""
    return f"[{', '.join(map(word, words))}]"


def flow_map(pairs: Mapping[str, str]) -> str:
    """`{a: 1, b: 2}`; the values are YAML already."""
    return "{" + ", ".join(f"{word(key)}: {value}" for key, value in pairs.items()) + "}"


def item(pairs: Mapping[str, str], indent: str) -> str:
    """One entry of a list: on one line if it fits, else a line for each key, with long lists wrapped."""
    line = f"{indent}- {flow_map(pairs)}"
    if len(line) <= WIDTH:
        return line
    lines = [wrap(f"{indent}  {key}: {value}", f"{indent}    ") for key, value in pairs.items()]
    return f"{indent}- {lines[0].lstrip()}" + "".join(f"\n{one}" for one in lines[1:])


def wrap(line: str, indent: str) -> str:
    """A long line broken after its commas."""
    lines: list[str] = []
    rest = line
    while len(rest) > WIDTH:
        cut = rest.rfind(", ", len(indent), WIDTH)
        if cut < 0:
            cut = rest.find(", ", WIDTH)
        if cut < 0:
            break
        lines.append(rest[: cut + 1])
        rest = indent + rest[cut + 2 :]
    return "\n".join([*lines, rest])


def comment(text: str, indent: str = "", first: str = "") -> str:
    """Lines of a comment. Whatever is not printable is escaped: it would end the comment, or confuse a terminal."""
    clean = text if text.isprintable() else ascii(text)[1:-1]
    prefix, lines, line = f"{indent}# {first}", [], ""
    for part in clean.split(" "):
        if line and len(prefix) + len(line) + 1 + len(part) > WIDTH:
            lines.append(prefix + line)
            prefix, line = f"{indent}# {' ' * len(first)}", part
        else:
            line = f"{line} {part}" if line else part
    return "\n".join([*lines, prefix + line])
