"""Services: text, matching and coverage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.policy import services
from zethane.policy.service import Service, covered, pieces, simplify


@pytest.mark.parametrize(
    ("text", "service"),
    [
        ("tcp/443", Service("tcp", 443, 443)),
        ("udp/100-200", Service("udp", 100, 200)),
        ("tcp", Service("tcp", 0, 65535)),
        ("icmp", Service("icmp", 0, 65535)),
        ("any", Service("any", 0, 65535)),
    ],
)
def test_a_service_reads_as_it_prints(text: str, service: Service) -> None:
    """Parsing and str() are inverse."""
    assert Service.parse(text) == service
    assert str(service) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tpc/1", "expected PROTO"),
        ("tcp/", "expected PROTO"),
        ("tcp/01", "expected PROTO"),
        ("tcp/1-2-3", "expected PROTO"),
        ("tcp/٣", "expected PROTO"),
        ("tcp/1\n", "expected PROTO"),
        ("icmp/8", "icmp has none"),
        ("any/80", "any has none"),
        ("tcp/65536", "at most 65535"),
        ("tcp/1-99999", "at most 65535"),
        ("tcp/9-1", "lower port first"),
    ],
)
def test_a_wrong_service_says_what_was_expected(text: str, message: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match=message):
        Service.parse(text)


@pytest.mark.parametrize(
    ("text", "ip_proto", "port", "matches"),
    [
        ("tcp/443", 6, 443, True),
        ("tcp/443", 6, 442, False),
        ("tcp/443", 17, 443, False),
        ("tcp", 6, 0, True),
        ("udp/1-9", 17, 9, True),
        ("udp/1-9", 17, 10, False),
        ("sctp/7", 132, 7, True),
        ("icmp", 1, 0, True),
        ("icmp", 58, 0, True),
        ("icmp", 6, 0, False),
        ("any", 47, 0, True),
        ("any", 6, 65535, True),
    ],
)
def test_what_a_service_matches(text: str, ip_proto: int, port: int, matches: bool) -> None:
    """The verdict for one packet."""
    assert Service.parse(text).matches(ip_proto, port) is matches


@given(services().map(Service.parse), services().map(Service.parse), st.integers(0, 65535))
def test_what_covers_matches_at_least_as_much(wide: Service, narrow: Service, port: int) -> None:
    """`covers` is inclusion of packets."""
    if wide.covers(narrow):
        for ip_proto in (1, 6, 17, 47, 58, 132):
            assert wide.matches(ip_proto, port) or not narrow.matches(ip_proto, port)


@given(st.lists(services().map(Service.parse), min_size=1), st.integers(0, 65535))
def test_simplified_services_match_the_same(given_services: list[Service], port: int) -> None:
    """Merging loses and adds no packet."""
    simple = simplify(given_services)
    for ip_proto in (1, 6, 17, 47, 132):
        before = any(service.matches(ip_proto, port) for service in given_services)
        assert any(service.matches(ip_proto, port) for service in simple) is before


def test_neighbouring_ranges_cover_together() -> None:
    """1-5 and 6-9 cover 3-8, 1-5 and 7-9 do not."""
    asked = Service("tcp", 3, 8)
    assert covered(asked, [Service("tcp", 1, 5), Service("tcp", 6, 9)])
    assert not covered(asked, [Service("tcp", 1, 5), Service("tcp", 7, 9)])
    assert not covered(asked, [Service("udp")])


def test_a_range_is_cut_where_rules_begin_and_end() -> None:
    """The pieces are whole, in order, and without gaps."""
    cuts = [Service("tcp", 80, 80), Service("udp", 85, 85), Service("tcp", 0, 70), Service("any")]
    assert [str(piece) for piece in pieces(Service("tcp", 60, 90), cuts)] == [
        "tcp/60-70",
        "tcp/71-79",
        "tcp/80",
        "tcp/81-90",
    ]
