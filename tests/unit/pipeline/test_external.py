"""Regions: what a policy's networks come to behind an uplink, and the entries that say so."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from strategies.policy import NETWORKS, OUTSIDE
from zethane.net.endpoint import Attachment
from zethane.net.prefix import Prefix, longest, parse_prefix
from zethane.pipeline.external import Gateway, external_destinations, external_sources, regions
from zethane.pipeline.fields import FABRIC, FIRST_STATIC, NETWORK_CLASS, Reason, split_cookie
from zethane.pipeline.simulate import Simulator
from zethane.pipeline.tables import Table

PREFIXES = [parse_prefix(text) for text in (*NETWORKS, "198.51.100.64/26", "2001:db8::/32", "10.0.0.0/8")]
OWN = [parse_prefix(text) for text in ("198.51.100.0/28", "10.0.0.0/24", "2001:db8:ffff:2::/64", "fe80::/10")]
ADDRESSES = [
    ipaddress.ip_address(text)
    for text in (*OUTSIDE, "198.51.100.1", "198.51.100.65", "10.0.0.1", "10.0.1.1", "fe80::1", "2001:db8:ffff:2::9")
]
ROUTER = 0x020000000001

some = st.sets(st.sampled_from(PREFIXES), max_size=6)


def gateway(networks: set[Prefix]) -> Gateway:
    return Gateway("wan", FIRST_STATIC, 1, Attachment(1, 8, 0, ROUTER), (), tuple(sorted(networks, key=str)))


@given(some, some, st.sampled_from(ADDRESSES), st.sampled_from((1, 2)))
def test_an_address_has_the_class_of_its_longest_named_prefix_if_it_is_outside(
    networks: set[Prefix], named: set[Prefix], address: ipaddress.IPv4Address, switch: int
) -> None:
    """Both tables say so, at the uplink's switch and at any other; what is ours or not behind the uplink has none."""
    router = gateway(networks)
    numbers = {prefix: NETWORK_CLASS | index for index, prefix in enumerate(sorted(named, key=str), 1)}
    found = regions(router, numbers, OWN)
    entries = [*external_sources(router, found, OWN, switch), *external_destinations(router, found, OWN)]
    assert len({entry.key for entry in entries}) == len(entries)
    around = longest(address, named)
    behind = longest(address, networks) is not None and longest(address, OWN) is None
    expected = numbers[around] if around is not None and behind else None

    family = "ipv4" if address.version == 4 else "ipv6"
    packet = {
        "in_port": 8 if switch == 1 else 9,
        "metadata": 0 if switch == 1 else FABRIC,
        "eth_src": ROUTER,
        "eth_dst": ROUTER,
        "eth_type": 0x0800 if address.version == 4 else 0x86DD,
        f"{family}_src": int(address),
        f"{family}_dst": int(address),
    }
    tables = Simulator(entries)
    source = tables.run_from(Table.SOURCE, packet).path
    entered = bool(source) and source[0].goto == Table.DESTINATION
    assert entered == (expected is not None)
    if source and not entered:
        # What is behind the uplink and in no rule is no lie; all else from its port is.
        reason = Reason.NO_RULE if behind else Reason.EXTERNAL_SPOOF
        assert split_cookie(source[0].cookie)[2] == reason
    if switch == 1:
        assert source
    destination = tables.run_from(Table.DESTINATION, packet)
    if expected is None:
        assert all(flow.goto is None for flow in destination.path)
    else:
        assert destination.fields["reg1"] == expected
        assert tables.run_from(Table.SOURCE, packet).fields["reg0"] == expected
        assert destination.fields["metadata"] >> 16 & 0xFFFFFF == FIRST_STATIC


@given(some, some)
def test_entries_grow_with_the_named_prefixes(networks: set[Prefix], named: set[Prefix]) -> None:
    """Not with their product with the networks behind the uplink."""
    router = gateway(networks)
    found = regions(router, dict.fromkeys(named, NETWORK_CLASS | 1), OWN)
    assert len(found) <= len(named) + len(networks)
    count = sum(1 for _ in external_sources(router, found, OWN, 1)) + sum(
        1 for _ in external_destinations(router, found, OWN)
    )
    assert count <= 2 * len(found) + len(networks) + 2 * len(OWN) + 1
