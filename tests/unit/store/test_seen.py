"""Tokens that were taken: a restart knows them, and however many there are, none can be used again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from zethane.adapters.store import seen
from zethane.adapters.store.sqlite import SqliteStore
from zethane.errors import CapacityError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "s.sqlite")
    yield made
    made.close()


def test_a_token_is_known_by_its_issuer_and_after_a_restart(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "s.sqlite")
    first.see("https://a", "j-1", 100.0, 1.0)
    first.close()
    again = SqliteStore(tmp_path / "s.sqlite")
    assert again.was_seen("https://a", "j-1", 100.0, 1.0)
    assert not again.was_seen("https://a", "j-2", 100.0, 1.0)
    assert not again.was_seen("https://b", "j-1", 100.0, 1.0)
    again.close()


def test_what_is_over_is_forgotten_and_what_had_to_be_counts_as_seen(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "MAX_SEEN", 20)
    monkeypatch.setattr(seen, "PURGE_EVERY", 5)
    store.see("https://b", "other", 50.0, 1.0)
    for number in range(100):
        store.see("https://a", f"j-{number}", 1000.0 + number, 1.0)
        assert store._db.execute("SELECT count(*) FROM seen").fetchone()[0] <= 27
    assert all(store.was_seen("https://a", f"j-{number}", 1000.0 + number, 1.0) for number in range(100))
    assert not store.was_seen("https://a", "new", 1101.0, 1.0)
    assert store.was_seen("https://a", "new but as old as what was forgotten", 1010.0, 1.0)
    assert store.was_seen("https://b", "other", 50.0, 1.0)
    for number in range(5):
        store.see("https://a", f"later-{number}", 9000.0, 5000.0)
    assert store._db.execute("SELECT count(*) FROM seen").fetchone()[0] == 5


def test_what_cannot_be_written_is_said(store: SqliteStore) -> None:
    store._db.execute("PRAGMA query_only=ON")
    with pytest.raises(CapacityError):
        store.see("https://a", "j-1", 100.0, 1.0)
    assert not store.was_seen("https://a", "j-1", 100.0, 1.0)


def test_a_token_is_taken_once_until_it_is_too_old_to_be_taken_at_all(tmp_path: Path) -> None:
    """Also after a restart, and by each issuer for itself."""
    file = tmp_path / "store.sqlite"
    store = SqliteStore(file)
    assert store.take_once("https://a.example", "j1", 100.0, 50.0)
    assert not store.take_once("https://a.example", "j1", 100.0, 60.0)
    assert store.take_once("https://b.example", "j1", 100.0, 60.0)
    store.close()
    store = SqliteStore(file)
    assert not store.take_once("https://a.example", "j1", 100.0, 99.0)
    assert store.take_once("https://a.example", "j1", 200.0, 101.0)
    store.close()
