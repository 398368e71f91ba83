"""The store in SQLite: one file, write-ahead log, one connection, on the event loop.

Each write is one small transaction. WAL with `synchronous=NORMAL` survives a crash of the process whole; a crash of
the machine may lose the last moments, which costs those hosts a login and never gives a number out twice, because
numbers are taken from the file in blocks.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from zethane.errors import CapacityError
from zethane.identity.session import MAX_SESSION, Attachment, Session
from zethane.pipeline.fields import MAX_CLASS, MAX_RULE
from zethane.policy.principal import Principal

SCHEMA_VERSION = 1
NUMBER_BLOCK = 256
"""Session numbers taken from the file at a time."""

_LAST_NUMBER = {"rule": MAX_RULE, "class": MAX_CLASS}

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE sessions (number INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE numbers (kind TEXT NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL,
                      PRIMARY KEY (kind, key), UNIQUE (kind, number)) STRICT;
CREATE TABLE totp (user TEXT PRIMARY KEY, step INTEGER NOT NULL) STRICT;
"""

_log = structlog.get_logger("zethane.store")


class SqliteStore:
    """Implements `service.store.SessionStore`."""

    def __init__(self, file: Path) -> None:
        """Open the file, or make it. A damaged one is moved aside: everybody has to log in again."""
        self._file = file
        try:
            self._db = self._open()
        except (sqlite3.DatabaseError, _DamagedError) as error:
            aside = file.with_name(f"{file.name}.damaged-{int(time.time())}")
            file.replace(aside)
            for suffix in ("-wal", "-shm"):
                file.with_name(file.name + suffix).unlink(missing_ok=True)
            _log.error("store-damaged", file=str(file), moved_to=str(aside), reason=str(error))  # the reason says it
            self._db = self._open()
        self._next = self._reserved = self._meta("next_session")

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self._file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(self._file, isolation_level=None)
        try:
            _prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def sessions(self) -> list[Session]:
        """The sessions that were saved and not ended."""
        return [_read(body) for (body,) in self._db.execute("SELECT body FROM sessions ORDER BY number")]

    def save(self, session: Session) -> None:
        """Keep a session, new or changed."""
        self._db.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?)", (session.number, _write(session)))

    def end(self, number: int) -> None:
        """Forget a session."""
        self._db.execute("DELETE FROM sessions WHERE number = ?", (number,))

    def new_number(self, in_use: Callable[[int], bool]) -> int:
        """A session number that was not given out since all others were. Raises CapacityError."""
        for _ in range(MAX_SESSION):
            if self._next >= self._reserved:
                self._reserve()
            number = self._next + 1
            self._next += 1
            if not in_use(number):
                return number
        raise CapacityError("every session number is in use")

    def _reserve(self) -> None:
        """Take the next block. The file says what may have been given out, before any of it is."""
        if self._next >= MAX_SESSION:
            self._next = 0
        self._reserved = min(self._next + NUMBER_BLOCK, MAX_SESSION)
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('next_session', ?)", (self._reserved,))

    def _meta(self, name: str) -> int:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def number_of(self, kind: str, key: str) -> int:
        """The number of a rule or class, the same ever after. Raises CapacityError."""
        row = self._db.execute("SELECT number FROM numbers WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        if row is not None:
            return int(row[0])
        last = self._db.execute("SELECT max(number) FROM numbers WHERE kind = ?", (kind,)).fetchone()[0] or 0
        if last >= _LAST_NUMBER[kind]:
            raise CapacityError(f"no {kind} number is left; a new state directory starts from 1")
        self._db.execute("INSERT INTO numbers VALUES (?, ?, ?)", (kind, key, last + 1))
        return int(last) + 1

    def last_totp_step(self, user: str) -> int:
        """The time step of the last code accepted from a user; -1 if there was none."""
        row = self._db.execute("SELECT step FROM totp WHERE user = ?", (user,)).fetchone()
        return int(row[0]) if row else -1

    def use_totp_step(self, user: str, step: int) -> bool:
        """Record a code's time step; False unless it is later than the last."""
        if step <= self.last_totp_step(user):
            return False
        self._db.execute("INSERT OR REPLACE INTO totp VALUES (?, ?)", (user, step))
        return True


class _DamagedError(Exception):
    """The file is no store of this version."""


def _prepare(db: sqlite3.Connection) -> None:
    """Make the tables of a new file, or make sure of an old one. Raises _DamagedError, sqlite3.DatabaseError."""
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    elif version != SCHEMA_VERSION:
        raise _DamagedError(f"schema version {version}, expected {SCHEMA_VERSION}")
    if db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
        raise _DamagedError("the file fails its check")


def _write(session: Session) -> str:
    principal, place = session.principal, session.attachment
    return json.dumps(
        {
            "number": session.number,
            "kind": principal.kind,
            "name": principal.name,
            "groups": sorted(principal.groups),
            "labels": list(principal.labels),
            "mfa": principal.mfa,
            "place": [place.dpid, place.port, place.vlan, place.mac],
            "addresses": [address.hex() for address in session.addresses],
            "segment": session.segment,
            "methods": list(session.methods),
            "times": [session.started, session.expires, session.reauthenticate],
            "device": session.device,
        }
    )


def _read(body: str) -> Session:
    value = json.loads(body)
    labels = tuple((str(name), str(label)) for name, label in value["labels"])
    started, expires, reauthenticate = value["times"]
    return Session(
        number=value["number"],
        principal=Principal(value["kind"], value["name"], frozenset(value["groups"]), labels, value["mfa"]),
        attachment=Attachment(*value["place"]),
        addresses=tuple(bytes.fromhex(address) for address in value["addresses"]),
        segment=value["segment"],
        methods=tuple(value["methods"]),
        started=started,
        expires=expires,
        reauthenticate=reauthenticate,
        device=value["device"],
    )
