"""The controllers of a bridge of the benchmarks, one after the other: Zethane, its peers, or none."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from lab import openvswitch
from lab.errors import LabError
from lab.processes import START_TIMEOUT, Controller, stop, tail, wait_for
from perf.benchmark import Run
from perf.controllers import free_port, is_listening, peer, zethane
from perf.flow_network import FlowNetwork
from perf.peers import os_ken_same_job
from perf.same_job import Identity
from perf.topology import TCP_SERVICE, UDP_SERVICE
from zethane.net.flowkey import TCP, UDP

RULE = "clients-servers"

TESTCONTROLLER_IDLE = 5
"""Seconds that an entry of ovs-testcontroller lives without a packet: as few of them as may be, in its favour."""


@contextmanager
def controlled(side: str, network: FlowNetwork, run: Run, folder: Path, extra: Sequence[str] = ()) -> Iterator[Control]:
    """The bridge under one controller, which is ready. Raises LabError."""
    try:
        if side == "zethane":
            with zethane(folder, run.tagged, network.dpid, network.places, extra) as controller:
                network.control(int(controller.openflow.rpartition(":")[2]))
                controller.wait_switches(["s1"])
                yield Control(controller)
        elif side == "normal":
            network.switch_alone()
            yield Control(None)
        else:
            starts = {
                "testcontroller": lambda: testcontroller(folder, run),
                "os-ken": lambda: peer(folder, run.tagged, deliver=True),
                "same-job": lambda: _same_job(folder, run, network),
            }
            with starts[side]() as port:
                network.control(port)
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
        counters = self.zethane.get("/counters")["counters"]
        return next(int(one["value"]) for one in counters if one["name"] == "flows")


@contextmanager
def _same_job(folder: Path, run: Run, network: FlowNetwork) -> Iterator[int]:
    """The os-ken application that does the same job, for these hosts; its port."""
    identities = {
        str(IPv4Address(place.address)): Identity(
            f"{place.role}{number}", f"{place.role}s", network.dpid, place.port, place.mac.hex(":")
        )
        for number, place in enumerate(network.places)
    }
    rules = [("clients", "servers", proto, port, RULE) for proto, port in ((TCP, TCP_SERVICE), (UDP, UDP_SERVICE))]
    with os_ken_same_job(folder, run.tagged, identities, rules) as started:
        yield started.port


@contextmanager
def testcontroller(folder: Path, run: Run) -> Iterator[int]:
    """ovs-testcontroller, which learns where hosts are and writes an exact-match entry per flow; its port."""
    folder.mkdir(parents=True)
    port, log = free_port(), folder / "ovs-testcontroller.log"
    command = [
        "ovs-testcontroller", f"ptcp:{port}:127.0.0.1", "--protocols=OpenFlow13", f"--max-idle={TESTCONTROLLER_IDLE}",
        f"--unixctl={folder / 'control'}", "-vsyslog:off",
    ]  # fmt: skip  # options
    with log.open("wb") as file:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=run.tagged, start_new_session=True
            )
        except FileNotFoundError:
            raise LabError(
                "ovs-testcontroller is missing (Debian package openvswitch-testcontroller); ./run bench installs it"
            ) from None

    def listening() -> bool | None:
        if process.poll() is not None:
            raise LabError(f"ovs-testcontroller ended with status {process.returncode}. {tail(log)}")
        return is_listening(port) or None

    try:
        wait_for("ovs-testcontroller did not listen", listening, START_TIMEOUT, lambda: tail(log))
        yield port
    finally:
        stop(process)


def _is_connected(bridge: str) -> bool | None:
    return openvswitch.vsctl("get", "Controller", bridge, "is_connected").strip() == "true" or None
