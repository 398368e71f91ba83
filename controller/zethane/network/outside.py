"""What is outside: the addresses that an uplink leads to and that this network has no other use for."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_network

from zethane.net.prefix import Address, Prefix, in_order
from zethane.network.model import Interface, Network, Uplink

SPECIAL: tuple[Prefix, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/127",
        "::ffff:0:0/96",
        "fe80::/10",
        "ff00::/8",
    )
)
"""Never the source of a packet that a router forwards, nor a unicast destination behind one (RFC 6890,
RFC 4291 §2.5 to §2.7); `::/127` is the unspecified address and the loopback."""


def own_prefixes(network: Network) -> tuple[Prefix, ...]:
    """What is never outside, whatever an uplink's networks say: the subnets that hosts, portal, servers and routers
    are connected to, and addresses with a special meaning."""
    return tuple(in_order((*(interface.network for interface in _interfaces(network)), *SPECIAL)))


def is_outside(network: Network, address: Address) -> bool:
    """Whether an uplink leads to this address."""
    behind = (prefix for uplink in network.uplinks.values() for prefix in uplink.networks)
    return _is_in(address, behind) and not _is_in(address, own_prefixes(network))


def ipv6_prefixes(network: Network) -> frozenset[IPv6Network]:
    """The IPv6 prefixes of the site: those that hosts, portal, servers and routers are connected to."""
    return frozenset(interface.network for interface in _interfaces(network) if isinstance(interface, IPv6Interface))


def ipv4_prefixes(network: Network) -> frozenset[IPv4Network]:
    """The same for IPv4."""
    return frozenset(interface.network for interface in _interfaces(network) if isinstance(interface, IPv4Interface))


def routers(network: Network) -> dict[tuple[int, int], Uplink]:
    """The uplinks whose router may announce itself, by (datapath id, port)."""
    return {
        (network.switches[uplink.switch].dpid, uplink.port): uplink
        for uplink in network.uplinks.values()
        if uplink.router
    }


def _interfaces(network: Network) -> Iterable[Interface]:
    for placed in (network.hosts, network.infrastructure, network.uplinks):
        for one in placed.values():
            yield from one.interfaces
    if network.portal is not None:
        yield from network.portal.interfaces


def _is_in(address: Address, prefixes: Iterable[Prefix]) -> bool:
    return any(address in prefix for prefix in prefixes if prefix.version == address.version)
