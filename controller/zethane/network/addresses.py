"""Addresses of hosts and of the portal: parsing, subnets, defaults."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Set
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface

from zethane.network.model import Interface

Subnet = IPv4Network | IPv6Network

_LOCAL = 0x0200_0000_0000
"""A unicast MAC with the bit for locally administered addresses (IEEE 802-2014, 8.4)."""


def parse_interface(text: str) -> Interface:
    """`ADDRESS/PREFIX` as an address that a host can have. Raises ValueError with what was expected."""
    if "/" not in text:
        raise ValueError("expected ADDRESS/PREFIX, for example 10.0.0.11/24")
    try:
        interface = ip_interface(text)
    except ValueError:
        raise ValueError("expected ADDRESS/PREFIX, for example 10.0.0.11/24 or 2001:db8::11/64") from None
    _require_usable(interface)
    return interface


def _require_usable(interface: Interface) -> None:
    """Refuse what cannot be the address of one host on a link (RFC 6890, RFC 4291 §2.7)."""
    ip, network = interface.ip, interface.network
    if ip.is_multicast or ip.is_loopback or ip.is_unspecified or ip.is_link_local or ip.is_reserved:
        raise ValueError(f"{ip} is special; expected a unicast address of a network")
    if isinstance(interface, IPv6Interface) and interface.scope_id is not None:
        raise ValueError("has a zone; expected an address without %ZONE")
    edges = {network.network_address}
    if isinstance(network, IPv4Network):
        edges.add(network.broadcast_address)
    if network.num_addresses > 2 and ip in edges:
        raise ValueError(f"{ip} is the first or the last address of {network}; expected one in between")


def parse_mac(text: str) -> int:
    """Six pairs of hexadecimal digits as an integer. Raises ValueError for a group address or zero."""
    mac = int(text.replace(":", ""), 16)
    if mac == 0 or mac >> 40 & 1:
        raise ValueError("is zero or a group address; expected the MAC address of one card")
    return mac


def mac_of_name(name: str) -> int:
    """02:00, then four bytes of a digest of the name: for a host whose addresses nobody knows."""
    return _LOCAL | int.from_bytes(hashlib.blake2s(name.encode(), digest_size=4).digest(), "big")


def default_mac(interfaces: Iterable[Interface]) -> int:
    """02:00, then the four bytes of the first IPv4 address, or of a digest of the first IPv6 address."""
    listed = list(interfaces)
    for interface in listed:
        if isinstance(interface, IPv4Interface):
            return _LOCAL | int(interface.ip)
    digest = hashlib.blake2s(listed[0].ip.packed, digest_size=4).digest()
    return _LOCAL | int.from_bytes(digest, "big")


def subnets(interfaces: Iterable[Interface]) -> dict[int, Subnet]:
    """The first subnet of each family, by IP version."""
    found: dict[int, Subnet] = {}
    for interface in interfaces:
        found.setdefault(interface.version, interface.network)
    return found


def highest_free(subnet: Subnet, taken: Set[object]) -> Interface | None:
    """The highest address of the subnet that nothing has; in IPv6 of its lowest 2^16 addresses.

    In IPv6 the last address of a subnet may be a reserved anycast address (RFC 2526), and a low one is easier
    to read. None if all are taken.
    """
    first = int(subnet.network_address)
    size = subnet.num_addresses if isinstance(subnet, IPv4Network) else min(subnet.num_addresses, 1 << 16)
    make = IPv4Interface if isinstance(subnet, IPv4Network) else IPv6Interface
    for offset in range(size - 2, 0, -1):
        interface = make((first + offset, subnet.prefixlen))
        if interface.ip not in taken:
            return interface
    return None
