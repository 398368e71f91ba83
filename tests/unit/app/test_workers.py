"""Work in a process of its own: its result or its error, and never a wait without an end, whatever happens to it."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from zethane.app import workers
from zethane.app.workers import WorkerError, in_process
from zethane.errors import InputError, Problem


def process_and_priority() -> tuple[int, int]:
    return os.getpid(), os.getpriority(os.PRIO_PROCESS, 0)


def noisy(words: str) -> str:
    print("this is no answer")
    return words


@dataclass(frozen=True, slots=True)
class Large:
    """Some of it has many members, and all that is reckoned from them is not said."""

    names: tuple[str, ...]
    numbers: Mapping[str, int]
    few: tuple[str, ...] = ()
    count: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", len(self.names) + len(self.numbers))


LARGE = Large(
    tuple(f"name{number}" for number in range(1000)), {f"number{number}": number for number in range(777)}, ("one",)
)


def large() -> Large:
    return LARGE


def unfinished() -> Large:
    return replace(LARGE, names=(*LARGE.names, BREAKING))  # type: ignore[arg-type]  # its last member ends the process


class Breaking:
    def __reduce__(self) -> str:
        os._exit(5)


BREAKING = Breaking()


def refusing() -> None:
    raise InputError([Problem("policy.yaml", "expected something else", 3)])


def failing() -> None:
    raise ValueError("this went wrong")


def dying() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def ending() -> None:
    os._exit(3)


def endless(started: str) -> None:
    Path(started).write_text(str(os.getpid()), encoding="utf-8")
    threading.Event().wait()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


async def test_the_result_comes_from_another_process_that_gives_way() -> None:
    process, priority = await in_process(process_and_priority)
    assert process != os.getpid()
    assert priority > os.getpriority(os.PRIO_PROCESS, 0)


async def test_a_large_result_comes_in_parts_and_is_the_same() -> None:
    found = await in_process(large)
    assert (found, list(found.numbers), found.count) == (LARGE, list(LARGE.numbers), 1777)
    assert (type(found.names), type(found.numbers)) == (tuple, dict)


async def test_a_result_that_breaks_off_is_an_error() -> None:
    with pytest.raises(WorkerError, match="status 5"):
        await in_process(unfinished)


async def test_no_call_into_c_takes_a_large_result_apart_as_a_whole() -> None:
    whole = len(pickle.dumps(LARGE, pickle.HIGHEST_PROTOCOL))
    stream = io.BytesIO()
    workers._write(LARGE, stream)
    sizes, end = [], len(stream.getvalue())
    stream.seek(0)
    while (begun := stream.tell()) < end:
        pickle.load(stream)  # noqa: S301  # written above
        sizes.append(stream.tell() - begun)
    assert max(sizes) < whole / 10


async def test_what_the_work_prints_is_not_its_answer() -> None:
    assert await in_process(noisy, "all well") == "all well"


async def test_a_wrong_input_is_told_as_if_it_had_been_read_here() -> None:
    with pytest.raises(InputError) as refusal:
        await in_process(refusing)
    assert refusal.value.problems == (Problem("policy.yaml", "expected something else", 3),)


@pytest.mark.parametrize(
    ("work", "words"), [(failing, "ValueError: this went wrong"), (dying, "status -9"), (ending, "status 3")]
)
async def test_a_process_that_fails_is_an_error(work: object, words: str) -> None:
    with pytest.raises(WorkerError, match=words):
        await in_process(work)  # type: ignore[arg-type]  # one of the functions above


async def test_work_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zethane.app.workers.TIMEOUT", 3.0)
    started = tmp_path / "started"
    with pytest.raises(WorkerError, match="more than 3 s"):
        await in_process(endless, str(started))
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text(encoding="utf-8")), 0)


async def test_work_that_nobody_waits_for_any_more_is_ended(tmp_path: Path) -> None:
    started = tmp_path / "started"
    task = asyncio.get_running_loop().create_task(in_process(endless, str(started)))
    await asyncio.to_thread(wait_until, lambda: started.exists() and started.read_text(encoding="utf-8") != "")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    process = Path("/proc", started.read_text(encoding="utf-8"))
    await asyncio.to_thread(wait_until, lambda: not process.exists())


async def test_where_no_process_can_be_started_that_is_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(WorkerError, match="no process can be started"):
        await in_process(process_and_priority)
