"""MAC addresses: text and integers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zethane.net.mac import format_mac, is_multicast, parse_mac


@given(st.integers(0, 2**48 - 1))
def test_every_address_reads_back_as_it_was_written(mac: int) -> None:
    assert parse_mac(format_mac(mac)) == mac


def test_capital_letters_are_read() -> None:
    assert parse_mac("02:AB:cd:00:00:FF") == 0x02ABCD0000FF


@pytest.mark.parametrize(
    "text", ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "0200.0000.0001", "02-00-00-00-00-01", "02:00:00:00:00:0g"]
)
def test_anything_else_is_an_error_that_shows_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="02:00:00:00:00:15"):
        parse_mac(text)


@pytest.mark.parametrize("tail", [" ", "\n", ":", "0"])
def test_nothing_may_follow_an_address(tail: str) -> None:
    with pytest.raises(ValueError, match="not a MAC address"):
        parse_mac("02:00:00:00:00:15" + tail)


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("02:00:00:00:00:15", False),
        ("01:00:5e:00:00:01", True),
        ("33:33:00:00:00:01", True),
        ("ff:ff:ff:ff:ff:ff", True),
        ("00:01:00:00:00:00", False),
    ],
)
def test_the_group_bit_is_the_lowest_of_the_first_byte(text: str, group: bool) -> None:
    assert is_multicast(parse_mac(text)) is group
