"""Tokens that must not be taken twice."""

from __future__ import annotations

from pathlib import Path

from zethane.adapters.store.sqlite import SqliteStore


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
