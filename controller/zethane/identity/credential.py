"""What a client offers to prove who it is. Everything in it is hostile until the provider has checked it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from zethane.errors import InputError, Problem

MAX_NAME = 63
"""Characters of a name, as in identities.yaml."""

MAX_SECRET = 1024
"""Bytes of a password or secret in UTF-8."""

CODE_DIGITS = 6
"""Digits of a TOTP code (RFC 4226 §5.3)."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")
_CODE = re.compile(rf"[0-9]{{{CODE_DIGITS}}}")
_RECOVERY_CODE = re.compile(r"[A-Z2-7]{16}")


def is_code(text: str) -> bool:
    """Whether this can be a second factor's code: one of an authenticator app, or a recovery code without dashes."""
    return _CODE.fullmatch(text) is not None or is_recovery_code(text)


def is_recovery_code(text: str) -> bool:
    """Whether this has the form of a recovery code, without dashes."""
    return _RECOVERY_CODE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Credential:
    """A user's password, with or without a TOTP or recovery code, or a workload's secret.

    Raises InputError if a part cannot be one, whoever the client is: too long, empty, odd characters. The
    error and the repr hold neither secret nor code.
    """

    kind: Literal["user", "workload"]
    name: str
    secret: str = field(repr=False)
    code: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        problems = [Problem("login", message, key=key) for key, message in self._faults()]
        if problems:
            raise InputError(problems)

    def _faults(self) -> list[tuple[str, str]]:
        faults: list[tuple[str, str]] = []
        if len(self.name) > MAX_NAME or not _NAME.fullmatch(self.name):
            faults.append((self.kind, f"expected a name of at most {MAX_NAME} letters, digits and _ . @ -"))
        # A lone surrogate has no UTF-8: JSON can carry one. Count it as the three bytes it would take.
        size = len(self.secret.encode("utf-8", "surrogatepass"))
        if not 0 < size <= MAX_SECRET or any("\ud800" <= char <= "\udfff" for char in self.secret):
            faults.append(("secret", f"expected 1 to {MAX_SECRET} bytes of text"))
        if self.code is not None and not is_code(self.code):
            faults.append(("totp", f"expected {CODE_DIGITS} digits, or a recovery code"))
        return faults

    @property
    def account(self) -> str:
        """Kind and name: `user:alice`."""
        return f"{self.kind}:{self.name}"
