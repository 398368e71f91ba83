"""The store in SQLite: one file, write-ahead log, one connection, on the event loop.

Each write is one small transaction; only the numbers of a policy may be many, and are kept beside the event loop. WAL
with `synchronous=NORMAL` survives a crash of the process whole. A crash of the
machine may lose the last moments: who logged in then has to log in again, and a session that ended then is taken up
again until its lifetime ends. It never gives a number out twice: numbers are taken in blocks, and a block is on the
disk (`synchronous=FULL`) before the first of it is used.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import structlog
from msgspec import MsgspecError
from msgspec import json as fast_json

from zethane.adapters.store.connection import SharedConnection, connect
from zethane.adapters.store.factors import FactorTable
from zethane.adapters.store.posture import PostureTable
from zethane.adapters.store.seen import SeenTable
from zethane.errors import CapacityError, InputError, Problem
from zethane.identity.proof import Proof, acting
from zethane.identity.session import MAX_SESSION, Attachment, Session
from zethane.policy.versions import following, version
from zethane.service.accounts import Block
from zethane.service.leases import Lease

SCHEMA_VERSION = 3
NUMBER_BLOCK = 256
"""Session numbers taken from the file at a time."""

LOCK_WAIT = 1.0
"""Seconds to wait for another process that has the file open, such as a controller that is just ending."""

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE sessions (number INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE numbers (kind TEXT NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL,
                      PRIMARY KEY (kind, key), UNIQUE (kind, number)) STRICT;
CREATE TABLE totp (user TEXT PRIMARY KEY, step INTEGER NOT NULL) STRICT;
"""
_LEASES = "CREATE TABLE leases (address BLOB PRIMARY KEY, body TEXT NOT NULL) STRICT;"
"""Since version 2."""

_IDENTITY = """
CREATE TABLE factors (id TEXT PRIMARY KEY, user TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL) STRICT;
CREATE INDEX factors_of ON factors (user);
CREATE TABLE blocks (account TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE posture (device TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE seen (issuer TEXT NOT NULL, id TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (issuer, id)) STRICT;
"""
"""Since version 3: second factors that users have enrolled, principals that were blocked, what is known of devices,
and tokens that must not be taken twice. Sessions of older versions are forgotten: they do not say what proved them."""

_NO_SESSIONS = "DELETE FROM sessions;"

_TABLES_1 = {"meta", "sessions", "numbers", "totp"}
_TABLES = _TABLES_1 | {"leases", "factors", "blocks", "posture", "seen"}

_log = structlog.get_logger("zethane.store")


class SqliteStore(FactorTable, PostureTable, SeenTable):
    """Implements `service.store.Store`."""

    def __init__(self, file: Path) -> None:
        """Open the file, or make it. A damaged one is moved aside: everybody has to log in again.

        Raises InputError for a file that cannot be used as it is, damaged or not: another controller has it open,
        the disk is full, the permissions are wrong. It stays where it is then.
        """
        self._file = file
        self._forgotten: set[int] = set()
        self._numbers: dict[str, Mapping[str, int]] = {}
        self._last_numbers: dict[str, int] = {}
        try:
            self._db = self._open()
        except (sqlite3.DatabaseError, _DamagedError) as error:
            if isinstance(error, sqlite3.OperationalError):
                raise InputError([Problem(str(file), f"the store cannot be opened: {error}")]) from error
            self._db = self._start_anew(error)
        except OSError as error:
            raise InputError([Problem(str(file), f"the store cannot be opened: {error.strerror}")]) from error
        self._next = self._reserved = self._meta("next_session")

    def _open(self) -> SharedConnection:
        descriptor = os.open(self._file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        db = connect(self._file, LOCK_WAIT)
        try:
            _prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _start_anew(self, reason: Exception) -> SharedConnection:
        """Move a damaged file aside. Numbers start anywhere: switches may still hold what carries the old ones."""
        stamp = time.time_ns()
        for suffix in ("", "-wal"):
            part = self._file.with_name(self._file.name + suffix)
            if part.exists():
                part.replace(part.with_name(f"{self._file.name}.damaged-{stamp}{suffix}"))
        aside = f"{self._file}.damaged-{stamp}"
        _log.error("store-damaged", file=str(self._file), moved_to=aside, reason=str(reason))
        db = self._open()
        db.execute("INSERT INTO meta VALUES ('next_session', ?)", (secrets.randbelow(MAX_SESSION),))
        return db

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def sessions(self) -> list[Session]:
        """The sessions that were saved and not ended. One that cannot be read is logged and forgotten."""
        rows = self._db.execute("SELECT number, body FROM sessions ORDER BY number").fetchall()
        read = (self._session(number, body) for number, body in rows)
        return [session for session in read if session is not None]

    def _session(self, number: int, body: str) -> Session | None:
        try:
            return _read(body)
        except (ValueError, KeyError, TypeError) as error:
            _log.error("session-unreadable", session=number, reason=type(error).__name__)
            self.end(number)
            return None

    def save(self, session: Session) -> None:
        """Keep a session, new or changed. Raises CapacityError if it cannot be written."""
        self._write("INSERT OR REPLACE INTO sessions VALUES (?, ?)", (session.number, _text(session)))

    def end(self, number: int) -> None:
        """Forget a session.

        Never raises, as sessions must end whatever the disk says: what cannot be written now is tried again with
        the next session that ends.
        """
        self._forgotten.add(number)
        for due in tuple(self._forgotten):
            try:
                self._write("DELETE FROM sessions WHERE number = ?", (due,))
            except CapacityError as error:
                _log.error("session-end-unwritten", sessions=len(self._forgotten), reason=str(error))
                return
            self._forgotten.discard(due)

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        """Raises CapacityError if it cannot be written; then nothing has changed."""
        try:
            self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise CapacityError(f"the store cannot be written: {error}") from error

    def new_number(self, in_use: Callable[[int], bool]) -> int:
        """A session number that was not given out since all others were.

        Raises CapacityError if every number is in use, or the file cannot be written.
        """
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
        start = self._next if self._next < MAX_SESSION else 0
        reserved = min(start + NUMBER_BLOCK, MAX_SESSION)
        self._db.execute("PRAGMA synchronous=FULL")
        try:
            self._write("INSERT OR REPLACE INTO meta VALUES ('next_session', ?)", (reserved,))
        finally:
            self._db.execute("PRAGMA synchronous=NORMAL")
        self._next, self._reserved = start, reserved

    def _meta(self, name: str) -> int:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def numbers(self, kind: str) -> Mapping[str, int]:
        """All numbers of a kind that are kept, by what they stand for."""
        known = self._numbers.get(kind)
        if known is None:
            rows = self._db.execute("SELECT key, number FROM numbers WHERE kind = ?", (kind,))
            known = self._numbers[kind] = version({str(key): int(number) for key, number in rows})
            self._last_numbers[kind] = max(known.values(), default=0)
        return known

    def last_number(self, kind: str) -> int:
        """The highest of a kind that has been kept; 0 where none has."""
        self.numbers(kind)
        return self._last_numbers[kind]

    def keep_numbers(self, kind: str, given: Mapping[str, int], gone: Collection[str] = ()) -> None:
        """Keep numbers that were given out, and forget some. Raises CapacityError, and nothing has changed then."""
        known = self.numbers(kind)
        out = [(kind, key) for key in (*gone, *(key for key in given if key in known))]
        rows = [(kind, key, number) for key, number in given.items()]
        with self._db.alone:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany("DELETE FROM numbers WHERE kind = ? AND key = ?", out)
                self._db.executemany("INSERT INTO numbers VALUES (?, ?, ?)", rows)
                self._db.execute("COMMIT")
            except sqlite3.DatabaseError as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if not isinstance(error, sqlite3.OperationalError):
                    raise
                raise CapacityError(f"the store cannot be written: {error}") from error
        # Another mapping: somebody may be looking at this one beside the event loop.
        self._numbers[kind] = following(known, given, gone)
        self._last_numbers[kind] = max(self._last_numbers[kind], *given.values(), 0)

    def epoch(self) -> int:
        """A number of 32 bits, chosen at random when it is first asked for. Raises CapacityError."""
        epoch = self._meta("epoch")
        if not epoch:
            epoch = 1 + secrets.randbelow(2**32 - 1)
            self._write("INSERT INTO meta VALUES ('epoch', ?)", (epoch,))
        return epoch

    def knows_rules(self) -> bool:
        """Whether a rule of a policy file ever had a number: those that are made here have a colon in their names."""
        row = self._db.execute("SELECT 1 FROM numbers WHERE kind = 'rule' AND instr(key, ':') = 0 LIMIT 1").fetchone()
        return row is not None

    def leases(self) -> list[Lease]:
        """The leases that were saved and not ended. One that cannot be read is logged and forgotten."""
        rows = self._db.execute("SELECT address, body FROM leases ORDER BY address").fetchall()
        read = (self._lease(address, body) for address, body in rows)
        return [lease for lease in read if lease is not None]

    def _lease(self, address: bytes, body: str) -> Lease | None:
        try:
            value = json.loads(body)
            place, client = Attachment(*value["place"]), bytes.fromhex(value["client"])
            return Lease(address, place, float(value["until"]), client, bool(value["declined"]))
        except (ValueError, KeyError, TypeError) as error:
            _log.error("lease-unreadable", reason=type(error).__name__)
            self.end_lease(address)
            return None

    def save_lease(self, lease: Lease) -> None:
        """Keep a lease, new or changed. What cannot be written is logged: the host asks its server again."""
        place = lease.attachment
        value = {
            "place": [place.dpid, place.port, place.vlan, place.mac],
            "until": lease.until,
            "client": lease.client.hex(),
            "declined": lease.declined,
        }
        self._try("INSERT OR REPLACE INTO leases VALUES (?, ?)", (lease.address, json.dumps(value)))

    def end_lease(self, address: bytes) -> None:
        """Forget the lease of an address."""
        self._try("DELETE FROM leases WHERE address = ?", (address,))

    def _try(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._write(statement, values)
        except CapacityError as error:
            _log.error("lease-unwritten", reason=str(error))

    def blocks(self) -> list[Block]:
        """The blocks that were saved and not ended. One that cannot be read stays in force, without its reason."""
        rows = self._db.execute("SELECT account, body FROM blocks ORDER BY account").fetchall()
        return [self._block(account, body) for account, body in rows]

    def _block(self, account: str, body: str) -> Block:
        try:
            value = json.loads(body)
            until = math.inf if value["until"] is None else float(value["until"])
            return Block(account, str(value["why"]), float(value["since"]), until, str(value["by"]))
        except (ValueError, KeyError, TypeError) as error:
            _log.error("block-unreadable", account=account, reason=type(error).__name__)
            return Block(account, "the reason could not be read", 0.0)

    def save_block(self, block: Block) -> None:
        """Keep a block, new or changed. Raises CapacityError if it cannot be written."""
        until = None if block.until == math.inf else block.until
        body = json.dumps({"why": block.why, "since": block.since, "until": until, "by": block.by})
        self._write("INSERT OR REPLACE INTO blocks VALUES (?, ?)", (block.account, body))

    def end_block(self, account: str) -> None:
        """Forget the block of an account. Raises CapacityError if that cannot be written."""
        self._write("DELETE FROM blocks WHERE account = ?", (account,))

    def last_totp_step(self, user: str) -> int:
        """The time step of the last code accepted from a user; -1 if there was none."""
        row = self._db.execute("SELECT step FROM totp WHERE user = ?", (user,)).fetchone()
        return int(row[0]) if row else -1

    def use_totp_step(self, user: str, step: int) -> bool:
        """Record a code's time step; False unless it is later than the last. Raises CapacityError."""
        if step <= self.last_totp_step(user):
            return False
        self._write("INSERT OR REPLACE INTO totp VALUES (?, ?)", (user, step))
        return True


class _DamagedError(Exception):
    """The file is no store of this version."""


def _prepare(db: sqlite3.Connection) -> None:
    """Make the tables of a new file, or make sure of an old one. Raises _DamagedError, sqlite3.DatabaseError."""
    # Exclusive: a second controller on the same file would end the sessions of the first.
    db.execute("PRAGMA locking_mode=EXCLUSIVE")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.executescript("BEGIN EXCLUSIVE; COMMIT;")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and not _tables(db):
        db.executescript(f"BEGIN; {_SCHEMA} {_LEASES} {_IDENTITY} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    elif (version, _tables(db)) in ((1, _TABLES_1), (2, _TABLES_1 | {"leases"})):
        added = (_LEASES if version == 1 else "") + _IDENTITY + _NO_SESSIONS
        db.executescript(f"BEGIN; {added} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    elif version != SCHEMA_VERSION or _tables(db) != _TABLES:
        raise _DamagedError(f"schema version {version}, expected {SCHEMA_VERSION}")
    if db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
        raise _DamagedError("the file fails its check")


def _tables(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _text(session: Session) -> str:
    place = session.attachment
    return json.dumps(
        {
            "number": session.number,
            "proofs": [_proof_value(proof) for proof in session.proofs],
            "place": [place.dpid, place.port, place.vlan, place.mac],
            "addresses": [address.hex() for address in session.addresses],
            "taken": [address.hex() for address in session.taken],
            "segment": session.segment,
            "started": session.started,
            "device": session.device,
        }
    )


def _proof_value(proof: Proof) -> dict[str, object]:
    """A proof, JSON-ready; no limit is null, which JSON's numbers have no word for."""
    value = {field.name: getattr(proof, field.name) for field in fields(proof)}
    value["groups"] = sorted(proof.groups)
    return {name: None if one == math.inf else one for name, one in value.items()}


def _read(body: str) -> Session:
    try:
        value = fast_json.decode(body)
    except MsgspecError:  # it takes no half of a surrogate pair, which the standard library has written
        value = json.loads(body)
    proofs = tuple(_read_proof(one) for one in value["proofs"])
    return Session(
        number=value["number"],
        principal=acting(proofs),
        attachment=Attachment(*value["place"]),
        addresses=tuple(bytes.fromhex(address) for address in value["addresses"]),
        segment=value["segment"],
        started=value["started"],
        proofs=proofs,
        device=value["device"],
        taken=tuple(bytes.fromhex(address) for address in value.get("taken", ())),
    )


def _read_proof(value: dict[str, Any]) -> Proof:
    limits = {name: math.inf if value[name] is None else value[name] for name in ("expires", "reauthenticate", "idle")}
    pairs = {name: tuple((str(key), str(one)) for key, one in value[name]) for name in ("labels", "attributes")}
    named = {"amr": tuple(value["amr"]), "groups": frozenset(value["groups"])}
    return Proof(**(value | limits | pairs | named))
