"""Prefixes: read, compared, and looked up by the longest."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zethane.net.prefix import PrefixTable, in_order, longest, parse_prefix, within


@pytest.mark.parametrize(
    "text",
    ["", "198.51.100.1/24", "198.51.100.0/33", "300.0.0.0/8", "fe80::%eth0/64", "1", "::/129", "0" * 5000, "a/b"],
)
def test_what_is_no_prefix_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected a prefix without host bits"):
        parse_prefix(text)


def test_an_address_is_a_prefix_of_one() -> None:
    assert str(parse_prefix("198.51.100.80")) == "198.51.100.80/32"
    assert str(parse_prefix("2001:db8::1")) == "2001:db8::1/128"


@st.composite
def prefixes(draw: st.DrawFn) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Prefixes with few different bits, so that they often contain one another."""
    bits, make = draw(st.sampled_from(((32, ipaddress.IPv4Network), (128, ipaddress.IPv6Network))))
    length = draw(st.integers(0, bits))
    start = draw(st.sampled_from((0, 1, 5, 0xF0))) << bits - 8
    return make((start >> bits - length << bits - length if length else 0, length))


addresses = st.builds(
    lambda bits, first, low: (first << bits - 8 | low).to_bytes(bits // 8, "big"),
    st.sampled_from((32, 128)),
    st.sampled_from((0, 1, 4, 5, 0xF0)),
    st.integers(0, 3),
)


@given(st.sets(prefixes(), max_size=12), addresses)
def test_the_table_finds_what_looking_at_each_finds(named: set[ipaddress.IPv4Network], packed: bytes) -> None:
    table = PrefixTable({prefix: str(prefix) for prefix in named})
    found = longest(ipaddress.ip_address(packed), named)
    assert table.find(packed) == (None if found is None else str(found))


@given(prefixes(), prefixes())
def test_one_prefix_is_within_another_if_each_end_of_it_is(
    inner: ipaddress.IPv4Network, outer: ipaddress.IPv4Network
) -> None:
    ends = (inner.network_address, inner.broadcast_address)
    same_family = inner.version == outer.version
    assert within(inner, outer) == (same_family and all(end in outer for end in ends))


def test_the_order_is_by_family_address_and_length() -> None:
    texts = ["::/0", "10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "10.0.0.0/8"]
    assert [str(one) for one in in_order(map(parse_prefix, texts))] == [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.0.0.0/24",
        "::/0",
    ]
