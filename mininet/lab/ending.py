"""How commands of the lab end: their exit status, and what is told when they could not go on."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

import typer

from lab.errors import LabError, Terminated
from zethane.errors import InputError, Problem

EXIT_DONE, EXIT_NO, EXIT_INPUT = 0, 1, 2


def tell_problems(problems: Sequence[Problem]) -> None:
    """One a line, on standard error."""
    for problem in problems:
        typer.echo(str(problem), err=True)


def status_of(work: Callable[[], int], what: str, tell: Callable[[Sequence[Problem]], None] = tell_problems) -> int:
    """The exit status of `work`, or of what ended it; `what` stopped then: `The attacks`."""
    try:
        return work()
    except InputError as error:
        tell(error.problems)
        return EXIT_INPUT
    except (LabError, OSError) as error:
        typer.echo(f"{what} stopped: {error}", err=True)
        return EXIT_NO
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Terminated as terminated:
        return 128 + terminated.signum
