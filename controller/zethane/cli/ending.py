"""How a command ends: 0 done, 1 the answer is no, 2 the input is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from zethane.errors import InputError

EXIT_DONE, EXIT_NO, EXIT_INPUT = 0, 1, 2


@contextmanager
def told_problems() -> Iterator[None]:
    """End with status 2 and a line per problem on standard error when the input is wrong."""
    try:
        yield
    except InputError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        raise typer.Exit(EXIT_INPUT) from None
