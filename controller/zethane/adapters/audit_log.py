"""The decision log: JSON lines in a file, written by a thread of its own.

The event loop only appends to a queue; making text of a record is the thread's work. The queue is bounded: when the
disk does not keep up, records are lost and counted, and the count is written as a record of its own when the disk is
back. Nothing here ever stops a decision.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
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
        return [make() for make in newest[max(0, len(newest) - limit) :]]

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
            while self._rest or self._queue:
                if not self._rest:
                    self._rest = self._next_batch()
                if not self._put():
                    break
            if self._ending and (self.failing or not (self._rest or self._queue)):
                self._finish()
                return
            if self._rest:
                # The disk refuses: wait, whatever else is queued meanwhile.
                self._pause.wait(RETRY)
                self._wake.set()

    def _next_batch(self) -> bytes:
        lines = []
        unreported = self.lost - self._reported
        if unreported:
            self._reported += unreported
            lines.append(json.dumps({**head("lost", time.time()), "records": unreported}) + "\n")
        while self._queue and len(lines) < BATCH:
            lines.append(_line(self._queue.popleft()))
        return "".join(lines).encode()

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
        self._opened = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._opened

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
        if self._rest or self._queue:
            _log.error("decision-log-unwritten", records=len(self._queue), octets=len(self._rest))
        if self._opened is not None:
            os.fsync(self._opened)
        self._close()


def _line(make: MakeRecord) -> str:
    try:
        return json.dumps(make(), ensure_ascii=False) + "\n"
    except Exception as error:  # noqa: BLE001  # one bad record must not keep the others from being written
        _log.error("record-failed", reason=f"{type(error).__name__}: {error}")  # the reason says it
        return json.dumps({**head("unreadable", time.time()), "reason": type(error).__name__}) + "\n"


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
        records = [make() for make in self._waiting]
        self._waiting.clear()
        if self._skipped:
            records.append({**head("lost", time.time()), "records": self._skipped})
            self._skipped = 0
        return records
