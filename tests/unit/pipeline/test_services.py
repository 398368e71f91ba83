"""Services as matches: port ranges as prefixes, answers told from openings."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zethane.pipeline.flow import match
from zethane.pipeline.services import opening, prefixes, returning
from zethane.policy.service import MAX_PORT, Proto, Service

PORTS = st.integers(0, MAX_PORT)
RANGES = st.tuples(PORTS, PORTS).map(sorted)


def is_in(port: int, low: int, high: int) -> int:
    """How many of the prefixes of a range match a port."""
    return sum(port & mask == value for value, mask in prefixes(low, high))


@given(RANGES, PORTS)
@example([0, MAX_PORT], 0)
@example([1, MAX_PORT], MAX_PORT)
@example([0, 0], 0)
def test_a_port_is_matched_by_one_prefix_if_it_is_in_the_range_and_by_none_otherwise(
    ends: list[int], port: int
) -> None:
    low, high = ends
    near = {low - 1, low, low + 1, high - 1, high, high + 1, port} & set(range(MAX_PORT + 1))
    assert {one: is_in(one, low, high) for one in near} == {one: int(low <= one <= high) for one in near}


@given(RANGES)
def test_the_prefixes_of_a_range_hold_exactly_as_many_ports(ends: list[int]) -> None:
    low, high = ends
    found = list(prefixes(low, high))
    assert sum(MAX_PORT + 1 - mask for _, mask in found) == high - low + 1
    assert all(value & mask == value for value, mask in found)
    assert len(found) <= 30


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (80, 80, [(80, 0xFFFF)]),
        (0, 65535, [(0, 0)]),
        (8192, 65535, [(8192, 0xE000), (16384, 0xC000), (32768, 0x8000)]),
        (79, 81, [(79, 0xFFFF), (80, 0xFFFE)]),
    ],
)  # fmt: skip  # a line per range
def test_prefixes_are_the_fewest(low: int, high: int, wanted: list[tuple[int, int]]) -> None:
    assert list(prefixes(low, high)) == wanted


@pytest.mark.parametrize("proto", get_args(Proto))
def test_every_service_has_matches_for_both_families(proto: Proto) -> None:
    for direction in (opening, returning):
        found = [match(**fields) for fields in direction(Service(proto))]
        assert len(set(found)) == len(found) == 2
        assert {value for one in found for name, value, _ in one if name == "eth_type"} == {0x0800, 0x86DD}


def test_only_what_has_ack_answers_a_tcp_service() -> None:
    assert all(fields["tcp_flags"] == (0x10, 0x10) for fields in returning(Service("tcp", 443, 443)))
    assert all("tcp_flags" not in fields for fields in opening(Service("tcp", 443, 443)))


def test_a_service_is_asked_of_at_the_destination_and_answered_from_the_source() -> None:
    assert [fields["udp_dst"] for fields in opening(Service("udp", 53, 53))] == [(53, 0xFFFF)] * 2
    assert [fields["udp_src"] for fields in returning(Service("udp", 53, 53))] == [(53, 0xFFFF)] * 2


def test_icmp_is_echo_and_nothing_else() -> None:
    assert list(opening(Service("icmp"))) == [
        {"eth_type": 0x0800, "ip_proto": 1, "icmpv4_type": 8, "icmpv4_code": 0},
        {"eth_type": 0x86DD, "ip_proto": 58, "icmpv6_type": 128, "icmpv6_code": 0},
    ]
    assert [fields.get("icmpv4_type", fields.get("icmpv6_type")) for fields in returning(Service("icmp"))] == [0, 129]
