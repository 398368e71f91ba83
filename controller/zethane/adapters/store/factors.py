"""The second factors of users in the store: a table of its own, on the connection of the store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import structlog

from zethane.adapters.store.connection import SharedConnection
from zethane.errors import CapacityError
from zethane.identity.factor import Factor, FactorKind, Passkey, RecoveryCode, TotpFactor

_KINDS: dict[str, type[TotpFactor] | type[Passkey] | type[RecoveryCode]] = {
    "totp": TotpFactor,
    "passkey": Passkey,
    "recovery": RecoveryCode,
}
_BYTES = frozenset(("key", "handle", "public_key"))

_INSERT = "INSERT OR REPLACE INTO factors VALUES (?, ?, ?, ?)"

_log = structlog.get_logger("zethane.store")


class FactorTable:
    """Implements `service.store.FactorStore` over a connection that somebody else opens and closes."""

    _db: SharedConnection

    def factors_of(self, user: str) -> list[Factor]:
        """The factors of a user, oldest first. One that cannot be read is logged, and proves nothing."""
        rows = self._db.execute(
            "SELECT id, user, kind, body FROM factors WHERE user = ? ORDER BY rowid", (user,)
        ).fetchall()
        return [factor for factor in map(_read, rows) if factor is not None]

    def factor(self, factor_id: str) -> Factor | None:
        """One factor."""
        row = self._db.execute("SELECT id, user, kind, body FROM factors WHERE id = ?", (factor_id,)).fetchone()
        return _read(row) if row else None

    def save_factor(self, factor: Factor) -> None:
        """Keep a factor, new or changed. Raises CapacityError."""
        self._change([(_INSERT, _row(factor))])

    def end_factor(self, factor_id: str) -> bool:
        """Forget a factor; False if there is none. Raises CapacityError: then it is still there."""
        if self.factor(factor_id) is None:
            return False
        self._change([("DELETE FROM factors WHERE id = ?", (factor_id,))])
        return True

    def replace_factors(self, user: str, kind: FactorKind, factors: Sequence[Factor]) -> None:
        """Put factors in the place of all that a user has of their kind, all or none. Raises CapacityError."""
        deletion = ("DELETE FROM factors WHERE user = ? AND kind = ?", (user, kind))
        self._change([deletion, *((_INSERT, _row(factor)) for factor in factors)])

    def end_factors(self, user: str) -> None:
        """Forget all factors of a user. Raises CapacityError."""
        self._change([("DELETE FROM factors WHERE user = ?", (user,))])

    def _change(self, statements: Sequence[tuple[str, tuple[object, ...]]]) -> None:
        """All of them or none. What was said to be used or gone is so after a power failure, too."""
        with self._db.alone:
            try:
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.execute("BEGIN IMMEDIATE")
                for statement, values in statements:
                    self._db.execute(statement, values)
                self._db.execute("COMMIT")
            except sqlite3.OperationalError as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise CapacityError(f"the store cannot be written: {error}") from error
            finally:
                self._db.execute("PRAGMA synchronous=NORMAL")


def _row(factor: Factor) -> tuple[str, str, str, str]:
    body = {
        field.name: value.hex() if isinstance(value := getattr(factor, field.name), bytes) else value
        for field in fields(factor)
        if field.name not in ("id", "user")
    }
    return factor.id, factor.user, factor.kind, json.dumps(body)


def _read(row: tuple[str, str, str, str]) -> Factor | None:
    factor_id, user, kind, body = row
    try:
        value: dict[str, Any] = json.loads(body)
        read: dict[str, Any] = {name: bytes.fromhex(one) if name in _BYTES else one for name, one in value.items()}
        return _KINDS[kind](id=factor_id, user=user, **read)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        _log.error("factor-unreadable", user=user, kind=kind, reason=type(error).__name__)
        return None
