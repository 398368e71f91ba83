"""Staying logged in: again before the session ends, and as soon as there is a new certificate.

The files are looked at once a second, not watched: those who replace certificates rename files, turn links to
another folder, or write from another machine.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from zethane.adapters.file_signature import file_signature
from zethane.errors import ZethaneError

LOOK = 1.0
"""Seconds between looks at the files."""

SHORTEST, LONGEST = 1.0, 300.0
"""Seconds between two logins when all goes well. The longest is how long a host stays out whose session was ended."""

FIRST_RETRY, LAST_RETRY = 1.0, 60.0
"""Seconds between two tries after failures, doubled each time."""

SIGNALS = frozenset((signal.SIGTERM, signal.SIGINT))

Attempt = Callable[[], dict[str, Any]]
"""Logs in and returns the session. Raises ZethaneError."""


def renew(attempt: Attempt, files: Sequence[Path], tell: Callable[[ZethaneError], None]) -> None:
    """Log in, and again and again, until SIGTERM or Ctrl-C. `tell` is told why a try failed: the next one follows."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    renewal = Renewal(attempt, files, tell, time.time, random.uniform)
    while signal.sigtimedwait(SIGNALS, renewal.step()) is None:
        pass


class Renewal:
    """When to log in. `clock` is in seconds since the epoch; `uniform` as random.uniform."""

    def __init__(
        self,
        attempt: Attempt,
        files: Sequence[Path],
        tell: Callable[[ZethaneError], None],
        clock: Callable[[], float],
        uniform: Callable[[float, float], float],
    ) -> None:
        self._attempt = attempt
        self._files = files
        self._tell = tell
        self._clock = clock
        self._uniform = uniform
        self._signature: object = None
        self._failures = 0
        self._due = 0.0

    def step(self) -> float:
        """Log in if it is time, or if a file has changed; the seconds until the next step."""
        signature = [file_signature(file) for file in self._files]
        if signature != self._signature or self._clock() >= self._due:
            self._signature = signature
            self._due = self._clock() + self._login()
        return max(0.0, min(LOOK, self._due - self._clock()))

    def _login(self) -> float:
        """Try once; the seconds until the next time."""
        try:
            session = self._attempt()
        except ZethaneError as error:
            self._failures += 1
            self._tell(error)
            # Many hosts lose their portal at one moment: they come back one after the other.
            return min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(self._failures - 1, 10)) * self._uniform(0.8, 1.2)
        self._failures = 0
        left = _ends(session) - self._clock()
        return min(LONGEST, max(SHORTEST, left * self._uniform(0.55, 0.7)))


def _ends(session: dict[str, Any]) -> float:
    """When the session ends; 0 if the portal does not say so in a way that can be read."""
    try:
        return datetime.fromisoformat(str(session.get("ends", "")).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
