"""Secrets from a terminal, without echo, or from standard input, one a line. Never from the command line."""

from __future__ import annotations

import getpass
import sys

from zethane.errors import InputError, Problem

MAX_LINE = 2048
"""Characters of a line."""


def read_secret(prompt: str, *, again: bool = False) -> str:
    """A secret that must be there; `again`: a terminal asks twice. Raises InputError."""
    secret = read_optional(prompt)
    if not secret:
        raise InputError([Problem("standard input", f"expected a line with the {prompt.lower()}")])
    if again and sys.stdin.isatty() and read_optional(f"{prompt} again") != secret:
        raise InputError([Problem("terminal", "the two are not the same")])
    return secret


def read_optional(prompt: str) -> str:
    """A secret, or nothing at the end of the input or on an empty line. Raises InputError."""
    if sys.stdin.isatty():
        return getpass.getpass(f"{prompt}: ")
    try:
        line = sys.stdin.readline(MAX_LINE + 1)
    except UnicodeDecodeError:
        raise InputError([Problem("standard input", "expected text in UTF-8")]) from None
    if len(line) > MAX_LINE:
        raise InputError([Problem("standard input", f"expected at most {MAX_LINE} characters a line")])
    return line.rstrip("\r\n")
