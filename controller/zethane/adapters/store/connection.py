"""The store's connection: the event loop's, and for a moment that of a thread which keeps a policy's numbers.

SQLite itself lets threads share a connection (https://www.sqlite.org/threadsafe.html, serialized); a transaction is the
connection's, so that no other statement may come between.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any


class SharedConnection(sqlite3.Connection):
    """Statements wait while another thread is `alone` with it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.alone = threading.RLock()

    def execute(self, statement: str, values: Any = (), /) -> sqlite3.Cursor:
        """One statement."""
        with self.alone:
            return super().execute(statement, values)


def connect(file: Path, timeout: float) -> SharedConnection:
    """A connection to a file, for any thread; `timeout` is in seconds. Raises sqlite3.DatabaseError."""
    return sqlite3.connect(
        file, timeout=timeout, isolation_level=None, check_same_thread=False, factory=SharedConnection
    )
