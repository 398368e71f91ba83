"""The network of a run: hosts in namespaces, bridges, links, and what is started beside them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lab import openvswitch, outside, servers
from lab.addressing import Family, HostLease, families, lease
from lab.cabling import Cabling
from lab.codes import Codes
from lab.doors import Doors
from lab.errors import LabError
from lab.host import RunningHost
from lab.interrupts import Interrupts
from lab.ledger import Ledger
from lab.login import LoginResult
from lab.nodes import LabMininet
from lab.portal import portal_urls, start_portal, wait_portal
from lab.processes import Controller, stop, wait_for
from lab.sources import RunSources
from zethane.app.topology import load_topology
from zethane.network.model import Host, Infrastructure, Link, Network, Portal, Uplink

PORTAL = "portal"
"""The portal's name among Mininet's hosts."""

Progress = Callable[[str], None]


def _silent(step: str) -> None:
    """Progress that nobody watches."""


class LabNetwork:
    """A topology on this machine; a context manager that takes down exactly what it made.

    `unprotected` makes bridges that learn and forward by themselves, without a controller: what the lab
    observes there is what the network does without Zethane.
    """

    def __init__(
        self,
        network: Network,
        topology: Path | None = None,
        *,
        unprotected: bool = False,
        interrupts: Interrupts | None = None,
        progress: Progress = _silent,
    ) -> None:
        self.network = network
        self.unprotected = unprotected
        self.hosts: dict[str, RunningHost] = {}
        self.routers: dict[str, RunningHost] = {}
        self.outside: dict[str, RunningHost] = {}
        self.codes = Codes()
        self.started_daemons = False
        self.controller: Controller | None = None
        self.servers: dict[str, RunningHost] = {}
        self.leases: dict[str, dict[Family, HostLease]] = {}
        self._portal: subprocess.Popen[bytes] | None = None
        self._tls_portal: subprocess.Popen[bytes] | None = None
        self._serving: list[subprocess.Popen[bytes]] = []
        self._topology = topology
        self.sources: RunSources | None = None
        self._doors: Doors | None = None
        self._interrupts = interrupts or Interrupts()
        self._progress = progress
        self._kept = False
        self._begun = False
        self.keepers: dict[str, subprocess.Popen[Any]] = {}

    # Up and down

    def __enter__(self) -> LabNetwork:
        if os.geteuid() != 0:
            raise LabError("the lab makes network namespaces and bridges: it needs root")
        self.started_daemons = openvswitch.ensure_running()
        try:
            with self._interrupts.shielded():
                self._begin()
            self._progress(f"run {self.ledger.run_id}")
            self._build()
        except BaseException:
            # A signal that came while it began is raised when it has: the record is there, and goes.
            if self._begun:
                self.take_down()
            raise
        return self

    def _begin(self) -> None:
        self.mininet = LabMininet(controller=None)
        self.ledger = Ledger.open_new()
        self._begun = True
        self._tag = self.ledger.environment
        self._cabling = Cabling(self.network, self.mininet, self.ledger, self._tag)
        self.legacy = self._cabling.legacy

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._kept or error is not None:
            self.take_down()

    def keep(self) -> None:
        """Leave everything running when the block ends; `./run lab --down ID` takes it down."""
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        for name, host in (*self.hosts.items(), *self.servers.items(), *self.routers.items()):
            # A namespace lasts as long as a process in it; the shells end with the lab.
            self.keepers[name] = host.popen(["sleep", "infinity"], **quiet)
        self._kept = True

    def take_down(self) -> None:
        """Take down what was made, however far it got. Raises LabError if something resists."""
        with self._interrupts.ignored():
            self._progress("taking the network down")
            self.codes.close()
            failed = self.ledger.take_down()
            self.reap()
        if failed:
            raise LabError(f"run {self.ledger.run_id} is not down completely: {'; '.join(failed)}")

    def reap(self) -> None:
        """Collect this process's children and descriptors of a run that is down."""
        for process in self._programs():
            stop(process)
        if self.sources is not None:
            self.sources.stop()
        for node in [*self.mininet.hosts, *self.mininet.switches]:
            node.terminate()
            self._forget(node)

    def _programs(self) -> list[subprocess.Popen[Any]]:
        controller = self.controller.process if self.controller else None
        supplicants = [one.process for one in self._doors.supplicants.values()] if self._doors else []
        every = (controller, *self._serving, *supplicants, *self.keepers.values())
        return [process for process in every if process]

    @staticmethod
    def _forget(node: Any) -> None:
        """Mininet keeps every node in class-wide tables, where a later descriptor would find it."""
        for table in (node.inToNode, node.outToNode):
            for descriptor in [number for number, known in table.items() if known is node]:
                del table[descriptor]

    # Building

    def _build(self) -> None:
        for switch in self.network.switches.values():
            self._progress(f"switch {switch.name}")
            with self._interrupts.shielded():
                self._cabling.add_switch(switch)
        for legacy in self._cabling.legacy_switches():
            self._progress(f"legacy switch at port {legacy.port} of {legacy.switch}")
            with self._interrupts.shielded():
                self._cabling.add_legacy_switch(legacy)
        uplinks = self.network.uplinks.values()
        for host in self.network.hosts.values():
            self._progress(f"host {host.name}")
            self.hosts[host.name] = self._add_host(host.name, host)
            outside.add_routes(self.hosts[host.name], uplinks)
        if self.network.portal:
            self._progress("the portal's place")
            self.hosts[PORTAL] = self._add_host(PORTAL, self.network.portal)
        for server in self.network.infrastructure.values():
            self._progress(f"server {server.name}")
            self.servers[server.name] = self._add_host(server.name, server)
        for uplink in uplinks:
            self._progress(f"router {uplink.name}")
            self.routers[uplink.name] = self._add_host(uplink.name, uplink)
            self.outside |= outside.put_behind(self.routers[uplink.name], uplink)
        self._progress("links")
        for link in self.network.links:
            with self._interrupts.shielded():
                self._cabling.add_link(link)
        self._progress("bridges")
        with self._interrupts.shielded():
            self._cabling.start(secure=not self.unprotected)
        for server in self.network.infrastructure.values():
            self._progress(f"dnsmasq of {server.name}")
            with self._interrupts.shielded():
                place = self.servers[server.name]
                self._serving.append(servers.start(server, place, self.network, self.ledger.directory))
        if self.unprotected:
            self._progress("spanning tree")
            wait_for("The spanning tree did not settle", self._is_spanning, 60.0, str)
            self._lease_addresses()

    def _is_spanning(self) -> bool | None:
        return self._cabling.is_spanning() or None

    def bridge(self, switch: str) -> str:
        """The name of a switch's bridge."""
        return self._cabling.bridge(switch)

    def port(self, switch: str, number: int) -> str:
        """The name of the interface at a port of a switch."""
        return self._cabling.port(switch, number)

    def _add_host(self, name: str, place: Host | Portal | Infrastructure | Uplink) -> RunningHost:
        with self._interrupts.shielded():
            node, inside = self._cabling.add_host(name, place)
            login_with = place.login if isinstance(place, Host) else None
            host = RunningHost(name, node, place.interfaces, login_with, self.codes)
            host.machine = place.machine if isinstance(place, Host) else None
            host.configure(inside, place.mac, ipv6=isinstance(place, Host) and place.dhcp)
            return host

    def set_link(self, link: Link, *, up: bool) -> None:
        """Take both ends of a link up or down."""
        self._cabling.set_link(link, up=up)

    def set_port(self, host: str, *, up: bool) -> None:
        """Take the switch's port of a host, and of those that share it, up or down."""
        place = self.network.hosts[host]
        self._cabling.set_port(place.switch, place.port, up=up)

    def host(self, name: str) -> RunningHost:
        """A host, a server or a router by its name, here or outside. Raises LookupError."""
        found = self.hosts.get(name) or self.servers.get(name) or self.routers.get(name) or self.outside.get(name)
        if found is None:
            raise LookupError(f"there is no host {name} in the lab")
        return found

    def _lease_addresses(self) -> None:
        """Let every host that has its addresses by DHCP ask for them. Raises LabError."""
        subnets = [i.network for server in self.network.infrastructure.values() for i in server.interfaces]
        prefix = next((subnet.prefixlen for subnet in subnets if subnet.version == 6), 128)
        for name, host in self.network.hosts.items():
            if host.dhcp and name not in self.leases:
                self._progress(f"addresses of {name}")
                wanted = families(self.network)
                self.leases[name] = {family: lease(self.hosts[name], family, prefix) for family in wanted}
                outside.add_routes(self.hosts[name], self.network.uplinks.values())

    # The programs

    def start_controller(self, *extra: str) -> Controller:
        """Start `zethane run`, or start it again, and wait until it has every switch, and hosts have addresses.

        Raises LabError.
        """
        if self._topology is None:
            raise LabError("the controller needs the topology's folder")
        with self._interrupts.shielded():
            if self.controller is None:
                self.controller = Controller(self._topology, self.ledger.directory, self._tag)
                self.controller.nice = 0  # its hosts are on this machine as well, and are to have their turns
                self._start_sources(self.controller)
                zones = (self.controller.zones + switch.number for switch in self.network.switches.values())
                self.ledger.note("zone", *map(str, zones))
            self.controller.start(extra)
        openflow = self.controller.wait_listening()
        bridges = [self.bridge(name) for name in self.network.switches]
        openvswitch.set_controller(bridges, f"tcp:{openflow}")
        self.controller.wait_switches(list(self.network.switches))
        self._lease_addresses()
        return self.controller

    def _start_sources(self, controller: Controller) -> None:
        """Start who vouches for the hosts, and let the controller know where they are. Raises LabError, InputError."""
        assert self._topology is not None  # noqa: S101 - start_controller has looked
        directory = self.ledger.directory
        self.sources = RunSources(load_topology(self._topology), directory, self._tag, self.hosts.get(PORTAL))
        if self.sources.needed:
            controller.sources = self.sources.start(self._progress)
        self._doors = Doors(self, controller, self.sources)

    def start_portal(self, *extra: str) -> None:
        """Start `zethane portal` in its namespace, with further options, and wait until it listens. Raises LabError.

        Where hosts log in by certificate there is a second one, over HTTPS, at a port of its own.
        """
        if self.network.portal is None or self.controller is None:
            raise LabError("the portal needs a place in the network and a controller")
        self._portal = self._run_portal("portal", self.network.portal.tcp_port, extra)
        if self.tls_port is not None and self.sources is not None and self.sources.authority is not None:
            authority = self.sources.authority
            issued = authority.server("portal", [str(address) for address in self.hosts[PORTAL].addresses])
            options = ("--certificate", issued.certificate, "--key", issued.key, "--client-ca", authority.certificate)
            self._tls_portal = self._run_portal("portal-tls", self.tls_port, [str(option) for option in options])

    @property
    def tls_port(self) -> int | None:
        """The portal's port for HTTPS; None if network.yaml names none, or no host logs in by certificate."""
        if self.network.portal is None or self.sources is None or not self.sources.certificates:
            return None
        return self.network.portal.tls_port

    def _run_portal(self, name: str, port: int, options: Sequence[str]) -> subprocess.Popen[bytes]:
        assert self.controller is not None  # noqa: S101 - start_portal has looked
        place, log_file = self.hosts[PORTAL], self.ledger.directory / f"{name}.log"
        with self._interrupts.shielded():
            portal = start_portal(place, port, self.controller.portal_socket, log_file, options)
            self._serving.append(portal)
        wait_portal(place, port, portal, log_file)
        return portal

    def stop_portal(self) -> None:
        """End the portal."""
        for portal in (self._portal, self._tls_portal):
            if portal is not None:
                stop(portal)

    @property
    def portal_urls(self) -> list[str]:
        """What hosts reach the portal at, IPv4 first."""
        return portal_urls(self.hosts[PORTAL], "http", self.network.portal.tcp_port) if self.network.portal else []

    @property
    def tls_urls(self) -> list[str]:
        """The same over HTTPS, if the portal speaks that here."""
        return portal_urls(self.hosts[PORTAL], "https", self.tls_port) if self.tls_port else []

    def login(self, name: str, notice: Progress = _silent) -> LoginResult:
        """Log a host in as network.yaml says. `notice` is told why it takes longer.

        Raises LookupError for a host that is not there, LabError for everything else.
        """
        return self.login_host(self.host(name), notice)

    def login_host(self, host: RunningHost, notice: Progress = _silent) -> LoginResult:
        """The same for a host itself."""
        return self._way_in().login(host, notice)

    def logout(self, name: str) -> None:
        """Log a host out. Raises LookupError for a host that is not there, LabError for everything else."""
        self._way_in().logout(self.host(name))

    def _way_in(self) -> Doors:
        if self._doors is None:
            raise LabError("nobody can log in without a controller")
        return self._doors

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment in which `zethane` commands reach this run's controller."""
        socket = {"ZETHANE_SOCKET": str(self.controller.socket)} if self.controller else {}
        return self._tag | socket
