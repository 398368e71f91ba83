"""Reading the files of a topology: whole, bounded, and never waiting for a pipe or a device."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from zethane.document.compose import MAX_TEXT
from zethane.errors import InputError, Problem

MAX_BYTES = 4 * MAX_TEXT
"""Size of a file: UTF-8 takes at most four bytes for a character."""


def read_text(file: Path, most: int | None = None) -> str:
    """The file's text, of at most `most` bytes (None: MAX_BYTES).

    Raises InputError if it is missing, no regular file, too long, or no UTF-8.
    """
    try:
        content = _read(file, MAX_BYTES if most is None else most)
    except OSError as error:
        raise InputError([Problem(str(file), f"cannot be read: {error.strerror or error}")]) from error
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError([Problem(str(file), "expected UTF-8", line)]) from None


def _read(file: Path, most: int) -> bytes:
    # O_NONBLOCK: opening a named pipe that nobody writes to would wait for ever.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InputError([Problem(str(file), "expected a regular file")])
        content = stream.read(most + 1)
    if len(content) > most:
        raise InputError([Problem(str(file), f"expected at most {most} bytes")])
    return content
