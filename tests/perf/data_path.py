"""What the benchmarks of the data path share: one bridge, and the ways in which it lets the same packets pass.

All sides use the same bridge, ports and hosts, one after the other, so that the switch's daemon has the same to look
after whoever is measured. Zethane runs throughout; the bridge is given to it for its turns.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from lab import openvswitch
from lab.processes import Controller
from lab.shell import run
from perf.benchmark import Run
from perf.controllers import zethane
from perf.network import DIRECT, DIRECT_SERVER, BenchNetwork, End, bench_network, joined
from perf.path_program import Ports

PORTS = Ports(512, 8)
"""What connections are made to: a range that is one prefix."""
PORT = PORTS.first

HEADINGS = {
    "normal": "NORMAL",
    "verified": "Zethane, verified",
    "grant": "Zethane, grant",
    "firewall": "NORMAL + conntrack",
    "direct": "no switch",
}
"""The sides, in the order of a table. `firewall` is a bridge with conntrack made by hand: new connections from the
clients to the service, what belongs to one, and nothing else. `direct` shows what the load itself can do."""

_POLICY = f"""
version: 1
segments:
  clients: {{labels: {{role: client}}}}
  servers: {{labels: {{role: server}}}}
services:
  load: [tcp/{PORTS.first}-{PORTS.first + PORTS.count - 1}, udp/{PORTS.first}-{PORTS.first + PORTS.count - 1}]
rules:
  - {{id: load, from: [clients], to: [servers], services: [load]EXTRA}}
"""
POLICIES = {
    "verified": _POLICY.replace("EXTRA", ""),
    "grant": _POLICY.replace("EXTRA", ", enforce: switch"),
}

_FIRST_ZONE = 60_000
_ZONES = 5_000


class DataPath:
    """The network of a benchmark, its load, and the sides that it can be given to."""

    def __init__(self, network: BenchNetwork, controllers: dict[str, Controller], *, stack: bool) -> None:
        self.network = network
        self._controllers = controllers
        self._stack = stack
        self._zone = _FIRST_ZONE + random.randrange(_ZONES)  # noqa: S311  # so that two runs do not meet

    @contextmanager
    def given_to(self, side: str) -> Iterator[tuple[End, ...]]:
        """Let a side forward; the clients and, at the end, the server, as they are then reached. Raises LabError."""
        network = self.network
        if side == "direct":
            with joined(network, stack=self._stack):
                one, other = network.clients[0], network.server
                yield replace(one, inside=DIRECT), replace(other, inside=DIRECT, reached=DIRECT_SERVER)
            return
        try:
            if side in self._controllers:
                controller = self._controllers[side]
                network.control(int(controller.openflow.rpartition(":")[2]))
                controller.wait_switches(["s1"])
            else:
                network.program(*(self._firewall() if side == "firewall" else ("actions=NORMAL",)))
            # What the daemon has cached for the side before is looked through for every packet until it has aged.
            run(["ovs-appctl", "revalidator/purge"])
            yield network.ends
        finally:
            network.release()
            openvswitch.forget_connections([str(self.zone(side))])

    def tracked(self, side: str) -> int:
        """How many connections the switch knows of, of a side that tracks them. Raises LabError."""
        told = run(["ovs-appctl", "dpctl/ct-stats-show", f"zone={self.zone(side)}"])
        found = re.search(r"Total:\s*(\d+)", told)
        return int(found.group(1)) if found else 0

    def zone(self, side: str) -> int:
        """The zone of conntrack that a side has."""
        return self._controllers[side].zones + 1 if side in self._controllers else self._zone

    def _firewall(self) -> Iterator[str]:
        zone, server = self._zone, self.network.server
        ports = f"{PORTS.first}/{0x10000 - PORTS.count:#x}"
        yield f"table=0,ip,actions=ct(table=1,zone={zone})"
        yield "table=1,priority=10,ct_state=+trk+est-new,ip,actions=NORMAL"
        yield "table=1,priority=10,ct_state=+trk+rel-new,ip,actions=NORMAL"
        for proto in ("tcp", "udp"):
            new = f"table=1,priority=10,ct_state=+trk+new,{proto},nw_dst={server.ip},tp_dst={ports}"
            yield f"{new},actions=ct(commit,zone={zone}),NORMAL"


def daemon_time() -> float:
    """Seconds of processor time that the switch's daemon has used, in all of its threads. Raises OSError."""
    pid = (openvswitch.RUN_DIRECTORY / "ovs-vswitchd.pid").read_text(encoding="ascii").strip()
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def data_path(
    run_: Run, sides: Iterable[str], *, clients: int = 1, name: str = "d", stack: bool = True
) -> Iterator[DataPath]:
    """Build it, with a controller for each of the sides that need one. Raises LabError."""
    with ExitStack() as opened:
        network = opened.enter_context(
            bench_network(run_.ledger, run_.interrupts, clients=clients, name=name, stack=stack)
        )
        places = [end.place for end in network.ends]
        controllers = {
            side: opened.enter_context(
                zethane(run_.folder / f"{name}-{side}", run_.tagged, network.dpid, places, policy=POLICIES[side])
            )
            for side in sides
            if side in POLICIES
        }
        yield DataPath(network, controllers, stack=stack)
