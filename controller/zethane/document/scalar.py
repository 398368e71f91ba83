"""The scalars of YAML 1.2's core schema (YAML 1.2.2 §10.3.2).

PyYAML resolves by YAML 1.1, where `22:22` is 1342, `yes` is true and `017` is 15; none of that is meant in
a file of this project.
"""

from __future__ import annotations

import re

from zethane.document.node import Scalar

MAX_NUMBER = 64
"""Characters of a number: Python's conversion takes quadratic time."""

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(
    r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
    r"|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)

_TYPES: dict[str, tuple[type, ...]] = {
    "tag:yaml.org,2002:null": (type(None),),
    "tag:yaml.org,2002:bool": (bool,),
    "tag:yaml.org,2002:int": (int,),
    "tag:yaml.org,2002:float": (float, int),
}
_STRING_TAGS = ("!", "tag:yaml.org,2002:str")


def plain(text: str) -> Scalar:
    """The value of a scalar written without quotes. Raises ValueError if it is a number too long."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789" or not _NUMBER.fullmatch(text):
        return text
    if len(text) > MAX_NUMBER:
        raise ValueError(f"expected a number of at most {MAX_NUMBER} characters")
    return _number(text)


def tagged(tag: str, text: str) -> Scalar:
    """The value of a scalar with an explicit tag. Raises ValueError if the tag or the text does not fit."""
    if tag in _STRING_TAGS:
        return text
    if tag not in _TYPES:
        raise ValueError("unknown tag; expected none, or one of !!str, !!int, !!float, !!bool, !!null")
    value = plain(text)
    if type(value) not in _TYPES[tag]:
        raise ValueError(f"expected a value that fits its tag !!{tag.rpartition(':')[2]}")
    return float(value) if tag.endswith("float") and isinstance(value, int) else value


def _number(text: str) -> int | float:
    if text.startswith(("0o", "0x")):
        return int(text, 0)
    if _DECIMAL.fullmatch(text):
        return int(text)
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
