"""The network of `first-packet` and of the data path's benchmarks: a bridge, and the network namespaces that it joins.

Everything is named after the run and noted in its ledger before it is made, so that it can always be taken down.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from lab import openvswitch
from lab.interrupts import Interrupts
from lab.ledger import Ledger
from lab.names import Names
from lab.openvswitch import Bridge
from lab.processes import stop
from lab.shell import run
from perf.daemon import preferred
from perf.namespaces import hold
from perf.topology import Place

DPID_PREFIX = 0x5A_0001_0000


@dataclass(frozen=True, slots=True)
class End:
    """A host: the process that holds its namespace, its interfaces, and where it is."""

    pid: int
    outside: str
    inside: str
    place: Place
    reached: str = ""
    """The address that it is reached at, where that is not its own."""

    @property
    def ip(self) -> str:
        """Its address as text."""
        return self.reached or str(IPv4Address(self.place.address))

    @property
    def mac(self) -> str:
        """Its MAC as text."""
        return self.place.mac.hex(":")

    def run(self, *command: str) -> None:
        """Run a command inside. Raises LabError."""
        run(["nsenter", "--target", str(self.pid), "--net", *command])


@dataclass(frozen=True, slots=True)
class BenchNetwork:
    """The bridge with its hosts, of which all but the last open flows to the last."""

    bridge: str
    dpid: int
    ends: tuple[End, ...]

    @property
    def clients(self) -> tuple[End, ...]:
        """Those that open flows."""
        return self.ends[:-1]

    @property
    def server(self) -> End:
        """The one that flows are opened to."""
        return self.ends[-1]

    def program(self, *entries: str) -> None:
        """Entries by hand, in the place of a controller's. Raises LabError."""
        for entry in entries:
            run(["ovs-ofctl", "-O", "OpenFlow13", "add-flow", self.bridge, entry])

    def control(self, port: int) -> None:
        """Give the bridge to a controller. Raises LabError."""
        openvswitch.set_controller([self.bridge], f"tcp:127.0.0.1:{port}")

    def release(self) -> None:
        """Take the bridge back, with nothing left of the controller. Raises LabError."""
        openvswitch.vsctl("del-controller", self.bridge)
        for what in ("del-flows", "del-meters"):
            run(["ovs-ofctl", "-O", "OpenFlow13", what, self.bridge])


@contextmanager
def bench_network(
    ledger: Ledger, interrupts: Interrupts, *, clients: int = 1, name: str = "b", stack: bool = True
) -> Iterator[BenchNetwork]:
    """Build the network; the ledger takes it down. Raises LabError.

    `name` tells the networks of a run apart. Without a `stack` hosts have no addresses: programs send for them.
    """
    openvswitch.ensure_running()
    names = Names(ledger.run_id)
    bridge, number = names.bridge(name, 1), ord(name) % 100
    holders: list[subprocess.Popen[bytes]] = []
    with preferred():
        try:
            with interrupts.shielded():
                ends = tuple(_end(ledger, names, (number, port), holders) for port in range(1, clients + 1))
                ends += (_end(ledger, names, (number, clients + 1), holders, "server"),)
                dpid = DPID_PREFIX | int.from_bytes(os.urandom(2), "big")
                ledger.note("bridge", bridge)
                wanted = Bridge(bridge, dpid, {end.place.port: end.outside for end in ends})
                openvswitch.create([wanted], run_id=ledger.run_id, secure=True)
                for end in ends:
                    _start(end)
                if stack:
                    for client in ends[:-1]:
                        _attach(client, ends[-1:])
                    _attach(ends[-1], ends[:-1])
            yield BenchNetwork(bridge, dpid, ends)
        finally:
            with interrupts.shielded():
                openvswitch.delete([bridge])
                for holder in holders:
                    stop(holder)


def _end(
    ledger: Ledger,
    names: Names,
    where: tuple[int, int],
    holders: list[subprocess.Popen[bytes]],
    role: str = "client",
) -> End:
    """A host at a port of a switch: `where` are the numbers of both."""
    pid = hold(ledger, holders)
    outside, inside = names.port(*where), names.host(where[1])
    ledger.note("interface", outside)
    run(["ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", str(pid)])
    for name, command in ((outside, []), (inside, ["nsenter", "--target", str(pid), "--net"])):
        # The userspace datapath does not finish what the kernel leaves to a network card.
        run([*command, "ethtool", "-K", name, "tx", "off", "rx", "off"])
    run(["ip", "link", "set", outside, "addrgenmode", "none", "up"])
    port = where[1]
    place = Place(role, port, bytes((2, 0, 10, 65, 0, port)), bytes((10, 65, 0, port)))
    return End(pid, outside, inside, place)


def _start(end: End) -> None:
    """No IPv6, so that nothing but the probes is on the wire."""
    end.run("ip", "link", "set", end.inside, "addrgenmode", "none", "address", end.mac)
    end.run("ip", "link", "set", end.inside, "up")


def _attach(end: End, others: Sequence[End]) -> None:
    """Addresses by hand: no ARP."""
    name = end.inside
    end.run("ip", "address", "add", f"{end.ip}/24", "dev", name)
    for other in others:
        end.run("ip", "neighbour", "add", other.ip, "lladdr", other.mac, "dev", name, "nud", "permanent")


DIRECT = "direct0"
"""The interface at each end of a cable without a switch."""
DIRECT_SERVER = "10.65.1.2"


@contextmanager
def joined(network: BenchNetwork, *, stack: bool = True) -> Iterator[None]:
    """Join the first client and the server by a cable of their own, on which nothing is left to a card either."""
    one, other = network.clients[0], network.server
    one.run("ip", "link", "add", DIRECT, "type", "veth", "peer", "name", DIRECT, "netns", str(other.pid))
    try:
        for end, address in ((one, "10.65.1.1"), (other, DIRECT_SERVER)):
            end.run("ethtool", "-K", DIRECT, "tx", "off", "rx", "off")
            end.run("ip", "link", "set", DIRECT, "addrgenmode", "none")
            if stack:
                end.run("ip", "address", "add", f"{address}/24", "dev", DIRECT)
            end.run("ip", "link", "set", DIRECT, "up")
        yield
    finally:
        one.run("ip", "link", "delete", DIRECT)
