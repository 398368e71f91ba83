"""The decision log: JSON lines in a file, written by a thread of its own.

The event loop only appends to a queue; making text of a record is the thread's work. The queue is bounded: when the
disk does not keep up, records are lost and counted, and the count is written as a record of its own when the disk is
back. Nothing here ever stops a decision.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from zethane.audit.record import head

Record = Mapping[str, Any]
MakeRecord = Callable[[], Record]

BATCH = 1000
"""Records written at a time."""

RETRY = 1.0
"""Seconds between attempts to write while the disk refuses."""

STREAM_QUEUE = 1000
"""Records that a reader of the stream may be behind."""

_log = structlog.get_logger("zethane.audit")


class AuditLog:
    """A bounded queue in front of a file. `keep` of the newest records stay readable in memory."""

    def __init__(self, file: Path, *, keep: int = 1000, queue: int = 65536) -> None:
        self.lost = 0
        self.failing = False
        self._file = file
        self._bound = queue
        self._queue: deque[MakeRecord] = deque()
        self._recent: deque[MakeRecord] = deque(maxlen=keep)
        self._readers: set[_Reader] = set()
        self._wake = threading.Event()
        self._ending = False
        self._pause = threading.Event()
        self._reported = 0
        self._rest = b""
        self._opened: int | None = None
        self._mended = False
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)

    def start(self) -> None:
        """Start the writer."""
        self._thread.start()

    def close(self, patience: float = 5.0) -> None:
        """Write what is queued, for at most `patience` seconds, and end the writer."""
        self._ending = True
        self._pause.set()
        self._wake.set()
        self._thread.join(patience)
        if self._thread.is_alive():
            _log.error("decision-log-unwritten", records=len(self._queue))

    def write(self, make: MakeRecord) -> None:
        """Queue a record; `make` builds it, in the writer's thread. Never blocks, never raises."""
        if len(self._queue) >= self._bound:
            self.lost += 1
        else:
            self._queue.append(make)
            if not self._wake.is_set():
                self._wake.set()
        self._recent.append(make)
        for reader in self._readers:
            reader.put(make)

    def recent(self, limit: int) -> Sequence[Record]:
        """The newest records, newest last."""
        newest = list(self._recent)
        return [_made(make) for make in newest[max(0, len(newest) - limit) :]]

    async def stream(self) -> AsyncIterator[Record]:
        """Records as they come. A reader that is too slow loses some, and is told how many."""
        reader = _Reader()
        self._readers.add(reader)
        try:
            while True:
                for record in await reader.take():
                    yield record
        finally:
            self._readers.discard(reader)

    # the writer's thread

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._unwritten():
                if not self._rest:
                    self._rest = self._next_batch()
                if not self._put():
                    break
            if self._ending and (self.failing or not self._unwritten()):
                self._finish()
                return
            if self._rest:
                # The disk refuses: wait, whatever else is queued meanwhile.
                self._pause.wait(RETRY)
                self._wake.set()

    def _unwritten(self) -> bool:
        return bool(self._rest or self._queue or self.lost != self._reported)

    def _next_batch(self) -> bytes:
        lines: list[bytes] = []
        unreported = self.lost - self._reported
        if unreported:
            self._reported += unreported
            lines.append(_line(partial(_lost, unreported, time.time())))
        while self._queue and len(lines) < BATCH:
            lines.append(_line(self._queue.popleft()))
        return b"".join(lines)

    def _put(self) -> bool:
        """Write what is at hand; False if some of it has to be tried again."""
        try:
            descriptor = self._descriptor()
            while self._rest:
                self._rest = self._rest[os.write(descriptor, self._rest) :]
        except OSError as error:
            self._failed(error)
            return False
        if self.failing:
            self.failing = False
            _log.info("decision-log-works-again", file=str(self._file))
        return True

    def _descriptor(self) -> int:
        """The open file; opened again when it was renamed or removed, as logrotate does."""
        if self._opened is not None:
            try:
                here, there = os.fstat(self._opened), self._file.stat()
                if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                    return self._opened
            except FileNotFoundError:
                _log.info("decision-log-reopened", file=str(self._file))
            self._close()
        self._opened = os.open(self._file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not self._mended:
            self._mended = True
            self._mend(self._opened)
        return self._opened

    def _mend(self, descriptor: int) -> None:
        """End the line that a controller that was killed left in the middle: only that record is unreadable."""
        about = os.fstat(descriptor)
        if stat.S_ISREG(about.st_mode) and about.st_size and os.pread(descriptor, 1, about.st_size - 1) != b"\n":
            self._rest = b"\n" + self._rest

    def _failed(self, error: OSError) -> None:
        if not self.failing:
            _log.error("decision-log-failing", file=str(self._file), reason=str(error))
        self.failing = True
        self._close()

    def _close(self) -> None:
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None

    def _finish(self) -> None:
        if self._unwritten():
            lost = self.lost - self._reported
            _log.error("decision-log-unwritten", records=len(self._queue), octets=len(self._rest), lost=lost)
        if self._opened is not None:
            try:
                os.fsync(self._opened)
            except OSError as error:
                _log.error("decision-log-unsynced", file=str(self._file), reason=str(error))
        self._close()


def _line(make: MakeRecord) -> bytes:
    try:
        text = json.dumps(_made(make), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        text = json.dumps(_unreadable(error))
    # What has no UTF-8 (half of a surrogate pair) is escaped, which is also how JSON writes it.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _made(make: MakeRecord) -> Record:
    try:
        return make()
    except Exception as error:  # noqa: BLE001  # one bad record must not keep the others from being written
        return _unreadable(error)


def _unreadable(error: Exception) -> Record:
    _log.error("record-failed", reason=f"{type(error).__name__}: {error}")
    return {**head("unreadable", time.time()), "reason": type(error).__name__}


def _lost(records: int, now: float) -> Record:
    return {**head("lost", now), "records": records}


class _Reader:
    """One reader of the stream, on the event loop."""

    def __init__(self) -> None:
        self._waiting: deque[MakeRecord] = deque()
        self._skipped = 0
        self._more = asyncio.Event()

    def put(self, make: MakeRecord) -> None:
        if len(self._waiting) >= STREAM_QUEUE:
            self._skipped += 1
        else:
            self._waiting.append(make)
        self._more.set()

    async def take(self) -> list[Record]:
        await self._more.wait()
        self._more.clear()
        records = [_made(make) for make in self._waiting]
        self._waiting.clear()
        if self._skipped:
            records.append(_lost(self._skipped, time.time()))
            self._skipped = 0
        return records
