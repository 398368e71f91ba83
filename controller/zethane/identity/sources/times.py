"""The section `sessions`: how long proofs hold, by method and by segment. The shortest that applies counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import Field

from zethane.document import Model
from zethane.document.duration import Duration, seconds
from zethane.identity.proof import Method
from zethane.policy.schema import Name


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long a proof holds, in seconds; infinity where there is no limit."""

    lifetime: float = math.inf
    reauthenticate: float = math.inf
    idle: float = math.inf


class Times(Model):
    """`lifetime` after which a proof ends, `reauthenticate` by when it has to be renewed, `idle` in silence."""

    lifetime: Duration | None = None
    reauthenticate: Duration | None = None
    idle: Duration | None = None


class SessionTimes(Times):
    """For everybody, and more narrowly for methods and segments."""

    methods: dict[Method, Times] = Field(default_factory=dict, max_length=16)
    segments: dict[Name, Times] = Field(default_factory=dict, max_length=1024)

    def lengths(self, method: Method, segment: str, default: Lengths) -> Lengths:
        """The shortest of what applies to a method in a segment; `default` where nothing is said for everybody."""
        narrow = [one for one in (self.methods.get(method), self.segments.get(segment)) if one is not None]
        return Lengths(
            _shortest(self.lifetime, default.lifetime, [one.lifetime for one in narrow]),
            _shortest(self.reauthenticate, default.reauthenticate, [one.reauthenticate for one in narrow]),
            _shortest(self.idle, default.idle, [one.idle for one in narrow]),
        )


def _shortest(everybody: str | None, default: float, narrow: list[str | None]) -> float:
    general = default if everybody is None else seconds(everybody)
    return min(general, *(seconds(one) for one in narrow if one is not None), math.inf)
