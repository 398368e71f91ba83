"""Addresses by DHCP: the lab's own client runs in a host, and the host gets what a server has given."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from typing import Any, Literal

from lab.errors import LabError
from lab.host import RunningHost
from zethane.network.model import Interface, Network

Family = Literal["ipv4", "ipv6"]

_CLIENT = "import sys; sys.path.insert(0, sys.argv[1]); from lab.agent.dhcp import main; main(sys.argv[2:])"


@dataclass(frozen=True, slots=True)
class HostLease:
    """An address that a host has by DHCP, with what its client was told."""

    interface: Interface
    told: dict[str, Any]


def families(network: Network) -> list[Family]:
    """The address families that the network's DHCP servers hand out addresses of."""
    servers = [server for server in network.infrastructure.values() if "dhcp" in server.serves]
    versions = {interface.version for server in servers for interface in server.interfaces}
    found: list[Family] = []
    if 4 in versions:
        found.append("ipv4")
    if 6 in versions:
        found.append("ipv6")
    return found


def lease(host: RunningHost, family: Family, prefix: int) -> HostLease:
    """Let a host ask for an address, and give it what comes. Raises LabError.

    `prefix` is the length that the address gets in IPv6, where routers say it and not DHCP.
    """
    told = _client(host, "lease", family)
    text = told["address"] if family == "ipv4" else f"{told['address']}/{prefix}"
    interface = ip_interface(text)
    host.add_address(interface)
    return HostLease(interface, told)


def renew(host: RunningHost, family: Family, held: HostLease) -> HostLease:
    """Let a host renew what it has. Raises LabError."""
    return HostLease(held.interface, _client(host, "renew", family, held.told))


def release(host: RunningHost, family: Family, held: HostLease) -> None:
    """Let a host give back what it has; it keeps the address configured, as a liar would. Raises LabError."""
    _client(host, "release", family, held.told)


def _client(host: RunningHost, action: str, family: Family, held: dict[str, Any] | None = None) -> dict[str, Any]:
    folder = str(Path(__file__).resolve().parents[1])
    given = [] if held is None else [json.dumps(held)]
    command = [sys.executable, "-c", _CLIENT, folder, action, family, *given]
    try:
        done = host.run(command, timeout=45)
    except subprocess.TimeoutExpired:
        raise LabError(f"{host.name}: the DHCP client did not finish within 45 s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-300:]
        raise LabError(f"{host.name} could not {action} an {family} address: {said}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
