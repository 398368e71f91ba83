"""Signals that wait until a step is whole.

A step that makes something (a bridge, a namespace, a process) runs inside `shielded()`: a signal that
arrives there is raised at its end, when what was made is in the ledger and can be taken down again.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lab.errors import Terminated

_SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Turns SIGINT into KeyboardInterrupt, SIGTERM and SIGHUP into Terminated; never within a shield."""

    def __init__(self) -> None:
        self._depth = 0
        self._pending: int | None = None
        self._previous: dict[int, Any] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals while the block runs. Main thread only."""
        for number in _SIGNALS:
            self._previous[number] = signal.signal(number, self._handle)
        try:
            yield
        finally:
            for number, handler in self._previous.items():
                signal.signal(number, handler)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Hold signals back until the outermost shield ends."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if self._depth == 0:
            self._deliver()

    @contextmanager
    def ignored(self) -> Iterator[None]:
        """Hold signals back and forget them: for the clean-up, which they can only ask for."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            self._pending = None

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a handler
        self._pending = number
        if self._depth == 0:
            self._deliver()

    def _deliver(self) -> None:
        number, self._pending = self._pending, None
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if number is not None:
            raise Terminated(number)
