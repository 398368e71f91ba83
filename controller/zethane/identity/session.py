"""Sessions: an authenticated principal bound to one endpoint until it ends."""

from __future__ import annotations

from dataclasses import dataclass

from zethane.net.endpoint import Attachment, Endpoint
from zethane.policy.principal import Principal

__all__ = ["MAX_ADDRESSES", "MAX_SESSION", "Attachment", "Endpoint", "Session"]

MAX_SESSION = 0xFFFEFF
"""Highest session number: it has 24 bits in the cookie and in the metadata; the last 256 values stand for what
does not log in (`pipeline.fields.FIRST_STATIC`)."""

MAX_ADDRESSES = 8
"""IP addresses that one session may hold, both families together."""


@dataclass(frozen=True, slots=True)
class Session:
    """A principal bound to an attachment and its addresses. Times are seconds since the epoch.

    `expires` is the end of the lifetime; `reauthenticate` is the moment by which the principal has to
    prove itself again. The session ends at the earlier of both.
    """

    number: int
    principal: Principal
    attachment: Attachment
    addresses: tuple[bytes, ...]
    segment: str
    methods: tuple[str, ...]
    started: float
    expires: float
    reauthenticate: float
    device: str | None = None
    """Name of the registered device whose MAC the attachment has, if there is one."""

    taken: tuple[bytes, ...] = ()
    """Those of `addresses` that it got by using them, the one that it has had for longest first."""

    @property
    def ends(self) -> float:
        """The moment after which nothing of this session may pass."""
        return min(self.expires, self.reauthenticate)
