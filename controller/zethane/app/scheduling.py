"""What the kernel's scheduler is asked for: that the event loop runs as soon as it has something to do.

An ordinary thread that wakes may wait for the turn of whoever computes on its core: some 3 ms. From Linux 6.12 on it
can ask for short turns of its own (sched_setattr(2), `sched_runtime`), and then has the core at once, unless it has had
more than its share of it. That share stays what it is: nobody else gets less.
"""

from __future__ import annotations

import ctypes
import platform

TURN = 100_000
"""Nanoseconds: the shortest turn that can be asked for."""

_NUMBERS = {"x86_64": (314, 315), "aarch64": (274, 275)}
"""Of the system calls sched_setattr and sched_getattr, by machine: the C library has no functions for them."""

_SCHED_OTHER = 0
_RESET_ON_FORK = 1


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


def _read() -> _Attributes | None:
    attributes = _Attributes()
    return attributes if _call(1, 0, ctypes.byref(attributes), ctypes.sizeof(attributes), 0) else None


def _call(which: int, *arguments: object) -> bool:
    """Make the first or the second of the system calls. Returns whether the kernel knows it, and has done it."""
    numbers = _NUMBERS.get(platform.machine())
    if platform.system() != "Linux" or numbers is None:
        return False
    return bool(ctypes.CDLL(None, use_errno=True).syscall(numbers[which], *arguments) == 0)
