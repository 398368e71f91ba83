"""What the hot path needs of a decision, and what flows share that share one."""

from __future__ import annotations

import math
from typing import NamedTuple

from zethane.policy.model import Rule


class Verdict(NamedTuple):
    """What the hot path needs of a decision; `rule` is a number, 0 without a rule.

    `until` is when hours, or the time in a relation, may make an end to what is allowed, in seconds since the epoch;
    infinity if they do not.
    """

    allowed: bool
    rule: int
    rule_id: str | None
    reason: str
    relations: tuple[tuple[Rule, Verdict], ...] = ()
    """Rules about both ends that decide first, by rank, and what each decides where it holds. Where there are any, it
    takes both ends to know: `service.relations`. The verdict itself is that of the rest."""
    until: float = math.inf


Group = tuple[int, int, int, int]
"""What flows share that share a decision: both classes, the protocol, and the port that was opened."""
