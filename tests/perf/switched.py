"""The controllers of a bridge of the benchmarks, one after the other: Zethane, its peers, or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from lab import openvswitch
from lab.errors import LabError
from lab.processes import START_TIMEOUT, Controller, wait_for
from perf import peers
from perf.benchmark import Run
from perf.controllers import zethane
from perf.flow_network import FlowNetwork
from perf.peers import Peer
from perf.same_job import Identity
from perf.topology import POLICY, TCP_SERVICE, UDP_SERVICE
from zethane.net.flowkey import TCP, UDP

RULE = "clients-servers"

TESTCONTROLLER_IDLE = 5
"""Seconds that an entry of ovs-testcontroller lives without a packet: as few of them as may be, in its favour."""


@contextmanager
def controlled(
    side: str, network: FlowNetwork, run: Run, folder: Path, extra: Sequence[str] = (), *, policy: str = POLICY
) -> Iterator[Control]:
    """The bridge under one controller, which is ready. `policy` is Zethane's. Raises LabError."""
    try:
        if side == "zethane":
            with zethane(folder, run.tagged, network.dpid, network.places, extra, policy=policy) as controller:
                network.control(int(controller.openflow.rpartition(":")[2]))
                controller.wait_switches(["s1"])
                yield Control(controller)
        elif side == "normal":
            network.switch_alone()
            yield Control(None)
        else:
            with _peer(side, folder, run, network) as started:
                network.control(started.port)
                wait_for(
                    f"{side} did not get the switch", lambda: _is_connected(network.bridge), START_TIMEOUT, lambda: ""
                )
                yield Control(None)
    finally:
        network.release()


class Control:
    """What is in control; the controller itself only if that is Zethane."""

    def __init__(self, controller: Controller | None) -> None:
        self._controller = controller

    @property
    def zethane(self) -> Controller:
        """The controller. Raises LabError if another one is in control."""
        if self._controller is None:
            raise LabError("Zethane is not in control")
        return self._controller

    @property
    def live_flows(self) -> int:
        """How many flows Zethane knows to be live."""
        return self.counter("flows")

    def counter(self, name: str) -> int:
        """The sum of one of Zethane's counters over all that it is told of."""
        counters = self.zethane.get("/counters")["counters"]
        return sum(int(one["value"]) for one in counters if one["name"] == name)


def _peer(side: str, folder: Path, run: Run, network: FlowNetwork) -> AbstractContextManager[Peer]:
    """One of the peers, for these hosts."""
    if side == "testcontroller":
        return peers.ovs_testcontroller(folder, run.tagged, TESTCONTROLLER_IDLE)
    if side == "os-ken":
        return peers.os_ken(folder, run.tagged)
    identities, rules = _site(network)
    return peers.os_ken_same_job(folder, run.tagged, identities, rules)


def _site(network: FlowNetwork) -> tuple[dict[str, Identity], list[tuple[str, str, int, int, str]]]:
    """Who is where and what is allowed, as the os-ken application that does the same job is told."""
    identities = {
        str(IPv4Address(place.address)): Identity(
            f"{place.role}{number}", f"{place.role}s", network.dpid, place.port, place.mac.hex(":")
        )
        for number, place in enumerate(network.places)
    }
    rules = [("clients", "servers", proto, port, RULE) for proto, port in ((TCP, TCP_SERVICE), (UDP, UDP_SERVICE))]
    return identities, rules


def _is_connected(bridge: str) -> bool | None:
    return openvswitch.vsctl("get", "Controller", bridge, "is_connected").strip() == "true" or None
