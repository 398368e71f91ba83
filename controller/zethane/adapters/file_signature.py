"""Whether a file is still the one that was read."""

from __future__ import annotations

from pathlib import Path

FileSignature = tuple[int, int, int]
"""When a file was last changed, its size and its inode."""


def file_signature(file: Path) -> FileSignature | None:
    """Of a file as it is now; None where it is missing."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
