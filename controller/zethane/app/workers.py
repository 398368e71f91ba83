"""Long work in a process of its own: what takes seconds of computing leaves the interpreter to the event loop.

The process is started for one piece of work, and gives way to everything else on the machine. What it needs and what
it says goes through pipes, pickled; a thread takes that apart, in which the event loop can come between. Whatever
becomes of the process, the caller gets what was asked for or an error.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from zethane.errors import InputError, ZethaneError

T = TypeVar("T")

TIMEOUT = 300.0
"""Seconds that a piece of work may take."""

NICE = 10
"""How much it gives way: where one core has to do for both, it gets a tenth of it as long as the controller is busy."""

_DONE, _REFUSED = "done", "refused"


class WorkerError(ZethaneError):
    """The process ended without an answer, took too long, or could not be started."""


async def in_process(work: Callable[..., T], *arguments: object) -> T:
    """What `work` returns: a function of a module. Raises the InputError that it raises, and WorkerError.

    When this is cancelled the process ends.
    """
    worker = _Worker(work, arguments)
    try:
        return await asyncio.to_thread(worker.run)
    except asyncio.CancelledError:
        worker.kill()
        raise


class _Worker:
    """One piece of work, from a thread."""

    def __init__(self, work: Callable[..., Any], arguments: tuple[object, ...]) -> None:
        self._asked = (work, arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    def run(self) -> Any:
        asked = pickle.dumps(self._asked, pickle.HIGHEST_PROTOCOL)
        try:
            with subprocess.Popen(
                [sys.executable, "-m", "zethane.app.workers"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # of ordinary weight, not that of the controller's
            ) as process:
                self._process = process
                try:
                    answer, _ = process.communicate(None if self._killed else asked, TIMEOUT)
                finally:
                    process.kill()
        except subprocess.TimeoutExpired:
            raise WorkerError(f"it took more than {TIMEOUT:g} s") from None
        except OSError as error:
            raise WorkerError(f"no process can be started for it: {error.strerror or error}") from error
        return _taken_apart(answer, process.returncode)

    def kill(self) -> None:
        self._killed = True
        if self._process is not None:
            self._process.kill()


def _taken_apart(answer: bytes, status: int) -> Any:
    try:
        word, value = pickle.loads(answer)  # noqa: S301  # our own process has said it, through a pipe of ours
    except Exception as error:
        raise WorkerError(f"its process ended without an answer, status {status}") from error
    if word == _REFUSED:
        raise InputError(value)
    if word != _DONE:
        raise WorkerError(str(value))
    return value


def main() -> None:
    """Do the work that standard input names, and write what comes of it to standard output."""
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    # What the work prints must not get into the answer.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    work, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301  # from the process that has started this one
    try:
        said = (_DONE, work(*arguments))
    except InputError as error:
        said = (_REFUSED, error.problems)
    except Exception as error:  # noqa: BLE001  # whatever it is, the controller goes on without what was asked for
        said = ("failed", f"{type(error).__name__}: {error}")
    with answer:
        pickle.dump(said, answer, pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    main()
