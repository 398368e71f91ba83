"""Where a capture comes from: a file or standard input, compressed or not; read in large pieces, once, forwards."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from zethane.errors import InputError, Problem

CHUNK = 1 << 20
"""Bytes that are read at once."""

STDIN = "-"
PADDING = bytes(128)
"""What stands behind the last byte of a window, so that headers may be read before it is known how long they are."""

_GZIP = b"\x1f\x8b"


class Damage(Exception):  # noqa: N818  # says what was found
    """The capture does not go on as its format says, at this position: what follows cannot be read."""

    def __init__(self, at: int, message: str) -> None:
        self.at = at
        self.message = message
        super().__init__(message)


class Cut(Damage):
    """The capture ends in the middle of something."""


class Reading(Protocol):
    """What is needed of a file."""

    def read1(self, size: int, /) -> bytes:
        """At most `size` bytes, as many as have come; none at the end."""


@dataclass(frozen=True, slots=True)
class Source:
    """An open capture. `name` is for messages; `size` is that of the file, None where nobody knows it.

    `position` tells how many bytes of the file were read, compressed ones where it is compressed.
    """

    name: str
    stream: Reading
    size: int | None
    position: Callable[[], int]


class Window:
    """The part of a capture that is in memory: `data[at:size]` comes next, `start + at` bytes from the beginning.

    `data` is longer than `size` by PADDING.
    """

    def __init__(self, stream: Reading, on_read: Callable[[], None] = lambda: None) -> None:
        self.data = PADDING
        self.at = 0
        self.size = 0
        self.start = 0
        self._stream = stream
        self._on_read = on_read

    @property
    def position(self) -> int:
        """How far from the capture's beginning the next byte is."""
        return self.start + self.at

    def more(self) -> bool:
        """Read another piece behind what is here; False at the end. Raises Cut for compressed data that breaks off."""
        try:
            piece = self._stream.read1(CHUNK)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Cut(self.start + self.size, f"the compressed data cannot be read further: {error}") from None
        if not piece:
            return False
        self.data = b"".join((self.data[self.at : self.size], piece, PADDING))
        self.start += self.at
        self.at = 0
        self.size = len(self.data) - len(PADDING)
        self._on_read()
        return True

    def has(self, count: int) -> bool:
        """Whether `count` more bytes come, which are here then."""
        while self.size - self.at < count:
            if not self.more():
                return False
        return True

    def skip(self, count: int) -> bool:
        """Go on behind `count` bytes without holding them all; False if the capture ends before."""
        while self.size - self.at < count:
            count -= self.size - self.at
            self.at = self.size
            if not self.more():
                return False
        self.at += count
        return True


@contextmanager
def open_source(name: str) -> Iterator[Source]:
    """The capture in a file, or on standard input for `-`; compressed by gzip (RFC 1952) or not. Raises InputError."""
    if name == STDIN:
        yield _source("standard input", sys.stdin.buffer, None)
        return
    path = Path(name)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size if path.is_file() else None
            yield _source(name, file, size)
    except OSError as error:
        if error.filename is None:
            raise
        raise InputError([Problem(name, f"cannot be read: {error.strerror or error}")]) from None


def _source(name: str, file: IO[bytes], size: int | None) -> Source:
    counted = _Counted(file)
    head = file.peek(len(_GZIP))[: len(_GZIP)]  # type: ignore[attr-defined]  # both are buffered readers
    stream: Reading = gzip.GzipFile(fileobj=counted, mode="rb") if head == _GZIP else counted  # type: ignore[call-overload]
    return Source(name, stream, size, lambda: counted.taken)


class _Counted:
    """A file that tells how much was read of it, and hands out what has come rather than wait for more."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.taken = 0

    def read1(self, size: int = -1, /) -> bytes:
        piece: bytes = self._file.read1(size)  # type: ignore[attr-defined]
        self.taken += len(piece)
        return piece

    read = read1
