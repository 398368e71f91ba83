"""The processor time of Open vSwitch's daemon, thread by thread."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lab import openvswitch


class Used(NamedTuple):
    """Seconds of processor time: of the main thread, which has packets and messages, and of all others together."""

    main: float
    others: float


class Daemon:
    """Counts from when it is made. Raises OSError where the daemon does not run."""

    def __init__(self) -> None:
        self._pid = int((openvswitch.RUN_DIRECTORY / "ovs-vswitchd.pid").read_text(encoding="ascii"))
        self._before = self._threads()

    def used(self) -> Used:
        """What its threads have used since then. Those that have ended meanwhile are left out."""
        used = {thread: seconds - self._before.get(thread, 0.0) for thread, seconds in self._threads().items()}
        main = used.pop(self._pid)
        return Used(main, sum(used.values()))

    def _threads(self) -> dict[int, float]:
        """Seconds of each thread, by its number."""
        found = {}
        for thread in Path(f"/proc/{self._pid}/task").iterdir():
            try:
                told = (thread / "schedstat").read_text(encoding="ascii")
            except OSError:  # it has ended
                continue
            found[int(thread.name)] = int(told.split()[0]) / 1e9
        return found
