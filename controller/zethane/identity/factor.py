"""Second factors that users have enrolled: one-time codes, passkeys, recovery codes. Pure.

NIST SP 800-63B calls them one-time password devices, cryptographic authenticators and look-up secrets.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Literal

FactorKind = Literal["totp", "passkey", "recovery"]

RECOVERY: Literal["recovery"] = "recovery"
"""The kind of recovery codes, and what all of a user's are called."""

MAX_PASSKEYS = 10
"""Passkeys of one user."""

RECOVERY_CODES = 10
"""Recovery codes that a user is given at a time; new ones take the place of the old."""

RECOVERY_BYTES = 10
"""Random bytes of a recovery code: 80 bits. SP 800-63B §3.1.2.2 asks for 64 where the hash is not salted and slow."""

TOTP_BYTES = 20
"""Random bytes of a TOTP secret (RFC 4226 §4: 160 bits recommended)."""

MAX_FACTOR_NAME = 40
"""Characters of the name that a user gives to a passkey."""

MAX_CREDENTIAL_ID = 1023
"""Bytes of a credential ID (WebAuthn level 3 §4, "credential ID")."""


@dataclass(frozen=True, slots=True)
class TotpFactor:
    """A secret that an authenticator app makes codes from (RFC 6238)."""

    id: str
    user: str
    created: float
    key: bytes = field(repr=False)

    kind = "totp"


@dataclass(frozen=True, slots=True)
class Passkey:
    """A WebAuthn credential: what a relying party has to remember (WebAuthn level 3 §4, "credential record").

    `id` holds the credential ID, `handle` is the user handle that all passkeys of a user share. `synced` says that
    the key may be copied to other devices of its owner ("backup eligible"), `verifies` that the authenticator has
    verified its user, as by a fingerprint or a PIN, when the passkey was made. `used` is when it last proved
    something. Times are seconds since the epoch.
    """

    id: str
    user: str
    created: float
    name: str
    relying_party: str
    handle: bytes
    public_key: bytes = field(repr=False)
    sign_count: int
    synced: bool
    verifies: bool
    used: float | None = None

    kind = "passkey"


@dataclass(frozen=True, slots=True)
class RecoveryCode:
    """A code on paper that works once. `id` holds its hash; the code itself is kept nowhere."""

    id: str
    user: str
    created: float

    kind = "recovery"


Factor = TotpFactor | Passkey | RecoveryCode


def reference(factor: Factor) -> str:
    """A short name of a factor, for users, records and the proofs that rest on it. It is no secret, and one word."""
    if factor.kind == RECOVERY:
        return RECOVERY
    return f"{factor.kind}:{hashlib.sha256(factor.id.encode('utf-8')).hexdigest()[:16]}"


def passkey_id(credential_id: str) -> str:
    """The id of a passkey, from its credential ID in base64url without padding."""
    return f"passkey:{credential_id}"


def recovery_id(user: str, code: str) -> str:
    """The id of a recovery code as its user types it."""
    digest = hashlib.sha256(f"zethane recovery code\0{user}\0{plain_code(code)}".encode("utf-8", "surrogatepass"))
    return f"recovery:{digest.hexdigest()}"


def recovery_code(random: bytes) -> str:
    """The code for these random bytes, in groups of four letters and digits (base32, RFC 4648 §6)."""
    text = base64.b32encode(random).decode("ascii")
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def plain_code(code: str) -> str:
    """A code as it is checked: however its user has spaced it."""
    return code.replace(" ", "").replace("-", "").upper()
