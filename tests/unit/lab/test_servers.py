"""What the lab's dnsmasq is told, and the addresses that it may hand out."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LabError
from lab.servers import POOL, configuration, pool
from zethane.network.load import parse_network

NETWORK = """
switches: {s1: {}}
infrastructure:
  d: {switch: s1, ip: 10.0.0.2/24, serves: [dhcp]}
  n: {switch: s1, ip: [10.0.0.3/24, "2001:db8::3/64"], serves: [dhcp, dns]}
hosts:
  web: {switch: s1, ip: [10.0.0.11/24, "2001:db8::11/64"]}
  pad: {switch: s1, ip: dhcp, mac: "02:00:00:00:00:21"}
"""


@given(st.sets(st.integers(1, 254), max_size=253))
def test_a_pool_has_no_address_of_somebody(taken: set[int]) -> None:
    subnet = ip_network("10.0.0.0/24")
    used = frozenset(ip_address(f"10.0.0.{last}") for last in taken)
    first, last = pool(subnet, used)
    found = {ip_address(number) for number in range(int(first), int(last) + 1)}
    assert 1 <= len(found) <= POOL
    assert not found & used
    assert found <= set(subnet.hosts())


def test_a_full_subnet_has_no_pool() -> None:
    subnet = ip_network("10.0.0.0/30")
    with pytest.raises(LabError, match="no address left"):
        pool(subnet, frozenset(subnet.hosts()))


def test_a_pool_of_ipv6_is_short_and_free() -> None:
    first, last = pool(ip_network("2001:db8::/64"), frozenset({ip_address("2001:db8::d005")}))
    assert int(last) - int(first) == POOL - 1
    assert first > ip_address("2001:db8::d005")


def test_each_server_is_told_what_it_serves_and_nothing_else() -> None:
    network = parse_network(NETWORK, "network.yaml")
    dhcp, both = (configuration(server, network, Path("/run/x")) for server in network.infrastructure.values())
    assert "port=0" in dhcp
    assert "host-record" not in dhcp
    assert "dhcp-option=option:dns-server,10.0.0.3" in dhcp
    assert "dhcp-host=02:00:00:00:00:21,pad" in dhcp
    assert "dhcp-range=2001:db8::" in both
    assert "host-record=web,10.0.0.11,2001:db8::11" in both
    assert "port=0" not in both
