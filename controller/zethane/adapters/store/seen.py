"""Tokens that must not be taken twice, in the store: a table of its own, on the connection of the store."""

from __future__ import annotations

import sqlite3

from zethane.adapters.store.connection import SharedConnection
from zethane.errors import CapacityError

MAX_SEEN = 100_000
"""Tokens of one issuer that are remembered at once."""

PURGE_EVERY = 1000
"""Entries after which those are removed that are over."""

_HORIZON = ""
"""The name of no token: its row says until when tokens were forgotten that should have been remembered."""


class SeenTable:
    """Implements `service.signals.SeenStore` over a connection that somebody else opens and closes."""

    _db: SharedConnection
    _seen_since_purge = 0

    def take_once(self, issuer: str, token: str, until: float, now: float) -> bool:
        """Record that a token of an issuer was taken; False if it was before, or may have been.

        It is remembered until `until`, when it is too old to be taken. Raises CapacityError if it cannot be written.
        """
        if self.was_seen(issuer, token, until, now):
            return False
        self.see(issuer, token, until, now)
        return True

    def was_seen(self, issuer: str, token: str, until: float, now: float) -> bool:
        """Whether a token was taken before, or may have been. `until` is the moment after which it is too old."""
        row = self._db.execute(
            "SELECT 1 FROM seen WHERE issuer = ? AND ((id = ? AND until >= ?) OR (id = ? AND until >= ?))",
            (issuer, token, now, _HORIZON, until),
        ).fetchone()
        return row is not None

    def see(self, issuer: str, token: str, until: float, now: float) -> None:
        """Remember a token that was taken until it is too old. Raises CapacityError if that cannot be written.

        Where there are too many, those are forgotten that would be over first, and everything as old with them is
        taken for seen.
        """
        with self._db.alone:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (issuer, token, until))
                self._seen_since_purge += 1
                if self._seen_since_purge >= PURGE_EVERY:
                    self._seen_since_purge = 0
                    self._purge(issuer, now)
                self._db.execute("COMMIT")
            except sqlite3.OperationalError as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise CapacityError(f"the store cannot be written: {error}") from error

    def _purge(self, issuer: str, now: float) -> None:
        self._db.execute("DELETE FROM seen WHERE until < ?", (now,))
        row = self._db.execute(
            "SELECT until FROM seen WHERE issuer = ? AND id != ? ORDER BY until DESC LIMIT 1 OFFSET ?",
            (issuer, _HORIZON, MAX_SEEN),
        ).fetchone()
        if row is not None:
            self._db.execute("DELETE FROM seen WHERE issuer = ? AND until <= ?", (issuer, row[0]))
            self._db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (issuer, _HORIZON, row[0]))
