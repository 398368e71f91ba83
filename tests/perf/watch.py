"""Watches how late the machine itself is while something is measured: what no program on it can do anything about."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from perf.load import compiled

_SOURCE = Path(__file__).parent / "native" / "watch.c"
_PATIENCE = 10.0
_MOST = 100_000
"""Moments that are kept in mind."""


@dataclass(slots=True)
class Watch:
    """What is found, while it is found.

    `told` is there at the end: `latest_ms` is the longest, in milliseconds, that a thread of real-time priority was
    woken too late, and `late_times` how often that was by more than 3 ms. Where real-time priority is refused,
    `latest_ms` says so. `moments` are those times: when it wanted to be woken and when it was, in seconds since the
    epoch.
    """

    told: dict[str, float | str] = field(default_factory=dict)
    moments: list[tuple[float, float]] = field(default_factory=list)

    def stood_still(self, begin: float, end: float) -> bool:
        """Whether the machine was late in a span of time; within a millisecond of its end that is not known yet."""
        return any(wanted < end and begin < woken for wanted, woken in self.moments)

    def read(self, lines: Iterable[str]) -> None:
        """Take up what the program says."""
        for line in lines:
            if not line.startswith("late "):
                self.told |= json.loads(line)
            elif len(self.moments) < _MOST:
                wanted, woken = map(float, line.split()[1:])
                self.moments.append((wanted, woken))


@contextmanager
def watched() -> Iterator[Watch]:
    """Watch all cores. Needs root. Raises LabError without a C compiler."""
    found = Watch()
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [str(compiled(_SOURCE))], stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as watching:
        assert watching.stdin is not None
        assert watching.stdout is not None
        assert watching.stderr is not None
        reader = Thread(target=found.read, args=(watching.stdout,), daemon=True)
        try:
            if watching.stdout.readline() == "watching\n":
                reader.start()
                yield found
                watching.stdin.close()  # it ends with that
                reader.join(_PATIENCE)
                found.told.setdefault("latest_ms", "not watched: it ended without a word")
            else:
                found.told["latest_ms"] = f"not watched: {watching.stderr.read().strip()[-200:]}"
                yield found
        finally:
            watching.kill()
