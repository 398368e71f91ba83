"""The decision log: JSON lines in a file, written by a thread of its own.

The event loop only appends to a queue; making text of a record is the thread's work. The thread shares the
interpreter with the loop, so it is woken a few times a second and works in short pieces with pauses between them: a
packet that comes meanwhile waits for one piece at the most. The queue is bounded: when the disk does not keep up,
records are lost and counted, and the count is written as a record of its own when the disk is back. Nothing here ever
stops a decision.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import structlog
from msgspec import json as fast_json

from zethane.audit.record import head

Record = Mapping[str, Any]
MakeRecord = Callable[[], Record]

BATCH = 1000
"""Records written at a time; finished lines count as many as came together."""

PERIOD = 0.05
"""Seconds that records are collected before they are written: what the end of the process by SIGKILL loses."""

PIECE = 0.0002
"""Seconds that records are made in one go; it may take as long as one record more."""

PAUSE = 0.0005
"""Seconds between two pieces, in which the event loop has the interpreter for itself."""

RETRY = 1.0
"""Seconds between attempts to write while the disk refuses."""

STREAM_QUEUE = 1000
"""Records that a reader of the stream may be behind."""

STREAM_PIECE = 8
"""Records that are made in one go for a reader of the stream."""

_log = structlog.get_logger("zethane.audit")


@dataclass(frozen=True, slots=True)
class Lines:
    """Records that are text already: JSON objects, each with the end of its line."""

    text: bytes
    count: int

    def first(self, count: int) -> Lines:
        """No more than the first so many."""
        if count >= self.count:
            return self
        return Lines(b"".join(islice(self.text.splitlines(keepends=True), count)), count)


Queued = MakeRecord | Lines


class AuditLog:
    """A bounded queue in front of a file. `keep` of the newest records stay readable in memory.

    `begin` is what the writer's thread does first.
    """

    def __init__(
        self, file: Path, *, keep: int = 1000, queue: int = 131_072, begin: Callable[[], object] | None = None
    ) -> None:
        self.lost = 0
        self.failing = False
        self._file = file
        self._bound = queue
        # How many records were queued, ever, is the caller's to count, and how many were taken out the writer's:
        # neither thread changes what the other one does.
        self._queued = 0
        self._taken = 0
        self._queue: deque[Queued] = deque()
        self._recent = _Newest(keep)
        self._readers: set[_Reader] = set()
        self._rung = False
        self._wake = threading.Event()
        self._ending = False
        self._pause = threading.Event()
        self._reported = 0
        self._rest = b""
        self._opened: int | None = None
        self._mended = False
        self._begin = begin
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
            _log.error("decision-log-unwritten", records=self.waiting)

    @property
    def waiting(self) -> int:
        """Records that wait for the disk."""
        return self._queued - self._taken

    def write(self, make: MakeRecord) -> None:
        """Queue a record; `make` builds it, in the writer's thread. Never blocks, never raises."""
        self._put_in(make, 1)

    def write_lines(self, text: bytes, count: int) -> None:
        r"""Queue `count` finished records: JSON objects, each with "\n" at its end and none inside. Never blocks.

        They are written as they are, behind what was queued before. Where there is no room for all, none is written,
        and all count as lost.
        """
        if count > 0:
            self._put_in(Lines(text, count), count)

    def _put_in(self, item: Queued, count: int) -> None:
        if self._queued - self._taken + count > self._bound:
            self.lost += count
        else:
            self._queue.append(item)
            self._queued += count
            if not self._rung:
                self._rung = True
                self._wake.set()
        self._recent.put(item, count)
        for reader in self._readers:
            reader.put(item, count)

    def recent(self, limit: int) -> Iterator[Record]:
        """The newest records, newest last; each is made when it is asked for."""
        return self._recent.records(limit)

    async def stream(self) -> AsyncIterator[Record]:
        """Records as they come. A reader that is too slow loses some, and is told how many."""
        reader = _Reader()
        self._readers.add(reader)
        try:
            while True:
                for item in await reader.take():
                    for place, record in enumerate(_records(item)):
                        yield record
                        if place % STREAM_PIECE == 0:
                            await asyncio.sleep(0)  # whatever waits for the loop comes between
        finally:
            self._readers.discard(reader)

    # the writer's thread

    def _run(self) -> None:
        if self._begin is not None:
            self._begin()
        while True:
            self._wake.wait()
            if not self._ending:
                self._pause.wait(PERIOD)
            if not self._unwritten():
                # Nothing has come for a period: only now the next record has to wake this thread. In a row of records
                # it would wake with every first one of a period, beside the answer that the switch is being sent.
                self._wake.clear()
                self._rung = False
                if self._queue:
                    self._wake.set()  # it came between the two looks
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

    def _unwritten(self) -> bool:
        return bool(self._rest or self._queue or self.lost != self._reported)

    def _next_batch(self) -> bytes:
        lines: list[bytes] = []
        unreported = self.lost - self._reported
        if unreported:
            self._reported += unreported
            lines.append(_line(partial(_lost, unreported, time.time())))
        end = self._taken + BATCH
        pause_at = time.perf_counter() + PIECE
        while self._queue and self._taken < end:
            item = self._queue.popleft()
            if isinstance(item, Lines):
                lines.append(item.text)
                self._taken += item.count
                continue
            lines.append(_line(item))
            self._taken += 1
            if time.perf_counter() >= pause_at:
                self._give_way()
                pause_at = time.perf_counter() + PIECE
        return b"".join(lines)

    def _give_way(self) -> None:
        """Let the event loop go on, unless so much waits that it would be lost."""
        if not self._ending and self.waiting < self._bound // 2:
            time.sleep(PAUSE)

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
            _log.error("decision-log-unwritten", records=self.waiting, octets=len(self._rest), lost=lost)
        if self._opened is not None:
            try:
                os.fsync(self._opened)
            except OSError as error:
                _log.error("decision-log-unsynced", file=str(self._file), reason=str(error))
        self._close()


_encode = fast_json.Encoder().encode


def _line(make: MakeRecord) -> bytes:
    record = _made(make)
    try:
        # As json.dumps writes it, with blanks behind the separators.
        return fast_json.format(_encode(record), indent=0) + b"\n"
    except UnicodeEncodeError:
        # What has no UTF-8 (half of a surrogate pair) is escaped, which is also how JSON writes it.
        return json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        return _encode(_unreadable(error)) + b"\n"


def _records(item: Queued, newest: int | None = None) -> Iterator[Record]:
    """One after the other, or only so many of the newest."""
    if not isinstance(item, Lines):
        yield _made(item)
        return
    lines = item.text.splitlines()
    yield from map(_read, lines if newest is None else lines[-newest:])


def _read(line: bytes) -> Record:
    try:
        record: Record = json.loads(line)
    except ValueError as error:
        return _unreadable(error)
    return record


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


class _Newest:
    """The newest records, however they came; of lines that came together it may hold more than were asked for."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._items: deque[tuple[Queued, int]] = deque()
        self._held = 0

    def put(self, item: Queued, count: int) -> None:
        items = self._items
        items.append((item, count))
        self._held += count
        while self._held - items[0][1] >= self._keep:
            self._held -= items.popleft()[1]

    def records(self, limit: int) -> Iterator[Record]:
        wanted = min(limit, self._keep)
        found: list[tuple[Queued, int]] = []
        for item, count in reversed(self._items):
            if wanted <= 0:
                break
            found.append((item, min(count, wanted)))
            wanted -= count
        return (record for item, count in reversed(found) for record in _records(item, count))


class _Reader:
    """One reader of the stream, on the event loop."""

    def __init__(self) -> None:
        self._waiting: deque[Queued] = deque()
        self._records = 0
        self._skipped = 0
        self._more = asyncio.Event()

    def put(self, item: Queued, count: int) -> None:
        room = min(count, STREAM_QUEUE - self._records)
        self._skipped += count - room
        if room:
            self._waiting.append(item.first(room) if isinstance(item, Lines) else item)
            self._records += room
        self._more.set()

    async def take(self) -> list[Queued]:
        await self._more.wait()
        self._more.clear()
        items = list(self._waiting)
        self._waiting.clear()
        self._records = 0
        if self._skipped:
            items.append(partial(_lost, self._skipped, time.time()))
            self._skipped = 0
        return items
