"""Network namespaces for hosts of a benchmark: each has a process that holds it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab.ledger import Ledger
from lab.processes import wait_for

HOLD = 3600
"""Seconds after which a namespace ends by itself, whatever happens to the run."""


def hold(ledger: Ledger, holders: list[subprocess.Popen[bytes]]) -> int:
    """A process with a network namespace of its own, which is put among the holders: its id. Raises LabError."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sleep", str(HOLD)],
        stdin=subprocess.DEVNULL,
        env=ledger.environment,
        start_new_session=True,
    )
    holders.append(holder)
    wait_for("No network namespace was made", lambda: _is_apart(holder.pid) or None, 5.0, lambda: "")
    return holder.pid


def _is_apart(pid: int) -> bool:
    """Whether a process has left this network namespace."""
    return Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
