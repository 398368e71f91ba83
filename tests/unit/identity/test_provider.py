"""Holding credentials against identities.yaml."""

from __future__ import annotations

import pytest

from fakes.portal_site import ALICE, TOTP_SECRET, directory
from zethane.identity.credential import Credential
from zethane.identity.provider import Provider, matches


def test_a_secret_matches_its_hash_and_no_other() -> None:
    assert matches(ALICE, "lab-alice")
    assert not matches(ALICE, "lab-alicf")
    assert not matches("$argon2id$nonsense", "lab-alice")


@pytest.mark.parametrize(("kind", "name"), [("user", "nobody"), ("workload", "nobody"), ("user", "gone")])
def test_who_cannot_log_in_costs_what_the_others_cost(kind: str, name: str) -> None:
    provider = Provider(directory())
    expected = provider.expected(Credential(kind, name, "x"))  # type: ignore[arg-type]  # parametrized
    assert expected.reason
    assert expected.hash.rsplit("$", 2)[0] == ALICE.rsplit("$", 2)[0]
    assert not matches(expected.hash, "x")


def test_a_workload_is_not_a_user_of_that_name() -> None:
    provider = Provider(directory())
    assert provider.expected(Credential("user", "web1", "x")).reason == "unknown"
    assert provider.expected(Credential("workload", "web1", "x")).reason == ""


def test_an_empty_file_still_costs_something() -> None:
    assert (
        Provider(directory("users: {}"))
        .expected(Credential("user", "a", "x"))
        .hash.startswith("$argon2id$v=19$m=65536")
    )


def test_expectations_do_not_show_hashes_or_secrets() -> None:
    told = repr(Provider(directory()).expected(Credential("user", "alice", "x")))
    assert "argon2" not in told
    assert TOTP_SECRET not in told
