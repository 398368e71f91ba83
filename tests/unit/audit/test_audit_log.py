"""The decision log's file: nothing is lost silently, whatever the disk does."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from zethane.adapters.audit_log import BATCH, STREAM_QUEUE, AuditLog, _line

Record = dict[str, Any]
PATIENCE = 20.0


def record(number: int) -> Callable[[], Record]:
    return lambda: {"event": "test", "number": number}


def broken() -> Record:
    raise RuntimeError("this record cannot be made")


def lines(file: Path) -> list[Record]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def numbers(records: list[Record]) -> list[int]:
    return [record["number"] for record in records if record["event"] == "test"]


def wait_until(condition: Callable[[], bool]) -> None:
    """The writer is a real thread: look until it has come so far."""
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the writer did not get there"
        pause.wait(0.005)


def _rounded(number: float) -> float:
    """As times and lengths of time are in records: to the millisecond."""
    return round(number, 3)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "decisions.jsonl"


@pytest.fixture(autouse=True)
def _quick_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zethane.adapters.audit_log.RETRY", 0.01)


@contextmanager
def started(file: Path, **bounds: int) -> Iterator[AuditLog]:
    log = AuditLog(file, **bounds)
    log.start()
    try:
        yield log
    finally:
        log.close()


def test_all_that_was_written_is_in_the_file_in_order_when_it_closes(file: Path) -> None:
    with started(file) as log:
        for number in range(3 * BATCH):
            log.write(record(number))
    assert numbers(lines(file)) == list(range(3 * BATCH))
    assert log.lost == 0


def test_the_file_is_added_to_and_only_the_owner_can_read_it(file: Path) -> None:
    for number in range(2):
        with started(file) as log:
            log.write(record(number))
    assert numbers(lines(file)) == [0, 1]
    assert file.stat().st_mode & 0o777 == 0o600


def test_records_are_made_in_the_writers_thread(file: Path) -> None:
    made_by: list[str] = []

    def make() -> Record:
        made_by.append(threading.current_thread().name)
        return {"event": "test", "number": 1}

    with started(file) as log:
        log.write(make)
    assert made_by == ["decision-log"]


def test_a_line_that_a_killed_controller_left_unfinished_spoils_no_other(file: Path) -> None:
    file.write_bytes(b'{"event": "test", "number": 1}\n{"event": "te')
    with started(file) as log:
        log.write(record(2))
    first, torn, last = file.read_text("utf-8").splitlines()
    assert (json.loads(first)["number"], torn, json.loads(last)["number"]) == (1, '{"event": "te', 2)


def test_after_a_rename_records_go_to_a_new_file(file: Path) -> None:
    with started(file) as log:
        log.write(record(1))
        wait_until(lambda: file.exists() and len(lines(file)) == 1)
        old = file.rename(file.with_suffix(".1"))
        log.write(record(2))
    assert (numbers(lines(old)), numbers(lines(file))) == ([1], [2])


def test_a_full_disk_is_told_and_the_records_go_to_the_disk_when_it_is_back(file: Path) -> None:
    file.symlink_to("/dev/full")
    with structlog.testing.capture_logs() as logs, started(file) as log:
        log.write(record(1))
        wait_until(lambda: log.failing)
        log.write(record(2))
        file.unlink()
        wait_until(lambda: not log.failing)
        log.write(record(3))
    assert numbers(lines(file)) == [1, 2, 3]
    told = [entry["event"] for entry in logs]
    assert told.count("decision-log-failing") == 1
    assert told.count("decision-log-works-again") == 1


def test_a_folder_that_is_removed_and_comes_back_loses_nothing_that_was_not_written(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "decisions.jsonl"
    file.parent.mkdir()
    with started(file) as log:
        log.write(record(1))
        wait_until(lambda: file.exists() and len(lines(file)) == 1)
        file.unlink()
        file.parent.rmdir()
        log.write(record(2))
        wait_until(lambda: log.failing)
        file.parent.mkdir()
        wait_until(lambda: not log.failing)
    assert numbers(lines(file)) == [2]


def test_what_does_not_fit_in_the_queue_is_counted_and_the_count_is_written(file: Path) -> None:
    file.symlink_to("/dev/full")
    with started(file, queue=10) as log:
        log.write(record(0))
        wait_until(lambda: log.failing)
        for number in range(1, 16):
            log.write(record(number))
        assert log.lost == 5
        file.unlink()
        # That the disk is back is seen with the first line; there is room when the queue has been taken too.
        wait_until(lambda: not log.failing and log.waiting == 0)
        log.write(record(16))
    records = lines(file)
    assert numbers(records) == [*range(11), 16]
    assert [entry["records"] for entry in records if entry["event"] == "lost"] == [5]


def test_closing_on_a_full_disk_ends_and_says_what_was_not_written(file: Path) -> None:
    file.symlink_to("/dev/full")
    with structlog.testing.capture_logs() as logs, started(file, queue=2) as log:
        log.write(record(0))
        wait_until(lambda: log.failing)
        for number in range(5):
            log.write(record(number))
    (told,) = [entry for entry in logs if entry["event"] == "decision-log-unwritten"]
    assert (told["records"], told["lost"], told["octets"] > 0) == (2, 3, True)


@pytest.mark.parametrize("make", [broken, lambda: {"event": object()}, lambda: {"event": "test", "loop": _loop()}])
def test_a_record_that_cannot_be_made_is_told_in_its_place(file: Path, make: Callable[[], Record]) -> None:
    with started(file) as log:
        log.write(record(1))
        log.write(make)
        log.write(record(2))
    assert [entry["event"] for entry in lines(file)] == ["test", "unreadable", "test"]


def _loop() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def test_text_that_has_no_utf8_is_escaped(file: Path) -> None:
    with started(file) as log:
        log.write(lambda: {"event": "test", "text": "ü \ud800"})
    assert lines(file) == [{"event": "test", "text": "ü \ud800"}]


def test_the_newest_records_can_be_read_with_the_newest_last(file: Path) -> None:
    log = AuditLog(file, keep=3)
    for number in range(5):
        log.write(record(number))
    assert [numbers(list(log.recent(limit))) for limit in (0, 2, 3, 100)] == [[], [3, 4], [2, 3, 4], [2, 3, 4]]  # type: ignore[arg-type]  # these are dicts


def test_a_record_that_cannot_be_made_does_not_hide_the_others_from_readers(file: Path) -> None:
    log = AuditLog(file)
    for make in (record(1), broken, record(2)):
        log.write(make)
    assert [entry["event"] for entry in log.recent(10)] == ["test", "unreadable", "test"]


async def test_readers_of_the_stream_each_get_every_record(file: Path) -> None:
    log = AuditLog(file)
    streams = [log.stream(), log.stream()]
    waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
    await asyncio.sleep(0)
    for number in range(3):
        log.write(record(number))
    first = await asyncio.gather(*waiting)
    assert [entry["number"] for entry in first] == [0, 0]
    for stream in streams:
        assert [(await anext(stream))["number"] for _ in range(2)] == [1, 2]
        await stream.aclose()  # type: ignore[attr-defined]  # it is an asynchronous generator
    assert not log._readers


async def test_a_slow_reader_loses_the_newest_records_and_is_told_how_many(file: Path) -> None:
    log = AuditLog(file)
    stream = log.stream()
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    for number in range(STREAM_QUEUE + 7):
        log.write(record(number))
    told = [await waiting] + [await anext(stream) for _ in range(STREAM_QUEUE)]
    assert [entry["number"] for entry in told[:-1]] == list(range(STREAM_QUEUE))
    assert (told[-1]["event"], told[-1]["records"]) == ("lost", 7)


def test_a_disk_that_hangs_holds_up_neither_writing_nor_the_end(file: Path) -> None:
    """A pipe that nobody empties is a disk that does not answer."""
    os.mkfifo(file)
    reader = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    log = AuditLog(file, queue=100_000)
    log.start()
    with structlog.testing.capture_logs() as logs:
        for number in range(20_000):
            log.write(record(number))
        log.close(patience=0.05)
    received = bytearray()

    def drained() -> bool:
        data = os.read(reader, 1 << 16) if select.select([reader], [], [], 0)[0] else b""
        received.extend(data)
        return not data and not log._thread.is_alive()

    wait_until(drained)
    os.close(reader)
    assert [entry["event"] for entry in logs] == ["decision-log-unwritten"]
    assert numbers([json.loads(line) for line in received.splitlines()]) == list(range(20_000))


def finished(*found: int) -> tuple[bytes, int]:
    return b"".join(b'{"event": "test", "number": %d}\n' % number for number in found), len(found)


def test_finished_lines_are_written_as_they_are_and_in_order_with_what_else_is_queued(file: Path) -> None:
    with started(file) as log:
        log.write(record(0))
        log.write_lines(*finished(1, 2, 3))
        log.write(record(4))
        log.write_lines(b"", 0)
        log.write_lines(*finished(*range(5, 3 * BATCH)))
        log.write(record(3 * BATCH))
    assert numbers(lines(file)) == list(range(3 * BATCH + 1))
    assert (log.lost, log.waiting) == (0, 0)


def test_finished_lines_that_find_no_room_are_lost_together_and_counted(file: Path) -> None:
    file.symlink_to("/dev/full")
    with started(file, queue=10) as log:
        log.write(record(0))
        wait_until(lambda: log.failing)
        log.write_lines(*finished(*range(1, 9)))
        log.write_lines(*finished(9, 10, 11))
        log.write_lines(*finished(12, 13))
        log.write(record(14))
        assert (log.lost, log.waiting) == (4, 10)
        file.unlink()
    records = lines(file)
    assert numbers(records) == [*range(9), 12, 13]
    assert [entry["records"] for entry in records if entry["event"] == "lost"] == [4]


def test_the_newest_records_are_found_in_finished_lines_too(file: Path) -> None:
    log = AuditLog(file, keep=5)
    log.write(record(0))
    log.write_lines(*finished(1, 2, 3))
    log.write(record(4))
    log.write_lines(*finished(5, 6))
    found = [numbers(list(log.recent(limit))) for limit in (0, 1, 3, 4, 100)]  # type: ignore[arg-type]  # these are dicts
    assert found == [[], [6], [4, 5, 6], [3, 4, 5, 6], [2, 3, 4, 5, 6]]
    log.write_lines(*finished(*range(7, 107)))
    assert numbers(list(log.recent(2))) == [105, 106]  # type: ignore[arg-type]
    assert log._recent._held == 100


async def test_readers_of_the_stream_get_finished_lines_one_by_one_and_are_told_what_they_lost(file: Path) -> None:
    log = AuditLog(file)
    stream = log.stream()
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    log.write_lines(*finished(0, 1))
    log.write(record(2))
    log.write_lines(*finished(*range(3, STREAM_QUEUE + 7)))
    told = [await waiting] + [await anext(stream) for _ in range(STREAM_QUEUE)]
    assert [entry["number"] for entry in told[:-1]] == list(range(STREAM_QUEUE))
    assert (told[-1]["event"], told[-1]["records"]) == ("lost", 7)


def test_a_finished_line_that_is_no_json_does_not_hide_the_others(file: Path) -> None:
    log = AuditLog(file)
    log.write_lines(b'{"event": "test", "number": 1}\n{"event": \n{"event": "test", "number": 2}\n', 3)
    assert [entry["event"] for entry in log.recent(10)] == ["test", "unreadable", "test"]


def test_records_are_collected_and_written_together(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing wakes the writer while it collects, but the end."""
    monkeypatch.setattr("zethane.adapters.audit_log.PERIOD", 3600.0)
    written: list[int] = []
    real = os.write

    def counted(descriptor: int, data: bytes) -> int:
        written.append(data.count(b"\n"))
        return real(descriptor, data)

    monkeypatch.setattr("zethane.adapters.audit_log.os.write", counted)
    with started(file) as log:
        for number in range(500):
            log.write(record(number))
    assert written == [500]


class Periods:
    """The periods of a log's writer, one after the other without a clock: in the first so many a record comes."""

    def __init__(self, log: AuditLog, busy: int) -> None:
        self.left = busy
        self._log = log

    def wait(self, _: float) -> None:
        if self.left:
            self.left -= 1
            self._log.write(record(self.left))

    def set(self) -> None:
        """The log ends."""


def test_only_a_record_that_comes_after_a_period_without_any_wakes_the_writer(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(file)
    rings: list[bool] = []
    wake = log._wake.set

    def ring() -> None:
        rings.append(True)
        wake()

    monkeypatch.setattr(log._wake, "set", ring)
    monkeypatch.setattr(log, "_pause", Periods(log, 5))
    log.start()
    log.write(record(9))
    wait_until(lambda: file.exists() and len(lines(file)) == 6 and not log._wake.is_set())
    assert len(rings) == 1
    log.write(record(10))
    wait_until(lambda: len(lines(file)) == 7)
    assert len(rings) == 2
    log.close()
    assert numbers(lines(file)) == [9, 4, 3, 2, 1, 0, 10]


def test_the_writer_gives_way_while_it_makes_records_unless_too_many_wait(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[int] = []
    monkeypatch.setattr("zethane.adapters.audit_log.PIECE", 0.0)
    monkeypatch.setattr("zethane.adapters.audit_log.PERIOD", 0.0)
    log = AuditLog(file, queue=100)
    monkeypatch.setattr("zethane.adapters.audit_log.time.sleep", lambda _: pauses.append(log.waiting))
    for number in range(80):
        log.write(record(number))
    log.start()
    wait_until(lambda: file.exists() and len(lines(file)) == 80)
    log.close()
    assert pauses == list(range(49, -1, -1))


_ENDLESS = """
import sys, threading
from pathlib import Path
from zethane.adapters.audit_log import AuditLog
log = AuditLog(Path(sys.argv[1]))
log.start()
for number in range(1000):
    log.write(lambda number=number: {"event": "test", "number": number})
log.write_lines(b'{"event": "test", "number": 1000}\\n', 1)
threading.Event().wait()
"""


def test_what_was_written_outlives_a_process_that_is_killed(file: Path) -> None:
    """No orderly end: what was collected for longer than the period is in the file nevertheless."""
    with subprocess.Popen([sys.executable, "-c", _ENDLESS, str(file)]) as process:
        wait_until(lambda: file.exists() and file.read_bytes().count(b"\n") == 1001)
        process.kill()
    assert numbers(lines(file)) == list(range(1001))


@given(
    record=st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**64 - 1)
            | st.text()
            | st.floats(1e-3, 1e15).map(_rounded),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=5,
        ),
        max_size=5,
    )
)
def test_a_line_is_what_the_standard_library_would_write(record: dict[str, Any]) -> None:
    expected = json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    assert _line(lambda: record) == expected


def test_the_writers_thread_begins_with_what_it_is_given(file: Path) -> None:
    told: list[str] = []
    log = AuditLog(file, begin=lambda: told.append(threading.current_thread().name))
    log.start()
    log.close()
    assert told == ["decision-log"]
