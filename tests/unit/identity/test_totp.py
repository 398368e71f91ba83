"""One-time codes."""

from __future__ import annotations

import base64

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from fakes.portal_site import TOTP_KEY, TOTP_SECRET
from zethane.identity.directory import secret_bytes
from zethane.identity.totp import accepted_step, code_at

# RFC 6238 Appendix B, SHA-1; of its eight digits the last six.
RFC_KEY = b"12345678901234567890"
RFC_CODES = [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924")]


@pytest.mark.parametrize(("now", "code"), RFC_CODES)
def test_codes_are_those_of_the_rfc(now: int, code: str) -> None:
    assert accepted_step(RFC_KEY, code, now) == now // 30


@given(st.binary(min_size=20, max_size=20), st.integers(min_value=0, max_value=2**40))
def test_codes_are_those_of_authenticator_apps(key: bytes, step: int) -> None:
    secret = base64.b32encode(key).decode("ascii")
    assert code_at(key, step) == pyotp.HOTP(secret).at(step)


def test_a_secret_of_eighty_bits_is_long_enough() -> None:
    assert secret_bytes(SecretStr(TOTP_SECRET)) == TOTP_KEY
    assert accepted_step(TOTP_KEY, code_at(TOTP_KEY, 33), 33 * 30) == 33


@given(st.integers(min_value=150, max_value=4_000_000_000), st.integers(min_value=-4, max_value=4))
def test_a_code_is_good_one_step_early_or_late_and_no_more(now: int, shift: int) -> None:
    present = now // 30
    near = {code_at(TOTP_KEY, present + step): present + step for step in (-1, 0, 1)}
    code = code_at(TOTP_KEY, present + shift)
    assert accepted_step(TOTP_KEY, code, now) == near.get(code)


@given(st.text(max_size=10))
def test_any_text_for_a_code_is_looked_at_without_an_error(code: str) -> None:
    step = accepted_step(TOTP_KEY, code, 1_000_000_000)
    assert step is None or code.isdigit()
