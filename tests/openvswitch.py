"""A real bridge for one test, and the switch's own account of what it does with a packet."""

from __future__ import annotations

import ipaddress
import re
import secrets
import subprocess
from pathlib import Path
from typing import NamedTuple

from zethane.net.mac import format_mac

_STEP = re.compile(r"^( *)(\d+)\. .*?priority (\d+)(?:, cookie (0x[0-9a-f]+))?$")

_NESTED = 4
"""Spaces in front of what an entry does; what a resubmit leads to has more."""

_NAMES = {
    "eth_dst": "dl_dst",
    "eth_src": "dl_src",
    "eth_type": "dl_type",
    "ip_proto": "nw_proto",
    "ipv4_src": "nw_src",
    "ipv4_dst": "nw_dst",
    "icmpv4_type": "icmp_type",
    "icmpv4_code": "icmp_code",
}


def run(*command: str) -> str:
    """What a command prints; AssertionError with its complaint if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
    return done.stdout


class Step(NamedTuple):
    """An entry that a packet took."""

    table: int
    priority: int
    cookie: int


class Trace(NamedTuple):
    """The way of a packet: the entries in order, and what the last of them does, as Open vSwitch prints it.

    `nested` are the entries that a resubmit led to on the way.
    """

    steps: tuple[Step, ...]
    does: tuple[str, ...]
    text: str
    nested: tuple[Step, ...] = ()


class Bridge:
    """A bridge in user space that forwards nothing by itself, with internal ports 1 to `ports`."""

    def __init__(self, ports: int) -> None:
        tag = secrets.token_hex(4)
        self.name = f"zt{tag}"
        self.dpid = int(f"7a{tag}", 16)
        self._ports = [f"{self.name}p{number}" for number in range(1, ports + 1)]

    def __enter__(self) -> Bridge:
        command = ["ovs-vsctl", "--timeout=20", "add-br", self.name, "--", "set", "Bridge", self.name]
        command += ["datapath_type=netdev", "fail_mode=secure", "protocols=OpenFlow13"]
        command += [f"other_config:datapath-id={self.dpid:016x}", "other_config:disable-in-band=true"]
        for number, port in enumerate(self._ports, 1):
            command += ["--", "add-port", self.name, port]
            command += ["--", "set", "Interface", port, "type=internal", f"ofport_request={number}"]
        run(*command)
        for number, port in enumerate(self._ports, 1):
            assert run("ovs-vsctl", "get", "Interface", port, "ofport").strip() == str(number)
            # This machine's own IPv6 would send its solicitations and reports into the bridge, as if a host had.
            quiet = Path(f"/proc/sys/net/ipv6/conf/{port}/disable_ipv6")
            if quiet.exists():
                quiet.write_text("1", encoding="ascii")
            run("ip", "link", "set", port, "up")
        for port in self._ports:
            run("ovs-vsctl", "--timeout=20", "wait-until", "Interface", port, "link_state=up")
        return self

    def __exit__(self, *_: object) -> None:
        run("ovs-vsctl", "--timeout=20", "--if-exists", "del-br", self.name)

    def set_controller(self, port: int) -> None:
        """Connect to a controller on loopback, from now on to this one only."""
        command = ["set-controller", self.name, f"tcp:127.0.0.1:{port}"]
        run("ovs-vsctl", "--timeout=20", *command, "--", "set", "Controller", self.name, "connection_mode=out-of-band")

    @property
    def is_connected(self) -> bool:
        """Whether it has a controller that has greeted it."""
        return run("ovs-vsctl", "get", "Controller", self.name, "is_connected").strip() == "true"

    def ofctl(self, command: str, *arguments: str, strict: bool = False) -> str:
        """Somebody else's hand on the tables."""
        options = ["-O", "OpenFlow13", *(["--strict"] if strict else [])]
        return run("ovs-ofctl", *options, command, self.name, *arguments)

    def trace(self, fields: dict[str, int]) -> Trace:
        """What the switch would do with a packet that has these match fields."""
        return read_trace(run("ovs-appctl", "ofproto/trace", self.name, flow_text(fields)))


def flow_text(fields: dict[str, int]) -> str:
    """Match fields as Open vSwitch writes them (ovs-fields(7))."""
    return ",".join(f"{_NAMES.get(name, name)}={_value(name, value)}" for name, value in fields.items())


def _value(name: str, value: int) -> str:
    if name in ("eth_dst", "eth_src"):
        return format_mac(value)
    if name.startswith("ipv4_"):
        return str(ipaddress.IPv4Address(value))
    if name.startswith("ipv6_"):
        return str(ipaddress.IPv6Address(value))
    return hex(value) if name in ("eth_type", "tcp_flags") else str(value)


def read_trace(text: str) -> Trace:
    """The steps of `ofproto/trace`."""
    steps: list[Step] = []
    does: list[str] = []
    nested: list[Step] = []
    for line in text.splitlines():  # of all passes: a packet that is tracked goes through the tables anew
        found = _STEP.match(line)
        if found:
            step = Step(int(found[2]), int(found[3]), int(found[4] or "0", 16))
            if len(found[1]) >= _NESTED:
                nested.append(step)
                continue
            steps.append(step)
            does = []
        elif steps and line.startswith("    ") and line[_NESTED] != " ":
            does.append(line.strip())
    return Trace(tuple(steps), tuple(does), text, tuple(nested))
