"""CEL with the attributes that expressions can refer to declared: the language's own checker finds what is wrong.

The library is loaded with the first expression. Its wheels are for Python 3.11 and later.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from zethane.document import closest
from zethane.errors import ExpressionError
from zethane.net.prefix import parse_prefix
from zethane.policy.attributes import TYPES

if TYPE_CHECKING:
    from cel_expr_python.cel import Env, Expression

MAX_SAID = 3
"""Problems of one expression that are told."""

MAX_LOOPS = 3
"""Loops in one expression; only one where there is a `+`, and none beside a regular expression.

The library bounds depth and iterations, but not what one iteration costs: a value that each of many loops doubles, or a
costly expression on every one of ten thousand. What is left takes 0.3 seconds at the most that was found.
"""

_LOOP = re.compile(r"\b(?:all|exists|exists_one|filter|map)(?:\s|//[^\n]*\n)*\(")
_TEXT = re.compile(r"""[rR][bB]?"[^"]*"|[rR][bB]?'[^']*'|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""")
_UNUSUAL = ('"""', "'''", "//")

_ERROR = re.compile(r"^(?:INVALID_ARGUMENT: )?ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?: \[[A-Z_]+\])?$", re.MULTILINE)
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)' \(in container ''\)")


class Language:
    """The environment in which expressions are checked and run."""

    def __init__(self) -> None:
        try:
            from cel_expr_python import cel
        except ImportError:
            raise ExpressionError("expressions need Python 3.11 or later, on a platform of cel-expr-python") from None
        self._cel = cel
        self._without: dict[str, Env] = {}
        self._env = self._environment(TYPES)

    def program(self, text: str) -> Expression:
        """The expression, checked. Raises ExpressionError."""
        _bound_loops(text)
        try:
            program = self._env.compile(text)
        except Exception as error:  # noqa: BLE001 - the library raises RuntimeError for most, and more for odd text
            raise ExpressionError(_told(str(error))) from None
        kind = program.return_type().name()
        if kind not in ("BOOL", "DYN"):
            raise ExpressionError(f"expected an expression that is true or false, found one of type {kind.lower()}")
        return program

    def names_in(self, text: str) -> frozenset[str]:
        """The attributes that a right expression refers to: those without which it would be wrong."""
        return frozenset(name for name in TYPES if name.rpartition(".")[2] in text and self._needs(text, name))

    def _needs(self, text: str, name: str) -> bool:
        if name not in self._without:
            self._without[name] = self._environment({other: kind for other, kind in TYPES.items() if other != name})
        try:
            self._without[name].compile(text)
        except Exception:  # noqa: BLE001 - as above
            return True
        return False

    def _environment(self, types: dict[str, str]) -> Env:
        cel = self._cel
        kinds = cel.Type
        known = {
            "bool": kinds.BOOL,
            "int": kinds.INT,
            "string": kinds.STRING,
            "timestamp": kinds.TIMESTAMP,
            "list(string)": kinds.List(kinds.STRING),
            "map(string, string)": kinds.Map(kinds.STRING, kinds.STRING),
            "map(string, dyn)": kinds.Map(kinds.STRING, kinds.DYN),
        }
        variables = {name: known[kind] for name, kind in types.items()}
        return cel.NewEnv(variables=variables, functions=self._functions())

    def _functions(self) -> list[Any]:
        """`cidr("198.51.100.0/24").containsIP(subject.address)`, as Kubernetes has it."""
        cel = self._cel
        text, truth = cel.Type.STRING, cel.Type.BOOL
        prefix = cel.Overload("string_to_cidr", return_type=text, parameters=[text], impl=_cidr)
        holds = cel.Overload(
            "cidr_contains_ip", return_type=truth, parameters=[text, text], is_member=True, impl=_contains
        )
        return [cel.FunctionDecl("cidr", [prefix]), cel.FunctionDecl("containsIP", [holds])]


@lru_cache(maxsize=1)
def language() -> Language:
    """The one environment that there is. Raises ExpressionError where the library is missing."""
    return Language()


def _bound_loops(text: str) -> None:
    """Raise ExpressionError for more loops than are allowed.

    Text in quotes counts only where it cannot be told from the rest for certain.
    """
    bare = text if any(mark in text for mark in _UNUSUAL) else _TEXT.sub("''", text)
    loops, most, beside = list(_LOOP.finditer(bare)), MAX_LOOPS, ""
    if re.search(r"\bmatches\b", bare):
        most, beside = 0, " beside matches"
    elif "+" in bare:
        most, beside = 1, " beside a +"
    if len(loops) > most:
        raise ExpressionError(f"expected at most {most} of all, exists, exists_one, filter and map{beside}")


def _cidr(text: str) -> str:
    return str(parse_prefix(text))


def _contains(prefix: str, address: str) -> bool:
    return ip_address(address) in parse_prefix(prefix)


def _told(message: str) -> str:
    """What the library says, with the place in the expression first."""
    found = []
    for line, column, what in _ERROR.findall(message)[:MAX_SAID]:
        undeclared = _UNDECLARED.match(what)
        if undeclared is not None:
            name = undeclared[1]
            what = f"there is no {name}{closest(name, TYPES)}"
        what = what.split(" expecting ")[0]
        found.append(f"{line}:{column}: {what}" if int(line) > 0 else what)
    return "; ".join(found)[:400] or message.partition("\n")[0][:200]
