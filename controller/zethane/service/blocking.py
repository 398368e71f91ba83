"""Blocked accounts: put in force at once, kept over restarts, and gone when their time is over."""

from __future__ import annotations

import math
from collections.abc import Sequence

from zethane.audit.reason import SessionEvent
from zethane.service.accounts import Block
from zethane.service.session_life import SessionLife
from zethane.service.state import State
from zethane.service.store import BlockStore


class Blocking:
    """Blocks accounts and lets them in again."""

    def __init__(self, state: State, store: BlockStore, life: SessionLife) -> None:
        self._state = state
        self._store = store
        self._life = life

    def restore(self) -> None:
        """Take up the blocks of the last run."""
        self._state.accounts.blocks = {block.account: block for block in self._store.blocks()}

    def block(self, account: str, why: str, until: float = math.inf, by: str = "") -> list[int]:
        """Let an account have no session from now on; the numbers of the sessions that it was in.

        Raises CapacityError if there are too many, or if the store cannot keep it: it is in force until a restart then.
        """
        accounts = self._state.accounts
        accounts.check_room(account)
        block = Block(account, why, self._state.clock(), until, by)
        accounts.blocks[account] = block
        ended = self._life.end_account(account, SessionEvent.BLOCKED, why)
        self._store.save_block(block)
        return ended

    def unblock(self, account: str) -> bool:
        """Let an account log in again; False if it was not blocked. Raises CapacityError."""
        if account not in self._state.accounts.blocks:
            return False
        self._store.end_block(account)
        del self._state.accounts.blocks[account]
        return True

    def blocks(self) -> Sequence[Block]:
        """Those in force, by account."""
        return sorted(self._state.accounts.blocks.values(), key=lambda block: block.account)

    def tick(self, now: float) -> None:
        """Forget those whose time is over: they say nothing any more."""
        over = [block.account for block in self._state.accounts.blocks.values() if block.until <= now]
        for account in over:
            self.unblock(account)
