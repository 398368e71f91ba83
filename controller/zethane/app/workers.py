"""Long work in a process of its own: what takes seconds of computing leaves the interpreter to the event loop.

The process is started for one piece of work, and gives way to everything else on the machine. What it needs and what
it says goes through pipes, pickled; a thread takes that apart, in which the event loop can come between. To take one
pickle apart is one call into C, and what that knows of it goes in one piece, so large mappings and tuples are pickled
some members at a time. Whatever becomes of the process, the caller gets what was asked for or an error.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, BinaryIO, NamedTuple, TypeVar

from zethane.errors import InputError, ZethaneError

T = TypeVar("T")

TIMEOUT = 300.0
"""Seconds that a piece of work may take."""

NICE = 10
"""How much it gives way: where one core has to do for both, it gets a tenth of it as long as the controller is busy."""

PART = 64
"""Members of a mapping or tuple that are taken apart at once: some 0.2 ms, for rules."""

_DONE, _REFUSED, _PART = "done", "refused", "part"


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


class _Parts(NamedTuple):
    """A result without its large mappings and tuples, and these by the names of their fields."""

    head: Any
    large: dict[str, Any]


def _in_parts(value: object) -> _Parts:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return _Parts(value, {})
    every = {one.name: getattr(value, one.name) for one in dataclasses.fields(value) if one.init}
    large = {name: held for name, held in every.items() if type(held) in (dict, tuple) and len(held) > PART}
    return _Parts(dataclasses.replace(value, **{name: type(held)() for name, held in large.items()}), large)


def _write(value: object, stream: BinaryIO) -> None:
    head, large = _in_parts(value)
    _dump((_DONE, (head, {name: type(held) for name, held in large.items()})), stream)
    for name, held in large.items():
        left = iter(held.items() if isinstance(held, dict) else held)
        while part := [*islice(left, PART)]:
            _dump((_PART, (name, part)), stream)
    _dump((_DONE, None), stream)


def _dump(said: tuple[str, object], stream: BinaryIO) -> None:
    pickle.dump(said, stream, pickle.HIGHEST_PROTOCOL)


def _taken_apart(answer: bytes, status: int) -> Any:
    said = _said(answer, status)
    head, kinds = next(said)
    large: dict[str, list[Any]] = {name: [] for name in kinds}
    while (part := next(said)) is not None:
        name, members = part
        large[name] += members
    return dataclasses.replace(head, **_joined(large, kinds)) if kinds else head


def _joined(large: dict[str, list[Any]], kinds: dict[str, type]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, members in large.items():
        if kinds[name] is tuple:
            found[name] = tuple(members)  # takes no time for each of them
        else:
            found[name] = mapping = {}
            for key, one in members:
                mapping[key] = one  # noqa: PERF403  # one call for all would hold the interpreter's lock meanwhile
    return found


def _said(answer: bytes, status: int) -> Iterator[Any]:
    stream = io.BytesIO(answer)
    while True:
        try:
            word, value = pickle.load(stream)  # noqa: S301  # our own process has said it, through a pipe of ours
        except Exception as error:
            raise _no_answer(status) from error
        if word == _REFUSED:
            raise InputError(value)
        if word not in (_DONE, _PART):
            raise WorkerError(str(value))
        yield value


def _no_answer(status: int) -> WorkerError:
    return WorkerError(f"its process ended without an answer, status {status}")


def main() -> None:
    """Do the work that standard input names, and write what comes of it to standard output."""
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    # What the work prints must not get into the answer.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    work, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301  # from the process that has started this one
    with answer:
        try:
            _write(work(*arguments), answer)
        except InputError as error:
            _dump((_REFUSED, error.problems), answer)
        except Exception as error:  # noqa: BLE001  # whatever it is, the controller goes on without what was asked for
            _dump(("failed", f"{type(error).__name__}: {error}"), answer)


if __name__ == "__main__":
    main()
