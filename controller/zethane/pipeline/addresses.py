"""Packed IP addresses as match fields, for both families alike."""

from __future__ import annotations

from ipaddress import IPv4Network

from zethane.net.flowkey import ETH_IPV4, ETH_IPV6
from zethane.net.prefix import Prefix

IPV4_LENGTH = 4


def source_fields(address: bytes) -> dict[str, int]:
    """The match on a packet from this address."""
    name, eth_type = ("ipv4_src", ETH_IPV4) if len(address) == IPV4_LENGTH else ("ipv6_src", ETH_IPV6)
    return {"eth_type": eth_type, name: int.from_bytes(address, "big")}


def destination_fields(address: bytes) -> dict[str, int]:
    """The match on a packet to this address."""
    name, eth_type = ("ipv4_dst", ETH_IPV4) if len(address) == IPV4_LENGTH else ("ipv6_dst", ETH_IPV6)
    return {"eth_type": eth_type, name: int.from_bytes(address, "big")}


def source_prefix(prefix: Prefix) -> dict[str, int | tuple[int, int]]:
    """The match on a packet from an address with this prefix."""
    return _prefix(prefix, "src")


def destination_prefix(prefix: Prefix) -> dict[str, int | tuple[int, int]]:
    """The match on a packet to an address with this prefix."""
    return _prefix(prefix, "dst")


def _prefix(prefix: Prefix, side: str) -> dict[str, int | tuple[int, int]]:
    name, eth_type = ("ipv4", ETH_IPV4) if isinstance(prefix, IPv4Network) else ("ipv6", ETH_IPV6)
    return {"eth_type": eth_type, f"{name}_{side}": (int(prefix.network_address), int(prefix.netmask))}
