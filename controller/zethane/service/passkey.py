"""A passkey as logins and enrolment speak of it: for whom it is, what it has proved, or why it has not.

The ceremonies are in `passkeys`: what they need takes a twentieth of a second to be imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zethane.audit.reason import LoginRefusal
from zethane.errors import AuthenticationError
from zethane.identity.factor import Passkey

Response = dict[str, Any]
"""A PublicKeyCredential as its `toJSON()` gives it (WebAuthn level 3 §5.1)."""


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """The portal as browsers know it, by its configuration: `id` is its host name, `origin` scheme, name and port."""

    id: str
    origin: str


class PasskeyRefusedError(AuthenticationError):
    """A passkey proves nothing here. `user` is whose it would be; None if it is nobody's."""

    def __init__(self, explanation: str, user: str | None = None) -> None:
        self.explanation = explanation
        self.user = user
        self.reason = LoginRefusal.WRONG_PASSKEY
        super().__init__(explanation)


@dataclass(frozen=True, slots=True)
class Asserted:
    """A passkey that has just been shown to be there, and whether its user was verified."""

    passkey: Passkey
    verified: bool
