"""Sessions: an authenticated principal bound to one endpoint until it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from zethane.identity.proof import BELOW_IP, Proof
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
    """A principal, or a user on a device, bound to an attachment and its addresses. Times: seconds since the epoch.

    `principal` is who acts, as policy sees it; `proofs` are what that rests on, one for each principal. A session
    that began below IP (IEEE 802.1X) has no address until its host uses one.
    """

    number: int
    principal: Principal
    attachment: Attachment
    addresses: tuple[bytes, ...]
    segment: str
    started: float
    proofs: tuple[Proof, ...] = ()
    device: str | None = None
    """Name of the registered device whose MAC the attachment has, if there is one: a hint, and no proof."""

    taken: tuple[bytes, ...] = ()
    """Those of `addresses` that it got by using them, the one that it has had for longest first."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The authentication methods of all proofs (RFC 8176 §2)."""
        return tuple(dict.fromkeys(name for proof in self.proofs for name in proof.amr))

    @property
    def is_below_ip(self) -> bool:
        """Whether one of its proofs came without an address: its host gets those that it uses."""
        return any(proof.method in BELOW_IP for proof in self.proofs)

    @property
    def expires(self) -> float:
        """The end of the lifetime."""
        return min((proof.expires for proof in self.proofs), default=math.inf)

    @property
    def reauthenticate(self) -> float:
        """The moment by which its principals have to prove themselves again."""
        return min((proof.reauthenticate for proof in self.proofs), default=math.inf)

    @property
    def ends(self) -> float:
        """The moment after which nothing of this session may pass as it is now."""
        return min([proof.ends for proof in self.proofs], default=math.inf)

    @property
    def idle(self) -> float:
        """How long its host may send nothing, in seconds."""
        return min((proof.idle for proof in self.proofs), default=math.inf)

    @property
    def aal(self) -> int:
        """The assurance level of who acts (NIST SP 800-63B)."""
        return self.principal.aal
