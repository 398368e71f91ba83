"""The coverage-guided engine: atheris, with libFuzzer's bounds on time and memory of every input."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

from fuzz.target import Target

MAX_SECONDS = 10
"""Seconds that one input may take, in a process that is slowed down by its instruments."""

MAX_MEMORY = 2048
"""MiB that a target's process may have."""

GRACE = 120
"""Seconds that a process may take longer than asked: to start, and for its last input."""


def is_there() -> bool:
    """Whether atheris is installed."""
    return importlib.util.find_spec("atheris") is not None


def run(target: Target, seconds: int, corpus: Path, crashes: Path) -> list[Path]:
    """Try a target for some time; the inputs that failed. New inputs that reach new code go to `corpus`/found.

    Raises RuntimeError and subprocess.TimeoutExpired if the fuzzer itself fails.
    """
    before = set(crashes.iterdir())
    known, found = corpus / "known", corpus / "found"
    for folder in (known, found):
        folder.mkdir(parents=True, exist_ok=True)
    for _, data in target.corpus():
        (known / hashlib.sha256(data).hexdigest()[:20]).write_bytes(data)
    command = [
        *(sys.executable, "-m", "fuzz.worker", target.name),
        f"-max_total_time={seconds}",
        f"-max_len={target.max_length}",
        f"-timeout={MAX_SECONDS}",
        f"-rss_limit_mb={MAX_MEMORY}",
        f"-artifact_prefix={crashes}/{target.name}-",
        "-print_final_stats=1",
        *(str(found), str(known)),
    ]
    log = corpus / "log"
    with log.open("w") as output:
        done = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, timeout=seconds + GRACE, check=False, env=_environment()
        )
    failed = sorted(set(crashes.iterdir()) - before)
    if failed:
        print(_last_lines(log))
    elif done.returncode:
        raise RuntimeError(f"the fuzzer ended with status {done.returncode}:\n{_last_lines(log)}")
    else:
        print(f"    {_statistic(log, 'number_of_executed_units')} inputs", flush=True)
    return failed


def _environment() -> dict[str, str]:
    """Where the worker finds the targets and the fakes that they need."""
    tests = Path(__file__).parents[1]
    folders = (tests, tests.parent / "mininet", tests.parent / "controller")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-60:])


def _statistic(log: Path, name: str) -> str:
    """A figure of libFuzzer's `-print_final_stats`."""
    found = re.search(rf"^stat::{name}:\s+(\d+)$", log.read_text(errors="replace"), re.MULTILINE)
    return found[1] if found else "unknown"
