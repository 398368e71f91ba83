"""What a client may offer at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zethane.errors import InputError
from zethane.identity.credential import Credential


@pytest.mark.parametrize(
    ("name", "secret", "code", "key"),
    [
        ("", "s", None, "user"),
        ("a" * 64, "s", None, "user"),
        ("a\nb", "s", None, "user"),
        ("-a", "s", None, "user"),
        ("a", "", None, "secret"),
        ("a", "s" * 1025, None, "secret"),
        ("a", "é" * 513, None, "secret"),
        ("a", "\ud800", None, "secret"),
        ("a", "s", "12345", "totp"),
        ("a", "s", "1234567", "totp"),
        ("a", "s", "١٢٣٤٥٦", "totp"),
    ],
)
def test_what_cannot_be_a_credential_is_an_error_that_names_the_field(
    name: str, secret: str, code: str | None, key: str
) -> None:
    with pytest.raises(InputError) as caught:
        Credential("user", name, secret, code)
    assert [problem.key for problem in caught.value.problems] == [key]


@given(st.text(min_size=12, max_size=300), st.from_regex(r"[0-9]{6}", fullmatch=True))
def test_neither_repr_nor_error_holds_what_is_secret(secret: str, code: str) -> None:
    try:
        told = repr(Credential("user", "alice", secret, code))
    except InputError as error:
        told = f"{error!r} {error}"
    assert secret not in told
    assert code not in told
