"""The servers of the infrastructure: dnsmasq in a namespace each, its configuration and leases in the run's folder.

DHCP hands out addresses of the hosts' networks that nothing else has. DNS knows every host by its name.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Set
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path

from lab.errors import LabError
from lab.host import RunningHost
from lab.processes import tail, wait_for
from zethane.net.mac import format_mac
from zethane.network.model import Infrastructure, Interface, Network

Address = IPv4Address | IPv6Address
Subnet = IPv4Network | IPv6Network

LEASE = 12 * 3600
"""Seconds: no lease of a lab runs out, unless a test wants it to."""

POOL = 100
"""Addresses that a server hands out, at the most."""

_V6_POOL = 0xD000
"""Where the pool of an IPv6 network begins: low enough to read, and above what people give to hosts."""


def pool(subnet: Subnet, taken: Set[Address]) -> tuple[Address, Address]:
    """The first and the last address of a range of the subnet that nothing has. Raises LabError."""
    low = int(subnet.network_address) + 1
    high = int(subnet.broadcast_address) - 1
    if subnet.version == 6 and low + _V6_POOL + POOL < high:
        low += _V6_POOL - 1
    used = sorted(int(address) for address in taken if address in subnet and int(address) >= low)
    start, best = low, (0, low)
    for end in (*used, high + 1):
        best = max(best, (end - start, start), key=lambda found: found[0])
        start = end + 1
    size, first = min(best[0], POOL), best[1]
    if size < 1:
        raise LabError(f"{subnet} has no address left for DHCP")
    make = IPv4Address if subnet.version == 4 else IPv6Address
    return make(first), make(first + size - 1)


def configuration(server: Infrastructure, network: Network, directory: Path, lease: int = LEASE) -> str:
    """What dnsmasq is to do, as its configuration file. Raises LabError."""
    lines = ["keep-in-foreground", "bind-interfaces", "interface=eth0", "except-interface=lo", "no-hosts", "no-resolv"]
    lines += ["user=root", f"pid-file={directory / server.name}.pid", f"log-facility={directory / server.name}.log"]
    if "dhcp" in server.serves:
        lines += ["dhcp-authoritative", "no-ping", "log-dhcp", f"dhcp-leasefile={directory / server.name}.leases"]
        # Names come from here and from no host: a host could take another's.
        lines += ["dhcp-ignore-names", *_leased_names(network)]
        lines += [_range(subnet, network, lease) for subnet in _subnets(server)]
        lines += [f"dhcp-option=option:dns-server,{address}" for address in _names(network) if address.version == 4][:1]
    if "dns" in server.serves:
        lines += ["local-ttl=60", *_records(network)]
    else:
        lines.append("port=0")
    return "\n".join(lines) + "\n"


def _subnets(server: Infrastructure) -> list[Subnet]:
    return [interface.network for interface in server.interfaces]


def _range(subnet: Subnet, network: Network, lease: int) -> str:
    first, last = pool(subnet, _taken(network))
    size = str(subnet.netmask) if subnet.version == 4 else str(subnet.prefixlen)
    return f"dhcp-range={first},{last},{size},{lease}"


def _taken(network: Network) -> frozenset[Address]:
    """Every address that network.yaml gives to something."""
    portal = (network.portal,) if network.portal else ()
    owners = (*network.hosts.values(), *network.infrastructure.values(), *network.uplinks.values(), *portal)
    return frozenset(ip_address(str(interface.ip)) for owner in owners for interface in owner.interfaces)


def _names(network: Network) -> list[Address]:
    """The addresses of the servers that serve DNS."""
    servers = network.infrastructure.values()
    return [interface.ip for server in servers if "dns" in server.serves for interface in server.interfaces]


def _leased_names(network: Network) -> Iterable[str]:
    for host in network.hosts.values():
        if host.dhcp:
            yield f"dhcp-host={format_mac(host.mac)},{host.name}"


def _records(network: Network) -> Iterable[str]:
    for name, interfaces in _known(network):
        if interfaces:
            yield f"host-record={name},{','.join(str(interface.ip) for interface in interfaces)}"


def _known(network: Network) -> Iterable[tuple[str, tuple[Interface, ...]]]:
    for host in network.hosts.values():
        yield host.name, host.interfaces
    for server in network.infrastructure.values():
        yield server.name, server.interfaces
    for uplink in network.uplinks.values():
        yield from uplink.hosts.items()


def start(server: Infrastructure, host: RunningHost, network: Network, directory: Path) -> subprocess.Popen[bytes]:
    """Start dnsmasq in the server's namespace, and wait until it serves. Raises LabError."""
    file = directory / f"{server.name}.conf"
    file.write_text(configuration(server, network, directory), encoding="utf-8")
    log = directory / f"{server.name}.log"
    try:
        process = host.popen(["dnsmasq", f"--conf-file={file}"], stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise LabError("dnsmasq is not installed: it comes with the Debian package dnsmasq-base") from None

    def ready() -> bool | None:
        if process.poll() is not None:
            raise LabError(f"dnsmasq of {server.name} ended with status {process.returncode}. {tail(log)}")
        return (directory / f"{server.name}.pid").exists() or None

    wait_for(f"dnsmasq of {server.name} did not start", ready, 10.0, lambda: tail(log))
    return process
