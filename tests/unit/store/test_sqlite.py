"""The store: what is in it after a restart, after damage, and with a disk that takes no more."""

from __future__ import annotations

import math
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zethane.adapters.store.sqlite import NUMBER_BLOCK, SqliteStore
from zethane.errors import CapacityError, InputError
from zethane.identity.factor import Passkey, RecoveryCode, TotpFactor
from zethane.identity.proof import Proof, acting
from zethane.identity.session import MAX_SESSION, Attachment, Session
from zethane.service.accounts import Block
from zethane.service.leases import Lease
from zethane.service.policy_numbers import Numbering
from zethane.service.store import Store

ALICES = Proof(
    "user",
    "alice",
    "oidc",
    1000.25,
    ("pwd", "otp"),
    2,
    1000.25,
    frozenset({"staff", "admins"}),
    (("site", "hq"), ("tier", "1")),
    2000.5,
    1500.125,
    issuer="https://id.example",
    subject="248289761001",
    reference="sid-1",
    attributes=(("acr", "urn:mfa"),),
)
ALICE = Session(
    number=7,
    principal=acting((ALICES,)),
    attachment=Attachment(0xFFFFFFFFFFFFFFFF, 5, 12, 0x020000000015),
    addresses=(b"\x0a\x00\x00\x15", bytes(15) + b"\x01"),
    segment="staff",
    started=1000.25,
    proofs=(ALICES,),
    device="alice-laptop",
)


def number_of(store: SqliteStore, kind: str, key: str) -> int:
    """The number of a rule or class, given out and kept if it has none."""
    numbering = Numbering(store)
    found = numbering.number_of(kind, key)
    numbering.keep()
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@contextmanager
def opened(file: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(file)) as store:
        yield store


@contextmanager
def unwritable(store: SqliteStore) -> Iterator[None]:
    """SQLite takes no write."""
    store._db.execute("PRAGMA query_only=ON")
    try:
        yield
    finally:
        store._db.execute("PRAGMA query_only=OFF")


def never(_: int) -> bool:
    return False


def test_it_is_a_session_store(file: Path) -> None:
    """mypy holds the class against the protocol here."""
    with opened(file) as store:
        as_protocol: Store = store
        assert as_protocol.sessions() == []


def test_a_saved_session_is_the_same_after_a_restart(file: Path) -> None:
    with opened(file) as store:
        store.save(ALICE)
        store.save(replace(ALICE, number=8, device=None, addresses=()))
    with opened(file) as store:
        assert store.sessions() == [ALICE, replace(ALICE, number=8, device=None, addresses=())]


def test_a_changed_session_replaces_the_old_and_an_ended_one_is_gone(file: Path) -> None:
    with opened(file) as store:
        store.save(ALICE)
        store.save(replace(ALICE, segment="other"))
        store.save(replace(ALICE, number=8))
        store.end(8)
        store.end(99)
    with opened(file) as store:
        assert store.sessions() == [replace(ALICE, segment="other")]


texts = st.text(max_size=30).filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text))
moments = st.floats(0, 1e11)
limits = moments | st.just(math.inf)
proofs = st.builds(
    Proof,
    st.sampled_from(["user", "device", "workload"]),
    texts,
    st.sampled_from(["portal", "dot1x", "mab", "oidc", "certificate", "attestation"]),
    moments,
    st.lists(texts, max_size=3).map(tuple),
    st.integers(0, 3),
    st.none() | moments,
    st.frozensets(texts, max_size=4),
    st.dictionaries(texts, texts, max_size=4).map(lambda labels: tuple(sorted(labels.items()))),
    limits,
    limits,
    limits,
    texts,
    texts,
    texts,
    st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
)
places = st.builds(
    Attachment,
    st.integers(0, 2**64 - 1),
    st.integers(1, 2**32 - 1),
    st.integers(0, 4095),
    st.integers(0, 2**48 - 1),
)
packed = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    held = tuple(draw(st.lists(proofs, min_size=1, max_size=2)))
    addresses = tuple(draw(st.lists(packed, max_size=8)))
    number, place, segment = draw(st.integers(1, MAX_SESSION)), draw(places), draw(texts)
    return Session(number, acting(held), place, addresses, segment, draw(moments), held, draw(st.none() | texts))


@given(session=sessions())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_session_comes_back_as_it_was(tmp_path: Path, session: Session) -> None:
    with opened(tmp_path / "any.sqlite") as store:
        store.save(session)
        assert session in store.sessions()
        store.end(session.number)
        assert store.sessions() == []


def test_session_numbers_begin_at_one_and_go_up(file: Path) -> None:
    with opened(file) as store:
        assert [store.new_number(never) for _ in range(NUMBER_BLOCK + 2)] == list(range(1, NUMBER_BLOCK + 3))


def test_no_number_is_given_out_again_after_a_crash(file: Path) -> None:
    given_out: list[int] = []
    for _ in range(3):
        store = SqliteStore(file)
        given_out += [store.new_number(never) for _ in range(3)]
        store._db.close()  # nothing else is done at the end: as if the process had been killed
    assert len(set(given_out)) == len(given_out)
    assert given_out == sorted(given_out)


def test_a_block_of_numbers_is_on_the_disk_before_the_first_is_used(file: Path) -> None:
    statements: list[str] = []
    with opened(file) as store:
        store._db.set_trace_callback(statements.append)
        store.new_number(never)
        store.new_number(never)
    assert statements == [
        "PRAGMA synchronous=FULL",
        "INSERT OR REPLACE INTO meta VALUES ('next_session', 256)",
        "PRAGMA synchronous=NORMAL",
    ]


def test_numbers_wrap_at_the_highest_and_skip_those_in_use(file: Path) -> None:
    with opened(file) as store:
        store._next = store._reserved = MAX_SESSION - 2
        in_use = {MAX_SESSION, 1, 2}.__contains__
        assert [store.new_number(in_use) for _ in range(3)] == [MAX_SESSION - 1, 3, 4]


def test_rule_and_class_numbers_are_the_same_ever_after(file: Path) -> None:
    with opened(file) as store:
        first = [number_of(store, "rule", "a"), number_of(store, "rule", "b"), number_of(store, "class", "a")]
    with opened(file) as store:
        assert [number_of(store, "rule", "a"), number_of(store, "rule", "b"), number_of(store, "class", "a")] == first
        assert number_of(store, "rule", "c") == 3
    assert first == [1, 2, 1]


@pytest.mark.parametrize(("kind", "highest"), [("rule", 0xFEFF), ("class", 0xFFFF)])
def test_numbers_of_a_kind_run_out_with_an_error(file: Path, kind: str, highest: int) -> None:
    with opened(file) as store:
        store._db.execute("INSERT INTO numbers VALUES (?, 'last-but-one', ?)", (kind, highest - 1))
        assert number_of(store, kind, "last") == highest
        with pytest.raises(CapacityError, match=kind):
            number_of(store, kind, "one more")
        assert number_of(store, kind, "last") == highest


def test_a_totp_step_is_used_once_and_only_upwards_across_restarts(file: Path) -> None:
    with opened(file) as store:
        assert store.last_totp_step("alice") == -1
        assert store.use_totp_step("alice", 100)
        assert not store.use_totp_step("alice", 100)
    with opened(file) as store:
        assert not store.use_totp_step("alice", 99)
        assert store.use_totp_step("alice", 101)
        assert store.use_totp_step("bob", 5)
        assert (store.last_totp_step("alice"), store.last_totp_step("bob")) == (101, 5)


def test_only_the_owner_can_read_it(file: Path) -> None:
    before = os.umask(0)
    try:
        with opened(file) as store:
            store.save(ALICE)
            parts = list(file.parent.iterdir())
            assert {part.name: stat.S_IMODE(part.stat().st_mode) & 0o077 for part in parts} == dict.fromkeys(
                (part.name for part in parts), 0
            )
    finally:
        os.umask(before)


def test_a_file_that_others_could_read_is_closed_to_them(file: Path) -> None:
    with opened(file):
        file.chmod(0o644)
    with opened(file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def _other_tables(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE meta (something TEXT)")


def _newer(file: Path) -> None:
    SqliteStore(file).close()
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version=99")


def _missing_table(file: Path) -> None:
    SqliteStore(file).close()
    with closing(sqlite3.connect(file)) as db:
        db.execute("DROP TABLE totp")


def _garbage(file: Path) -> None:
    file.write_bytes(b"not a database" * 100)


def _overwritten(file: Path) -> None:
    with opened(file) as store:
        for number in range(1, 500):
            store.save(replace(ALICE, number=number))
    content = bytearray(file.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [_garbage, _overwritten, _other_tables, _newer, _missing_table])
def test_a_damaged_file_is_kept_aside_and_a_new_one_started(file: Path, damage: Any) -> None:
    damage(file)
    content = file.read_bytes()
    with structlog.testing.capture_logs() as logs, opened(file) as store:
        assert store.sessions() == []
        assert not store.use_totp_step("alice", -1)
        assert number_of(store, "rule", "a") == 1
        number = store.new_number(never)
    assert 1 <= number <= MAX_SESSION
    aside = [part for part in file.parent.iterdir() if ".damaged-" in part.name and not part.name.endswith("-wal")]
    # The first 100 bytes are SQLite's header, which it may change when it opens the file.
    assert [part.read_bytes()[100:] for part in aside] == [content[100:]]
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("store-damaged", "error")]
    assert logs[0]["moved_to"] == str(aside[0])


def test_after_damage_session_numbers_do_not_begin_anew(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Switches may still hold entries that carry the low numbers of before."""
    _garbage(file)
    monkeypatch.setattr("secrets.randbelow", lambda bound: bound // 2)
    with opened(file) as store:
        assert store.new_number(never) == MAX_SESSION // 2 + 1


def test_a_second_controller_is_refused_and_the_file_stays(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zethane.adapters.store.sqlite.LOCK_WAIT", 0.01)
    with opened(file) as store:
        store.save(ALICE)
        with pytest.raises(InputError, match=r"store\.sqlite: the store cannot be opened: database is locked"):
            SqliteStore(file)
        store.save(replace(ALICE, number=8))
    assert not [part for part in file.parent.iterdir() if "damaged" in part.name]
    with opened(file) as store:
        assert [session.number for session in store.sessions()] == [7, 8]


def test_a_folder_that_is_missing_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory"):
        SqliteStore(tmp_path / "missing" / "store.sqlite")


def test_a_session_that_makes_no_sense_is_logged_and_forgotten_and_the_others_stay(file: Path) -> None:
    with opened(file) as store:
        store.save(ALICE)
        for number, body in ((1, "{}"), (2, "no json"), (3, "[]"), (4, '{"place": [1]}')):
            store._db.execute("INSERT INTO sessions VALUES (?, ?)", (number, body))
    with structlog.testing.capture_logs() as logs, opened(file) as store:
        assert store.sessions() == [ALICE]
        assert store.sessions() == [ALICE]
    assert [entry["session"] for entry in logs] == [1, 2, 3, 4]


def test_a_disk_that_takes_no_writes_refuses_what_is_new_and_nothing_else(file: Path) -> None:
    with opened(file) as store:
        store.save(ALICE)
        store.use_totp_step("alice", 5)
        number_of(store, "rule", "a")
        with unwritable(store):
            for attempt in (
                lambda: store.save(replace(ALICE, number=8)),
                lambda: store.new_number(never),
                lambda: number_of(store, "rule", "new"),
                lambda: store.use_totp_step("alice", 6),
            ):
                with pytest.raises(CapacityError, match="cannot be written"):
                    attempt()
            assert store.sessions() == [ALICE]
            assert number_of(store, "rule", "a") == 1
        assert store.new_number(never) == 1
        assert store.use_totp_step("alice", 6)


def test_a_session_ends_though_nothing_can_be_written_and_stays_ended_when_it_is_back(file: Path) -> None:
    with opened(file) as store:
        for number in (7, 8, 9):
            store.save(replace(ALICE, number=number))
        with structlog.testing.capture_logs() as logs, unwritable(store):
            store.end(7)
            store.end(8)
        assert [(entry["event"], entry["sessions"]) for entry in logs] == [
            ("session-end-unwritten", 1),
            ("session-end-unwritten", 2),
        ]
        store.end(9)
    with opened(file) as store:
        assert store.sessions() == []


def test_a_full_disk_refuses_a_login_and_keeps_the_sessions_that_are_there(file: Path) -> None:
    with opened(file) as store:
        store.save(ALICE)
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(CapacityError, match="disk is full"):
            store.save(replace(ALICE, number=8, segment="s" * 100_000))
        assert store.sessions() == [ALICE]


LEASE = Lease(b"\x0a\x00\x00\x4d", ALICE.attachment, 5000.5, b"\xffid", declined=True)


def test_leases_are_there_after_a_restart_until_they_end(file: Path) -> None:
    other = replace(LEASE, address=bytes(15) + b"\x01", declined=False)
    with opened(file) as store:
        store.save_lease(replace(LEASE, until=1.0))
        store.save_lease(LEASE)
        store.save_lease(other)
    with opened(file) as store:
        assert store.leases() == [other, LEASE]
        store.end_lease(LEASE.address)
        assert store.leases() == [other]


def test_blocks_are_there_after_a_restart_until_they_end(file: Path) -> None:
    short = Block("user:bob", "", 1000.0, until=2000.0, by="root")
    for_ever = Block("device:laptop", "stolen", 1000.0)
    with opened(file) as store:
        store.save_block(Block("user:bob", "other", 1.0))
        store.save_block(short)
        store.save_block(for_ever)
    with opened(file) as store:
        assert store.blocks() == [for_ever, short]
        store.end_block("user:bob")
        assert store.blocks() == [for_ever]
        with unwritable(store), pytest.raises(CapacityError):
            store.save_block(short)


def test_a_block_that_cannot_be_read_stays_in_force(file: Path) -> None:
    with opened(file) as store:
        store.save_block(Block("user:bob", "", 1000.0, until=2000.0))
        store._db.execute("UPDATE blocks SET body = '{}'")
        with structlog.testing.capture_logs() as logs:
            (block,) = store.blocks()
        assert (block.account, block.until) == ("user:bob", math.inf)
        assert [entry["event"] for entry in logs] == ["block-unreadable"]


def test_a_lease_that_cannot_be_written_or_read_stops_nothing(file: Path) -> None:
    with opened(file) as store:
        with unwritable(store), structlog.testing.capture_logs() as logs:
            store.save_lease(LEASE)
            store.end_lease(LEASE.address)
        assert [entry["event"] for entry in logs] == ["lease-unwritten"] * 2
        assert store.leases() == []
        store.save_lease(LEASE)
        store._db.execute("UPDATE leases SET body = '{}'")
        with structlog.testing.capture_logs() as logs:
            assert store.leases() == []
        assert [entry["event"] for entry in logs] == ["lease-unreadable"]


@pytest.mark.parametrize("version", [1, 2])
def test_a_store_from_before_there_were_proofs_keeps_its_numbers_and_no_session(file: Path, version: int) -> None:
    with opened(file) as store:
        store.save(ALICE)
        number = number_of(store, "rule", "web")
    with closing(sqlite3.connect(file)) as db:
        for table in ("factors", "blocks", "posture", "seen", *(["leases"] if version == 1 else [])):
            db.execute(f"DROP TABLE {table}")
        db.execute(f"PRAGMA user_version={version}")
    with opened(file) as store:
        assert store.sessions() == []
        assert number_of(store, "rule", "web") == number
        store.save_lease(LEASE)
        assert store.leases() == [LEASE]


def test_second_factors_outlive_the_controller_and_go_whole(tmp_path: Path) -> None:
    passkey = Passkey("passkey:AQ", "bob", 1.0, "laptop", "portal.example", b"\1\2", b"\3", 7, True, False, 2.5)
    codes = [RecoveryCode(f"recovery:{number}", "bob", 1.0) for number in range(3)]
    other = TotpFactor("totp:x", "alice", 1.0, b"secret")
    store = SqliteStore(tmp_path / "store.db")
    for factor in (passkey, other):
        store.save_factor(factor)
    store.replace_factors("bob", "recovery", codes[:2])
    store.replace_factors("bob", "recovery", codes[2:])
    store.close()
    store = SqliteStore(tmp_path / "store.db")
    assert store.factors_of("bob") == [passkey, codes[2]]
    assert store.factor("passkey:AQ") == passkey
    assert (store.end_factor("recovery:2"), store.end_factor("recovery:2")) == (True, False)
    store.end_factors("bob")
    assert (store.factors_of("bob"), store.factors_of("alice")) == ([], [other])
    store.close()


def test_a_factor_that_cannot_be_read_proves_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    store.save_factor(TotpFactor("totp:x", "alice", 1.0, b"secret"))
    store._db.execute("UPDATE factors SET body = '{}'")
    assert (store.factors_of("alice"), store.factor("totp:x"), store.end_factor("totp:x")) == ([], None, False)
    store.close()


def test_the_store_knows_whether_rules_of_a_policy_were_ever_in_force(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "zethane.sqlite")
    number_of(store, "rule", "stage:open")
    number_of(store, "class", "web/None")
    assert not store.knows_rules()
    number_of(store, "rule", "staff-web")
    assert store.knows_rules()
    store.close()


def test_numbers_are_kept_by_a_thread_while_sessions_are_saved(file: Path) -> None:
    """What the event loop writes is never a part of the thread's transaction, which may be rolled back."""
    with opened(file) as store:
        priorities = {f"rule{number}": number for number in range(1, 3000)}
        taken = {**priorities, "other": 1}  # two of the same priority: the last of them is refused
        wrong: list[Exception] = []

        def keep() -> None:
            try:
                store.keep_numbers("priority", taken)
            except sqlite3.IntegrityError as error:
                wrong.append(error)

        thread = Thread(target=keep)
        thread.start()
        number = 100
        while thread.is_alive() or number == 100:
            store.save(replace(ALICE, number=number))
            number += 1
        thread.join()
        assert wrong
        assert dict(store.numbers("priority")) == {}
        store.keep_numbers("priority", priorities)
    with opened(file) as store:
        assert [session.number for session in store.sessions()] == list(range(100, number))
        assert dict(store.numbers("priority")) == priorities
