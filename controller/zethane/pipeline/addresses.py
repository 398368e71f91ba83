"""Packed IP addresses as match fields, for both families alike."""

from __future__ import annotations

from zethane.net.flowkey import ETH_IPV4, ETH_IPV6

IPV4_LENGTH = 4


def source_fields(address: bytes) -> dict[str, int]:
    """The match on a packet from this address."""
    name, eth_type = ("ipv4_src", ETH_IPV4) if len(address) == IPV4_LENGTH else ("ipv6_src", ETH_IPV6)
    return {"eth_type": eth_type, name: int.from_bytes(address, "big")}


def destination_fields(address: bytes) -> dict[str, int]:
    """The match on a packet to this address."""
    name, eth_type = ("ipv4_dst", ETH_IPV4) if len(address) == IPV4_LENGTH else ("ipv6_dst", ETH_IPV6)
    return {"eth_type": eth_type, name: int.from_bytes(address, "big")}
