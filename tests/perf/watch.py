"""Watches how late the machine itself is while something is measured: what no program on it can do anything about."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError
from perf.load import compiled

_SOURCE = Path(__file__).parent / "native" / "watch.c"
_PATIENCE = 10.0


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Watch all cores; what is given is filled in at the end. Needs root.

    `latest_ms` is the longest, in milliseconds, that a thread of real-time priority was woken too late, and
    `late_times` how often that was by more than 3 ms, in all. Raises LabError, before anything is done, where real-time
    priority is refused.
    """
    found: dict[str, float] = {}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [str(compiled(_SOURCE))], stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as watching:
        try:
            # Whether it can is known before anything is measured, which may take hours.
            if watching.stdout is None or watching.stdout.readline() != "watching\n":
                _, wrong = watching.communicate(timeout=_PATIENCE)
                raise LabError(f"the machine cannot be watched: {wrong.strip()[-500:]}")
            yield found
            told, _ = watching.communicate(timeout=_PATIENCE)  # it ends with its standard input
            found |= json.loads(told)
        finally:
            watching.kill()
