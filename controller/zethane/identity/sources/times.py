"""The section `sessions`: how long proofs hold, by method and by segment. The shortest that applies counts."""

from __future__ import annotations

from pydantic import Field

from zethane.document import Model
from zethane.document.duration import Duration
from zethane.identity.proof import Method
from zethane.policy.schema import Name


class Times(Model):
    """`lifetime` after which a proof ends, `reauthenticate` by when it has to be renewed, `idle` in silence."""

    lifetime: Duration | None = None
    reauthenticate: Duration | None = None
    idle: Duration | None = None


class SessionTimes(Times):
    """For everybody, and more narrowly for methods and segments."""

    methods: dict[Method, Times] = Field(default_factory=dict, max_length=16)
    segments: dict[Name, Times] = Field(default_factory=dict, max_length=1024)
