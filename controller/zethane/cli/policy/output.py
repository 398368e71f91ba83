"""Where the policy's commands write what is no table: files, or standard output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import typer

from zethane.errors import InputError, Problem


def write(target: str, content: str) -> None:
    """Text into a file, or to standard output for `-`. Raises InputError if it cannot be written."""
    if target == "-":
        typer.echo(content)
        return
    with writing(target):
        Path(target).write_text(content, encoding="utf-8")


def write_new(texts: Mapping[Path, str], *, force: bool | None = None) -> list[str]:
    """Texts into files that are not there yet, or with `force` are; their names. None: the command has no such option.

    Raises InputError: for all that are there, before any is written.
    """
    there = [file for file in texts if file.exists()]
    if there and not force:
        message = "is there already" if force is None else "is there already; --force writes over it"
        raise InputError([Problem(str(file), message) for file in there])
    for file, text in texts.items():
        # "x": what appeared in between is not written over either.
        with writing(str(file)), file.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(text)
    return [str(file) for file in texts]


@contextmanager
def writing(target: str) -> Iterator[None]:
    """What fails about a file is an InputError that names it."""
    try:
        yield
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise InputError([Problem(str(error.filename or target), message)]) from None
