"""What is denied is counted, all of it, and logged at a bounded rate per port.

A token bucket per switch and port decides what is written, so that one port's flood leaves the log to the others. The
first packet of a reason at a port since the last account is written whatever the rate: a flood of one kind hides no
other kind of the same port. What is not written is counted per switch, port and reason. Memory is bounded.
"""

from __future__ import annotations

from collections import Counter

from zethane.identity.attempts import Buckets, Rate
from zethane.service.journal import Denied

MAX_PLACES = 16_384
"""Combinations of switch, port and reason that are told apart; the rest of a switch is counted as its port 0."""

ROUNDING = 1e-6
"""Seconds by which a sum of intervals may be off."""

Place = tuple[str, int, str]
"""Switch, port, reason."""


class DenialLog:
    """Says which denials are written. `denied` counts all of them, by place."""

    def __init__(self, rate: int) -> None:
        self.denied: Counter[Place] = Counter()
        self.suppressed = 0
        self._buckets = Buckets(Rate(rate, 1 / rate), MAX_PLACES)
        self._seen: set[Place] = set()
        self._left_out: Counter[Place] = Counter()

    def admit(self, what: Denied, now: float) -> bool:
        """Count a denied packet; whether it is to be written."""
        place = what.switch, what.port, what.reason.value
        if place not in self.denied and len(self.denied) >= MAX_PLACES:
            # A switch that invents ports. There are few switches and few reasons, so that this ends here.
            place = what.switch, 0, what.reason.value
        self.denied[place] += 1
        port = place[:2]
        has_token = self._buckets.wait(port, now) < ROUNDING
        if has_token:
            self._buckets.take(port, now)
        elif place in self._seen:
            self._left_out[place] += 1
            self.suppressed += 1
            return False
        self._seen.add(place)
        return True

    def account(self) -> list[tuple[Place, int]]:
        """How many were not written since the last account."""
        left_out = sorted(self._left_out.items())
        self._left_out.clear()
        self._seen.clear()
        return left_out
