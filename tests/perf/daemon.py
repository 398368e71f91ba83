"""Open vSwitch's daemon: its processor time, thread by thread, and the weight of its session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from lab import openvswitch
from zethane.app.scheduling import NICE, precedence, session_file


class Used(NamedTuple):
    """Seconds of processor time: of the main thread, which has packets and messages, and of all others together."""

    main: float
    others: float


class Daemon:
    """Counts from when it is made. Raises OSError where the daemon does not run."""

    def __init__(self) -> None:
        self._pid = _number()
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


@contextmanager
def preferred() -> Iterator[None]:
    """Give its session the weight that its start script asks for it, as those of all controllers have, for a while.

    Where the kernel weighs sessions against each other, the nice value of a process counts within its own alone: a
    controller whose session has more would keep a core from the switch that it controls. Raises OSError.
    """
    process = _number()
    before = precedence(process).session
    if before is None or before <= NICE:
        yield
        return
    file = session_file(process)
    file.write_text(str(NICE), encoding="ascii")
    try:
        yield
    finally:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            file.write_text(str(before), encoding="ascii")


def _number() -> int:
    return int((openvswitch.RUN_DIRECTORY / "ovs-vswitchd.pid").read_text(encoding="ascii"))
