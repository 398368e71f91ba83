"""What the kernel is asked for: that the event loop runs as soon as it has something to do.

An ordinary thread that wakes may wait for the turn of whoever computes on its core: some 3 ms. From Linux 6.12 on it
can ask for short turns of its own (sched_setattr(2), `sched_runtime`), and then has the core at once, unless it has had
more than its share of it. That share stays what it is: nobody else gets less.

Then it needs the interpreter's lock. Another thread that computes lets go of it when it is asked to, and is asked by
whoever has waited for the switch interval; by how much the kernel may be late with the end of that wait, each thread
can say for itself (prctl(2), PR_SET_TIMERSLACK; 50 µs by themselves). So the interval is a few
microseconds, the loop's thread is exact, and others are late on purpose: the loop has the lock back at once, and is
hardly ever asked for it in the middle of something.

A share can be too small all the same: on a machine whose cores are taken, the loop was seen to wait for 30 ms, and a
revocation with it. So the controller asks for precedence over ordinary processes (setpriority(2)), as Open vSwitch's
daemon has it. Where the kernel weighs sessions (setsid(2)) against each other (sched(7), autogroup), that counts within
the controller's own only, and its session is given more weight as well.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

NICE = -10
"""The nice value of Open vSwitch's daemon, which its start script sets."""

TURN = 100_000
"""Nanoseconds: the shortest turn that can be asked for."""

EXACT, PATIENT = 1, 1_000_000
"""Nanoseconds by which waits may last longer than was asked: the event loop's, and those of threads beside it."""

_NUMBERS = {"x86_64": (314, 315), "aarch64": (274, 275)}
"""Of the system calls sched_setattr and sched_getattr, by machine: the C library has no functions for them."""

_SWITCH = Path("/var/run/openvswitch/ovs-vswitchd.pid")
"""Where Open vSwitch's daemon writes its number."""

_SCHED_OTHER = 0
_RESET_ON_FORK = 1
_SET_TIMER_SLACK, _GET_TIMER_SLACK = 29, 30
"""Of prctl(2)."""


class Precedence(NamedTuple):
    """Nice values, -20 to 19, the lower the sooner: of the process, and of its session against others.

    The latter is None where the kernel does not weigh sessions.
    """

    process: int
    session: int | None


class _Attributes(ctypes.Structure):
    """struct sched_attr, as of its first version."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def take_precedence(nice: int) -> Precedence:
    """Ask for a nice value for the process and for its session; call it before there are other threads.

    A nice value that the process was started with stays, and so does the weight of a session that somebody else has
    begun: in a shell's, there may be anything. Returns what holds then: what is refused stays as it was.
    """
    if os.getpriority(os.PRIO_PROCESS, 0) == 0:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, nice)
            if os.getsid(0) == os.getpid():
                with suppress(OSError):
                    session_file(os.getpid()).write_text(str(nice), encoding="ascii")
    return precedence()


def precedence(process: int = 0) -> Precedence:
    """What holds for a process, or for the calling thread. Raises ProcessLookupError if there is no such process."""
    nice = os.getpriority(os.PRIO_PROCESS, process)
    try:
        found = re.search(r"nice (-?\d+)$", session_file(process or os.getpid()).read_text(encoding="ascii").strip())
    except OSError:
        found = None
    return Precedence(nice, int(found[1]) if found else None)


def precedence_of_switch() -> Precedence | None:
    """What holds for the Open vSwitch daemon of this machine; None if there is none."""
    try:
        return precedence(int(_SWITCH.read_text(encoding="ascii")))
    except (OSError, ValueError):
        return None


def session_file(process: int) -> Path:
    """What the kernel says, and may be told, of the weight of a process's session (sched(7))."""
    return Path(f"/proc/{process}/autogroup")


def ask_for_short_turns() -> bool:
    """Have the calling thread run soon after it wakes; threads and processes that it starts from now on are as usual.

    Returns whether the kernel has taken that up. A thread with another policy than the ordinary one is left alone.
    """
    attributes = _read()
    if attributes is None or attributes.policy != _SCHED_OTHER:
        return False
    attributes.size, attributes.runtime = ctypes.sizeof(attributes), TURN
    attributes.flags |= _RESET_ON_FORK
    return _call(0, 0, ctypes.byref(attributes), 0) and turn() == TURN


def turn() -> int | None:
    """The calling thread's turn in nanoseconds, as far as the kernel tells: 0 before Linux 6.12. None: it does not."""
    attributes = _read()
    return None if attributes is None else attributes.runtime


def wait_exactly() -> bool:
    """Let no wait of the calling thread last longer than it has to. Returns whether the kernel has taken that up.

    Threads that it starts from now on are like that as well, unless they `give_way`.
    """
    return _wait(EXACT)


def give_way() -> bool:
    """Let the calling thread wait a little longer than it has to, for the interpreter's lock above all.

    Returns whether the kernel has taken that up.
    """
    return _wait(PATIENT)


def slack() -> int | None:
    """By how many nanoseconds the calling thread's waits may last longer; None: the system has no such thing."""
    return _prctl(_GET_TIMER_SLACK, 0) if platform.system() == "Linux" else None


def _wait(nanoseconds: int) -> bool:
    return platform.system() == "Linux" and _prctl(_SET_TIMER_SLACK, nanoseconds) == 0 and slack() == nanoseconds


def _prctl(option: int, value: int) -> int:
    rest = (ctypes.c_ulong(0),) * 3
    return int(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), *rest))


def _read() -> _Attributes | None:
    attributes = _Attributes()
    return attributes if _call(1, 0, ctypes.byref(attributes), ctypes.sizeof(attributes), 0) else None


def _call(which: int, *arguments: object) -> bool:
    """Make the first or the second of the system calls. Returns whether the kernel knows it, and has done it."""
    numbers = _NUMBERS.get(platform.machine())
    if platform.system() != "Linux" or numbers is None:
        return False
    return bool(ctypes.CDLL(None, use_errno=True).syscall(numbers[which], *arguments) == 0)
