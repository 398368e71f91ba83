"""A host of the running lab: its addresses, and commands inside its network namespace."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from lab.codes import Codes
from lab.nodes import LabHost
from lab.shell import run
from zethane.network.model import Interface, Login

_SETUP = """
set -e
ip link set dev "$1" down
ip link set dev "$1" name eth0 address "$2"
for file in /proc/sys/net/ipv6/conf/eth0; do
  if [ -d "$file" ]; then
    echo 0 > "$file/accept_dad"; echo 0 > "$file/accept_ra"; echo 0 > "$file/router_solicitations"
    echo "$3" > "$file/disable_ipv6"
  fi
done
ethtool -K eth0 tx off rx off sg off tso off gso off gro off >/dev/null 2>&1
ip link set dev lo up
ip link set dev eth0 up
"""
"""$1 the interface as it was made, $2 its MAC address, $3 1 to do without IPv6.

The userspace datapath computes no checksums for a veth: with offloads on, TCP hangs. Duplicate address
detection would hold an IPv6 address back for seconds. Unasked router solicitations are noise in a lab.
"""


class RunningHost:
    """A host, or the portal's place, while the lab is up."""

    def __init__(
        self, name: str, node: LabHost, interfaces: Sequence[Interface], login: Login | None, codes: Codes
    ) -> None:
        self.name = name
        self.node = node
        self.interfaces = tuple(interfaces)
        self.login = login
        self.machine: Login | None = None
        """The device's own login, if it has one beneath its user's."""
        self.codes = codes

    def __repr__(self) -> str:
        return f"RunningHost({self.name!r}, {', '.join(map(str, self.interfaces))})"

    @property
    def logins(self) -> tuple[Login, ...]:
        """What it logs in with, the device's first."""
        return tuple(one for one in (self.machine, self.login) if one is not None)

    @property
    def pid(self) -> int:
        """The process that holds the namespace: `mnexec -a PID COMMAND` runs a command in it."""
        return int(self.node.pid)

    @property
    def addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """The addresses without their prefixes."""
        return tuple(interface.ip for interface in self.interfaces)

    def address(self, version: int = 4) -> IPv4Address | IPv6Address:
        """The first address of an IP version. Raises LookupError."""
        for address in self.addresses:
            if address.version == version:
                return address
        raise LookupError(f"{self.name} has no IPv{version} address")

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command in the namespace, in a session of its own. Options as those of subprocess.Popen."""
        options.setdefault("env", dict(self.node.tag))
        return subprocess.Popen(["mnexec", "-da", str(self.pid), *command], **options)

    def run(
        self, command: Sequence[str], *, text_in: str | None = None, timeout: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the namespace. Raises subprocess.TimeoutExpired; a failure is in the result."""
        return subprocess.run(
            ["mnexec", "-a", str(self.pid), *command],
            input="" if text_in is None else text_in,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=dict(self.node.tag),
            start_new_session=True,
            check=False,
        )

    def configure(self, made_as: str, mac: int, *, ipv6: bool = False) -> None:
        """Give the interface its name, its addresses and no offloads. `ipv6`: also if it has no such address yet.

        Raises LabError.
        """
        text = ":".join(f"{byte:02x}" for byte in mac.to_bytes(6, "big"))
        without_ipv6 = "0" if ipv6 or any(address.version == 6 for address in self.addresses) else "1"
        inside = ["mnexec", "-a", str(self.pid)]
        run([*inside, "sh", "-c", _SETUP, "setup", made_as, text, without_ipv6], env=self.node.tag)
        self._configure(self.interfaces)
        self._tell_mininet(text)

    def hold_still(self) -> None:
        """Take the addresses off the interface: the kernel answers nothing that comes for them. Raises LabError."""
        inside = ["mnexec", "-a", str(self.pid), "ip", "address", "flush", "scope", "global"]
        for device in ("eth0", "lo"):
            run([*inside, "dev", device], env=self.node.tag)

    def wake(self) -> None:
        """Give the interface its addresses again. Raises LabError."""
        self._configure(self.interfaces)

    def add_address(self, interface: Interface) -> None:
        """Give the interface one more address. Raises LabError."""
        if interface not in self.interfaces:
            self._configure([interface])
            self.interfaces = (*self.interfaces, interface)
            self._tell_mininet(self.node.defaultIntf().mac)

    def _configure(self, interfaces: Sequence[Interface]) -> None:
        lines = [
            f"address add {interface} dev eth0{' nodad' if interface.version == 6 else ''}" for interface in interfaces
        ]
        command = ["mnexec", "-a", str(self.pid), "ip", "-batch", "-"]
        run(command, text_in="\n".join(lines) + "\n", env=self.node.tag)

    def _tell_mininet(self, mac: str) -> None:
        """Mininet's commands (pingall, dump) read these."""
        interface = self.node.defaultIntf()
        self.node.nameToIntf = {"eth0": interface}
        interface.name, interface.mac = "eth0", mac
        for own in self.interfaces:
            if own.version == 4:
                interface.ip, interface.prefixLen = str(own.ip), str(own.network.prefixlen)
                break

    def listens(self, pid: int, port: int) -> bool:
        """Whether something in the namespace of process `pid` listens on a TCP port."""
        wanted = f":{port:04X}"
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] == "0A":
                    return True
        return False
