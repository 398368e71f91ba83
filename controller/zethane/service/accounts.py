"""Which accounts may have no session: those that the directory has disabled, and those that an operator has blocked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from zethane.audit.reason import LoginRefusal
from zethane.errors import CapacityError
from zethane.identity.directory import Directory
from zethane.policy.principal import PrincipalKind

MAX_BLOCKS = 20_000
"""Accounts that may be blocked at once."""


@dataclass(frozen=True, slots=True)
class Block:
    """An account (`user:alice`) that may not log in. Moments in seconds since the epoch; `until` may be infinity."""

    account: str
    why: str
    since: float
    until: float = math.inf
    by: str = ""


class Accounts:
    """The directory's word and the operators'."""

    def __init__(self) -> None:
        self.directory: Directory | None = None
        self.held: Directory | None = None
        """The one that all live sessions have been held against: it is behind while that goes on, or if it failed."""
        self.blocks: dict[str, Block] = {}

    def refusal(self, account: str, now: float) -> LoginRefusal | None:
        """Why an account may have no session at a moment; None if it may."""
        block = self.blocks.get(account)
        if block is not None and block.until > now:
            return LoginRefusal.BLOCKED
        kind, _, name = account.partition(":")
        if self.directory is not None and self.directory.is_disabled(cast("PrincipalKind", kind), name):
            return LoginRefusal.DISABLED
        return None

    def check_room(self, account: str) -> None:
        """Raise CapacityError if there is no room for one more blocked account."""
        if len(self.blocks) >= MAX_BLOCKS and account not in self.blocks:
            raise CapacityError(f"{MAX_BLOCKS} accounts are blocked already")
