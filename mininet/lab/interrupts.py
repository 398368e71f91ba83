"""Signals that wait until a step is whole.

A step that makes something (a bridge, a namespace, a process) runs inside `shielded()`: a signal that
arrives there is raised at its end, when what was made is in the ledger and can be taken down again.

A signal that comes in the instant before Python waits in C (readline at the prompt does) would not be noticed until
that wait ends, which may be never: a watcher sends it again until it has been handled.
"""

from __future__ import annotations

import select
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lab.errors import Terminated

_AGAIN = 0.2
"""Seconds that a signal has to be handled in before it is sent again."""

_SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Turns SIGINT into KeyboardInterrupt, SIGTERM and SIGHUP into Terminated; never within a shield."""

    def __init__(self) -> None:
        self._depth = 0
        self._pending: int | None = None
        self._previous: dict[int, Any] = {}
        self._handled = threading.Event()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals while the block runs. Main thread only."""
        arrivals, told = socket.socketpair()
        told.setblocking(False)
        before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        watcher = threading.Thread(target=self._watch, args=(arrivals, threading.get_ident()), daemon=True)
        for number in _SIGNALS:
            self._previous[number] = signal.signal(number, self._handle)
        watcher.start()
        try:
            yield
        finally:
            for number, handler in self._previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            told.close()
            watcher.join()
            arrivals.close()

    def _watch(self, arrivals: socket.socket, main: int) -> None:
        """Send a signal that has arrived again until its handler has run."""
        while arrived := arrivals.recv(1):
            while arrived[0] in _SIGNALS and not self._handled.wait(_AGAIN):
                signal.pthread_kill(main, arrived[0])
            self._handled.clear()
            # Those sent again have arrived as well by now, and are handled with the first.
            while select.select([arrivals], [], [], 0)[0] and arrivals.recv(64):
                continue

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
        self._handled.set()
        if self._depth == 0:
            self._deliver()

    def _deliver(self) -> None:
        number, self._pending = self._pending, None
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if number is not None:
            raise Terminated(number)
