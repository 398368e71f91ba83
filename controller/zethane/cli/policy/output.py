"""Where the policy's commands write what is no table: a file, or standard output."""

from __future__ import annotations

from pathlib import Path

import typer

from zethane.errors import InputError, Problem


def write(target: str, content: str) -> None:
    """Text into a file, or to standard output for `-`. Raises InputError if it cannot be written."""
    if target == "-":
        typer.echo(content)
        return
    try:
        Path(target).write_text(content, encoding="utf-8")
    except OSError as error:
        raise InputError([Problem(target, f"cannot be written: {error.strerror}")]) from None
