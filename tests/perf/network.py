"""The network of `first-packet`: a bridge, and two network namespaces that it joins.

Everything is named after the run and noted in its ledger before it is made, so that it can always be taken down.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from lab import openvswitch
from lab.interrupts import Interrupts
from lab.ledger import Ledger
from lab.names import Names
from lab.openvswitch import Bridge
from lab.processes import stop, wait_for
from lab.shell import run
from perf.topology import Place

DPID_PREFIX = 0x5A_0001_0000
HOLD = 600
"""Seconds after which a namespace ends by itself, whatever happens to the run."""


@dataclass(frozen=True, slots=True)
class End:
    """A host: the process that holds its namespace, its interfaces, and where it is."""

    pid: int
    outside: str
    inside: str
    place: Place

    @property
    def ip(self) -> str:
        """Its address as text."""
        return str(IPv4Address(self.place.address))

    @property
    def mac(self) -> str:
        """Its MAC as text."""
        return self.place.mac.hex(":")

    def run(self, *command: str) -> None:
        """Run a command inside. Raises LabError."""
        run(["nsenter", "--target", str(self.pid), "--net", *command])


@dataclass(frozen=True, slots=True)
class BenchNetwork:
    """The bridge with its two hosts, of which the first opens flows to the second."""

    bridge: str
    dpid: int
    ends: tuple[End, End]

    def control(self, port: int) -> None:
        """Give the bridge to a controller. Raises LabError."""
        openvswitch.set_controller([self.bridge], f"tcp:127.0.0.1:{port}")

    def release(self) -> None:
        """Take the bridge back, with nothing left of the controller. Raises LabError."""
        openvswitch.vsctl("del-controller", self.bridge)
        for what in ("del-flows", "del-meters"):
            run(["ovs-ofctl", "-O", "OpenFlow13", what, self.bridge])


@contextmanager
def bench_network(ledger: Ledger, interrupts: Interrupts) -> Iterator[BenchNetwork]:
    """Build the network; the ledger takes it down. Raises LabError."""
    openvswitch.ensure_running()
    names = Names(ledger.run_id)
    bridge = names.bridge("b", 1)
    holders: list[subprocess.Popen[bytes]] = []
    try:
        with interrupts.shielded():
            ends = tuple(_end(ledger, names, number, holders) for number in (1, 2))
            client, server = ends
            dpid = DPID_PREFIX | int.from_bytes(os.urandom(2), "big")
            ledger.note("bridge", bridge)
            wanted = Bridge(bridge, dpid, {end.place.port: end.outside for end in ends})
            openvswitch.create([wanted], run_id=ledger.run_id, secure=True)
            _attach(client, server)
            _attach(server, client)
        yield BenchNetwork(bridge, dpid, (client, server))
    finally:
        with interrupts.shielded():
            openvswitch.delete([bridge])
            for holder in holders:
                stop(holder)


def _end(ledger: Ledger, names: Names, number: int, holders: list[subprocess.Popen[bytes]]) -> End:
    holder = subprocess.Popen(
        ["unshare", "--net", "sleep", str(HOLD)],
        stdin=subprocess.DEVNULL,
        env=ledger.environment,
        start_new_session=True,
    )
    holders.append(holder)
    wait_for("No network namespace was made", lambda: _is_apart(holder.pid) or None, 5.0, lambda: "")
    outside, inside = names.port(1, number), names.host(number)
    ledger.note("interface", outside)
    run(["ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", str(holder.pid)])
    for name, command in ((outside, []), (inside, ["nsenter", "--target", str(holder.pid), "--net"])):
        # The userspace datapath does not finish what the kernel leaves to a network card.
        run([*command, "ethtool", "-K", name, "tx", "off", "rx", "off"])
    run(["ip", "link", "set", outside, "addrgenmode", "none", "up"])
    place = Place(
        "client" if number == 1 else "server", number, bytes((2, 0, 10, 65, 0, number)), bytes((10, 65, 0, number))
    )
    return End(holder.pid, outside, inside, place)


def _attach(end: End, other: End) -> None:
    """Addresses by hand: no ARP, no IPv6, so that nothing but the probes is on the wire."""
    name = end.inside
    end.run("ip", "link", "set", name, "addrgenmode", "none", "address", end.mac)
    end.run("ip", "link", "set", name, "up")
    end.run("ip", "address", "add", f"{end.ip}/24", "dev", name)
    end.run("ip", "neighbour", "add", other.ip, "lladdr", other.mac, "dev", name, "nud", "permanent")


def _is_apart(pid: int) -> bool:
    """Whether a process has left this network namespace."""
    return Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
