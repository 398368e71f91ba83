"""One-time codes for the lab's people. A code works once: whoever has used one needs the next.

An authenticator shows one code at a time; the controller also takes that of the step to come, for clocks that
differ (RFC 6238 §5.2). So a second login within 30 seconds uses the next code at once, and a third waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pydantic import SecretStr

from lab.errors import LabError
from zethane.identity.directory import secret_bytes
from zethane.identity.totp import STEP, WINDOW, code_at

_MARGIN = 0.1
"""Seconds to wait beyond the moment at which a code begins to be taken."""


class Codes:
    """The steps that a run's people have used. Any thread may ask."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._used: dict[str, int] = {}
        self._closed = threading.Event()

    def take(self, user: str, secret: str) -> tuple[str, float]:
        """A code that nobody else gets, and the seconds until it is taken; 0 for now. `secret` is base32."""
        with self._lock:
            now = self._clock()
            step = max(int(now // STEP), self._used.get(user, -1) + 1)
            self._used[user] = step
        early = (step - WINDOW) * STEP - now
        return code_at(secret_bytes(SecretStr(secret)), step), early + _MARGIN if early > 0 else 0.0

    def wait(self, seconds: float) -> None:
        """Wait for a code. Raises LabError when the lab ends meanwhile."""
        if self._closed.wait(seconds):
            raise LabError("the lab has ended")

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._closed.set()
