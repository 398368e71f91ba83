"""Pace: how much of what was written to a switch it has not processed yet.

What is written goes into buffers, of which the kernel's have megabytes: seconds of work for a switch that is short of
time. So a barrier (OpenFlow 1.3.5 §7.3.8) is written now and then, one at a time, and its reply tells how far the
switch has come. A switch that is behind begins no new flows until it has caught up, and what takes a session back
reaches it soon.
"""

from __future__ import annotations

MARK_EVERY = 16 * 2**10
"""Octets between two barriers: some forty set-ups, so that one at a time costs nothing."""

AHEAD = 128 * 2**10
"""Octets that a switch may be behind before it gets no more new flows: some three hundred set-ups."""

CAUGHT_UP = AHEAD // 2

BUSY = AHEAD // 4
"""Octets that a switch may be behind with what can wait: set-ups find room beside it."""


class Pace:
    """Counts octets of one connection, from its beginning."""

    __slots__ = ("_mark", "_marked", "_processed", "_written")

    def __init__(self) -> None:
        self._written = self._processed = self._marked = 0
        self._mark: int | None = None

    @property
    def ahead(self) -> int:
        """What is written and has not been processed, as far as is known."""
        return self._written - self._processed

    @property
    def due(self) -> int:
        """What is before the barrier that is not answered yet; 0 if there is none."""
        return 0 if self._mark is None else self._marked - self._processed

    def wrote(self, size: int) -> bool:
        """So much more is being written. Returns whether a barrier is to be written behind it."""
        self._written += size
        return self._mark is None and self._written - self._processed >= MARK_EVERY

    def mark(self, xid: int) -> None:
        """A barrier with this number is written behind everything."""
        self._mark, self._marked = xid, self._written

    def reached(self, xid: int) -> bool:
        """A barrier was answered; False if it was another one."""
        if xid != self._mark:
            return False
        self._mark, self._processed = None, self._marked
        return True
