"""Deferral: which flows without a connection have no rules on the switches until they show that they go on.

Most of what is short is a question with its answer, or a datagram that nobody answers. Two rules for it at each end are
written, tested for silence, removed and reported for nothing: the packets have been let through by the controller
before any rule could match. So where many such flows come, the rules of each wait for the second packet that goes the
same way.

Where it was built, `deferral_table` takes the place of the class: the same, compiled.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from zethane.native import native

Place = tuple[int, int]
"""A port: the switch's datapath id, and its number there."""


class Deferral:
    """Counts flows within each second of the clock."""

    def __init__(self) -> None:
        self._second = -1
        self._opened: Counter[int] = Counter()
        self._before: Counter[int] = Counter()
        self._waiting: Counter[Place] = Counter()

    def waits(self, own: Place, far: Place, many: int, share: int, now: float) -> bool:
        """Count a new flow from port `own` to port `far`; whether its rules are to wait.

        They do where the subject's switch has had `many` such flows in this second or in the one before. Of those that
        begin or end at one port no more than `share` may in a second: their answers and next packets come up as well,
        within the same bounds of their ports as new flows.
        """
        second = int(now)
        if second != self._second:
            self._before = self._opened if second == self._second + 1 else Counter()
            self._opened, self._second = Counter(), second
            self._waiting.clear()
        switch = own[0]
        self._opened[switch] += 1
        if max(self._opened[switch], self._before[switch]) < many:
            return False
        if self._waiting[own] >= share or self._waiting[far] >= share:
            return False
        self._waiting[own] += 1
        self._waiting[far] += far != own
        return True


PureDeferral = Deferral
if not TYPE_CHECKING and (compiled := native("zethane.service.deferral_table")) is not None:
    Deferral = compiled.Deferral
