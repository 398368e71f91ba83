"""Watches how late the machine itself is while something is measured: what no program on it can do anything about."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perf.load import compiled

_SOURCE = Path(__file__).parent / "native" / "watch.c"
_PATIENCE = 10.0


@contextmanager
def watched() -> Iterator[dict[str, float | str]]:
    """Watch all cores; what is given is filled in at the end. Needs root.

    `latest_ms` is the longest, in milliseconds, that a thread of real-time priority was woken too late, and
    `late_times` how often that was by more than 3 ms, in all. Where real-time priority is refused, `latest_ms` says so.
    Raises LabError without a C compiler.
    """
    found: dict[str, float | str] = {}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [str(compiled(_SOURCE))], stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as watching:
        try:
            is_watching = watching.stdout is not None and watching.stdout.readline() == "watching\n"
            yield found
            told, wrong = watching.communicate(timeout=_PATIENCE)  # it ends with its standard input
            found |= json.loads(told) if is_watching else {"latest_ms": f"not watched: {wrong.strip()[-200:]}"}
        finally:
            watching.kill()
