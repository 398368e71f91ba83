"""A bridge with many hosts that cost little, in two network namespaces: those that open flows, and the others.

The hosts have interfaces, MACs and addresses, but no IP stack: `native/flows.c` sends and receives for them. Several
may be behind one port. Everything is named after the run and noted in its ledger before it is made, so that it can
always be taken down.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
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

DPID_PREFIX = 0x5A_0002_0000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many hosts open flows and how many they are opened to, and behind how many ports each."""

    senders: int
    receivers: int
    sender_ports: int
    receiver_ports: int


@dataclass(frozen=True, slots=True)
class Host:
    """A host: the interface that it sends from, and where it is."""

    interface: str
    place: Place

    @property
    def text(self) -> str:
        """As `flows` takes it: INTERFACE,MAC,ADDRESS."""
        return f"{self.interface},{self.place.mac.hex(':')},{IPv4Address(self.place.address)}"


@dataclass(frozen=True, slots=True)
class FlowNetwork:
    """The bridge, its hosts, and the processes that hold their namespaces."""

    bridge: str
    dpid: int
    senders: tuple[Host, ...]
    receivers: tuple[Host, ...]
    sender_pid: int
    receiver_pid: int

    @property
    def places(self) -> list[Place]:
        """Where everybody is: who opens flows comes first."""
        return [host.place for host in (*self.senders, *self.receivers)]

    def control(self, port: int) -> None:
        """Give the bridge to a controller. Raises LabError."""
        openvswitch.set_controller([self.bridge], f"tcp:127.0.0.1:{port}")

    def switch_alone(self) -> None:
        """Let the bridge forward by itself. Raises LabError."""
        run(["ovs-ofctl", "-O", "OpenFlow13", "add-flow", self.bridge, "priority=0,actions=NORMAL"])

    @property
    def entries(self) -> int:
        """How many entries the bridge has. Raises LabError."""
        told = run(["ovs-ofctl", "-O", "OpenFlow13", "dump-aggregate", self.bridge])
        return int(told.rpartition("flow_count=")[2].split()[0])

    def release(self) -> None:
        """Take the bridge back, with nothing left of a controller. Raises LabError."""
        openvswitch.vsctl("del-controller", self.bridge)
        for what in ("del-flows", "del-meters"):
            run(["ovs-ofctl", "-O", "OpenFlow13", what, self.bridge])


@contextmanager
def flow_network(ledger: Ledger, interrupts: Interrupts, sizes: Sizes, name: str) -> Iterator[FlowNetwork]:
    """Build the network; the ledger takes it down. `name` tells the networks of a run apart. Raises LabError."""
    openvswitch.ensure_running()
    names = Names(ledger.run_id)
    bridge = names.bridge(name, 1)
    number = ord(name) % 100  # of the switch, in the names of its ports
    holders: list[subprocess.Popen[bytes]] = []
    with preferred():
        try:
            with interrupts.shielded():
                inside, outside = {}, {}
                pids = [hold(ledger, holders) for _ in range(2)]
                for port in range(1, sizes.sender_ports + sizes.receiver_ports + 1):
                    pid = pids[port > sizes.sender_ports]
                    outside[port], inside[port] = names.port(number, port), f"{ledger.run_id}i{port}"
                    ledger.note("interface", outside[port])
                    _join(outside[port], inside[port], pid)
                dpid = DPID_PREFIX | int.from_bytes(os.urandom(2), "big")
                ledger.note("bridge", bridge)
                openvswitch.create([Bridge(bridge, dpid, outside)], run_id=ledger.run_id, secure=True)
                senders = tuple(
                    Host(inside[place.port], place) for place in _places("client", sizes.senders, 1, sizes.sender_ports)
                )
                receivers = tuple(
                    Host(inside[place.port], place)
                    for place in _places("server", sizes.receivers, sizes.sender_ports + 1, sizes.receiver_ports)
                )
            yield FlowNetwork(bridge, dpid, senders, receivers, *pids)
        finally:
            with interrupts.shielded():
                openvswitch.delete([bridge])
                for holder in holders:
                    stop(holder)


def _places(role: str, count: int, first_port: int, ports: int) -> list[Place]:
    """So many hosts, in turn behind so many ports."""
    kind = 1 if role == "client" else 2
    return [
        Place(
            role,
            first_port + index % ports,
            bytes((2, 0, 10, 66, kind, index + 1)),
            bytes((10, 66, kind, index + 1)),
        )
        for index in range(count)
    ]


def _join(outside: str, inside: str, pid: int) -> None:
    """A pair of interfaces, one end of it in a namespace; nothing but what `flows` sends is on the wire."""
    run(["ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", str(pid)])
    enter = ["nsenter", "--target", str(pid), "--net"]
    for name, command in ((outside, []), (inside, enter)):
        run([*command, "ip", "link", "set", name, "addrgenmode", "none", "arp", "off", "up"])
