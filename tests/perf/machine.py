"""What the figures were measured on: without it they mean little."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path

from lab.errors import LabError
from lab.shell import run

_STEAL = 8
"""Which of the fields of `cpu`, its name included."""
_CPU = re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)


def machine() -> dict[str, str | int | float]:
    """Processor, cores, load before the run, and the versions of what takes part."""
    found = _CPU.search(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    return {
        "processor": found.group(1) if found else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        "load_before": load(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "open_vswitch": _open_vswitch(),
        "os_ken": importlib.metadata.version("os-ken"),
        "uvloop": importlib.metadata.version("uvloop"),
    }


def load() -> float:
    """Processes that wanted to run, on average of the last minute."""
    return round(os.getloadavg()[0], 2)


def stolen() -> float:
    """Seconds, since it started, in which this machine had something to do and its host ran something else: all cores
    together (`steal` in proc(5)). What a worst case is worth depends on it. 0 where nobody tells.
    """
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
    return int(fields[_STEAL]) / os.sysconf("SC_CLK_TCK") if len(fields) > _STEAL else 0.0


def _open_vswitch() -> str:
    try:
        return run(["ovs-vswitchd", "--version"]).splitlines()[0].rpartition(" ")[2]
    except LabError:
        return "none"
