"""`zethane portal` in its namespace."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from lab.errors import LabError
from lab.host import RunningHost
from lab.processes import tail, wait_for, zethane

START_TIMEOUT = 30.0
"""Seconds until the portal must listen."""


def start_portal(
    place: RunningHost, port: int, controller: Path, log_file: Path, options: Sequence[str]
) -> subprocess.Popen[bytes]:
    """Start it at a port of all addresses of its place. `controller` is the socket of its back end."""
    listen = [part for address in place.addresses for part in ("--listen", _authority(address, port))]
    command = zethane("portal", *listen, "--controller", str(controller), *options)
    with log_file.open("ab") as log:
        return place.popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def wait_portal(place: RunningHost, port: int, portal: subprocess.Popen[bytes], log_file: Path) -> None:
    """Return when it listens. Raises LabError."""

    def ready() -> bool | None:
        if portal.poll() is not None:
            raise LabError(f"The portal ended with status {portal.returncode}. {tail(log_file)}")
        return place.listens(portal.pid, port) or None

    wait_for("The portal did not listen", ready, START_TIMEOUT, lambda: tail(log_file))


def portal_urls(place: RunningHost, scheme: str, port: int) -> list[str]:
    """What hosts reach it at, IPv4 first."""
    addresses = sorted(place.addresses, key=lambda address: address.version)
    return [f"{scheme}://{_authority(address, port)}" for address in addresses]


def _authority(address: IPv4Address | IPv6Address, port: int) -> str:
    """ADDRESS:PORT with brackets around IPv6 (RFC 3986 §3.2.2)."""
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
