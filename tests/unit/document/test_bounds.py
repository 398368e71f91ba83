"""Files that are made to cost much: bounded memory, bounded problems, and no search for words that nobody reads."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from fakes.portal_site import BOB
from zethane.app.topology import load_topology
from zethane.document.compose import MAX_PROBLEMS, MAX_TEXT, compose
from zethane.errors import InputError
from zethane.identity.directory import parse_identities
from zethane.network.load import parse_network
from zethane.policy.load import parse_policy

MANY = 20 * MAX_PROBLEMS


def joined(make: Callable[[int], str], number: int = MANY) -> str:
    return ", ".join(make(index) for index in range(number))


SEGMENTS = "version: 1\nsegments: {a: {groups: [a]}}\n"


def network(make: Callable[[int], str]) -> str:
    return f"switches: {{s1: {{}}}}\nhosts: {{{joined(make)}}}"


def rules(make: Callable[[int], str], number: int = MANY) -> str:
    return f"{SEGMENTS}rules: [{joined(make, number)}]"


def devices(make: Callable[[int], str]) -> str:
    return f"devices: {{{joined(make)}}}"


def address(number: int) -> str:
    return f"10.0.{number // 200}.{number % 200 + 1}/16"


AGAIN = joined(lambda _: "a", 100)
CASES: dict[str, tuple[Callable[[str, str], Any], str]] = {
    "unknown keys": (parse_network, f"switches: {{s1: {{{joined(lambda n: f'key{n}: 1')}}}}}"),
    "wrong types": (parse_network, f"switches: {{s1: {{}}}}\nlinks: [{joined(lambda _: '1')}]"),
    "unknown switches": (parse_network, network(lambda n: f"h{n}: {{switch: x, ip: {address(n)}}}")),
    "unknown segments": (
        parse_policy,
        rules(lambda n: f"{{id: r{n}, from: [b{n}], to: [any], services: [any]}}"),
    ),
    "unknown services": (
        parse_policy,
        rules(lambda n: f"{{id: r{n}, from: [a], to: [any], services: [b{n}]}}"),
    ),
    "a segment again and again": (
        parse_policy,
        rules(lambda n: f"{{id: r{n}, from: [{AGAIN}], to: [a], services: [any]}}", 100),
    ),
    "unknown owners": (
        parse_identities,
        devices(lambda n: f"d{n}: {{mac: 02:00:00:00:{n // 256:02x}:{n % 256:02x}, owner: u{n}}}"),
    ),
    "a MAC again and again": (parse_identities, devices(lambda n: f"d{n}: {{mac: 02:00:00:00:00:15}}")),
}


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words for which the nearest known one was looked for: each look takes milliseconds."""
    asked: list[str] = []

    def get_close_matches(word: str, known: Iterable[str], n: int) -> list[str]:
        asked.append(word)
        return list(known)[:n]

    monkeypatch.setattr(difflib, "get_close_matches", get_close_matches)
    return asked


@pytest.mark.parametrize("name", CASES)
def test_many_mistakes_are_counted_and_the_first_ones_told(name: str, searches: list[str]) -> None:
    parse, text = CASES[name]
    with pytest.raises(InputError) as caught:
        parse(text, "file.yaml")
    problems = caught.value.problems
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].message.startswith("and ")
    assert int(problems[-1].message.split()[1]) >= MANY - MAX_PROBLEMS - 1
    assert len(searches) <= MAX_PROBLEMS
    assert len(str(caught.value)) < 1000 * MAX_PROBLEMS


def test_many_logins_of_nobody_are_counted(tmp_path: Path, searches: list[str]) -> None:
    (tmp_path / "policy.yaml").write_text(SEGMENTS)
    users = joined(lambda n: f"user{n}: {{groups: [a], password: '{BOB}'}}", 10)
    (tmp_path / "identities.yaml").write_text(f"users: {{{users}}}")

    def host(number: int) -> str:
        return f"h{number}: {{switch: s1, ip: {address(number)}, login: {{user: uzer{number}, password: x}}}}"

    (tmp_path / "network.yaml").write_text(network(host))
    with pytest.raises(InputError) as caught:
        load_topology(tmp_path)
    assert len(caught.value.problems) == MAX_PROBLEMS + 1
    assert len(searches) == MAX_PROBLEMS


def test_what_aliases_repeat_counts_as_if_it_were_written_out() -> None:
    """Each alias is written out again for the model: a megabyte, two hundred times."""
    megabyte = "x" * 2**20
    text = f"a: &a {megabyte}\nb: [{joined(lambda _: '*a', 200)}]\n"
    assert len(text) < MAX_TEXT
    with pytest.raises(InputError, match=r"^f.yaml:2:\d+: expected at most \d+ characters, with what aliases repeat$"):
        compose(text, "f.yaml")
    assert compose(f"a: &a {megabyte}\nb: [*a, *a]\n", "f.yaml").characters == 3 * 2**20 + 2


def test_aliases_of_aliases_count_too() -> None:
    text = f"a: &a [{'x' * 2**18}]\nb: &b [{joined(lambda _: '*a', 8)}]\nc: [{joined(lambda _: '*b', 8)}]\n"
    with pytest.raises(InputError, match="with what aliases repeat"):
        compose(text, "f.yaml")
