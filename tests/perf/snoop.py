"""The flow-mods that a switch is sent, counted at the switch: Open vSwitch shows its conversation to whoever asks."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.processes import stop, wait_for

_START = 10.0
_LATE = 0.5
"""Seconds in which what was sent has been seen."""


class Counter:
    """How many flow-mods were seen until now."""

    def __init__(self) -> None:
        self.seen = 0

    def read(self, process: subprocess.Popen[str]) -> None:
        """Take in what is shown until it ends."""
        for line in process.stdout or ():
            self.seen += line.startswith("OFPT_FLOW_MOD")


@contextmanager
def flow_mods(bridge: str, provoke: Callable[[], object]) -> Iterator[Counter]:
    """Count the flow-mods that a bridge gets from its controllers while the block runs. Raises LabError.

    `provoke` makes a controller send some: when they are seen, counting begins.
    """
    counter = Counter()
    process = subprocess.Popen(
        ["ovs-ofctl", "-O", "OpenFlow13", "snoop", bridge],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # where it shows what it sees
        text=True,
        start_new_session=True,
    )
    reader = threading.Thread(target=counter.read, args=(process,), daemon=True)
    try:
        reader.start()
        wait_for("The switch's conversation was not seen", lambda: _provoked(counter, provoke), _START, lambda: "")
        before = counter.seen
        yield counter
        time.sleep(_LATE)
        counter.seen -= before
    finally:
        process.terminate()
        reader.join(_START)
        stop(process)


def _provoked(counter: Counter, provoke: Callable[[], object]) -> bool | None:
    provoke()
    time.sleep(_LATE)
    return counter.seen > 0 or None
