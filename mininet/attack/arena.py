"""The running network in which attacks are tried, and what is permitted there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

from attack.cast import Cast, Permit
from attack.evidence import Evidence
from attack.scenario import NotHereError
from attack.trial import Trial
from attack.watched import WatchedNetwork
from lab.errors import LabError
from lab.network import LabNetwork
from lab.openvswitch import vsctl
from lab.processes import wait_for
from lab.shell import run
from zethane.app.topology import Topology

PROBE = 2.5
"""Seconds that a permitted connection may take to be set up and used."""
ALARM = 8.0
"""Seconds within which what happened is in the decision log: what was left out is summed up every five."""
NEXT_PROBE = 12.0
"""Seconds within which every cable between switches has carried a probe."""


class Arena(WatchedNetwork):
    """A watched network with everybody logged in who can, and the parts that hosts play in attacks."""

    def __init__(self, network: LabNetwork, topology: Topology, cast: Cast) -> None:
        super().__init__(network, topology)
        self.cast = cast
        self._ports_up: dict[str, int] = {}

    def _begin(self) -> None:
        if not self.protected:
            self._forward_reserved_groups()
        super()._begin()
        if self.protected:
            told = self.api("GET", "/switches")["switches"]
            self._ports_up = {switch["name"]: switch["ports"] for switch in told}

    def _forward_reserved_groups(self) -> None:
        """Bridges without Zethane pass on what they do not take for themselves, LLDP among it."""
        for name in self.network.network.switches:
            vsctl("set", "Bridge", self.network.bridge(name), "other_config:forward-bpdu=true")

    # Who and where

    @property
    def router(self) -> str:
        """The name of the first uplink's router. Raises NotHereError."""
        name = next(iter(self.network.routers), None)
        if name is None:
            raise NotHereError("the network has no uplink")
        return name

    @property
    def dhcp_server(self) -> str:
        """The name of the first trusted DHCP server. Raises NotHereError."""
        for name, server in self.network.network.infrastructure.items():
            if "dhcp" in server.serves:
                return name
        raise NotHereError("the network has no DHCP server")

    @property
    def dhcp_client(self) -> str:
        """The name of the first host that has its addresses by DHCP. Raises NotHereError."""
        for name, host in self.network.network.hosts.items():
            if host.dhcp:
                return name
        raise NotHereError("no host has its addresses by DHCP")

    def cards_of(self, name: str) -> int:
        """How many cards a host's port may have."""
        place = self._place(name)
        return self.network.network.switches[place.switch].port(place.port).macs

    def broadcast_address(self, name: str) -> str:
        """The directed broadcast address of a host's IPv4 network."""
        return str(self._network_of(name).broadcast_address)

    def free_address(self, name: str) -> str:
        """The highest address of a host's IPv4 network that nobody has."""
        place = self.network.network
        taken = {one.ip for host in place.hosts.values() for one in host.interfaces}
        taken |= {one.ip for one in (place.portal.interfaces if place.portal else ())}
        return str(next(ip for ip in reversed(list(self._network_of(name).hosts())) if ip not in taken))

    def unused_ipv6(self, name: str) -> str:
        """An address of a host's IPv6 network that nobody has. Raises NotHereError."""
        for interface in self.host(name).interfaces:
            if interface.version == 6:
                return str(interface.network.network_address + 0xBAD0BAD)
        raise NotHereError(f"{name} has no IPv6 address")

    def _network_of(self, name: str) -> IPv4Network:
        for interface in self.host(name).interfaces:
            if isinstance(interface, IPv4Interface):
                return interface.network
        raise NotHereError(f"{name} has no IPv4 address")

    @property
    def portal_port(self) -> int:
        """The TCP port of the portal."""
        portal = self.network.network.portal
        if portal is None:
            raise NotHereError("the network has no portal")
        return portal.tcp_port

    # Sessions

    def log_in_when_up(self, name: str) -> None:
        """Log in a host whose cable has just been plugged in: the switch may not have noticed yet."""
        place = self._place(name)

        def up() -> bool | None:
            switches = {switch["name"]: switch for switch in self.api("GET", "/switches")["switches"]}
            return switches[place.switch]["ports"] == self._ports_up[place.switch] or None

        wait_for(f"{name}'s port did not come up", up, 10.0, str)
        self.log_in(name)

    # Evidence

    def fabric_frames(self) -> list[bytes]:
        """What has crossed links between switches since the attempt began."""
        return [frame for tap in self._trunks for frame in tap.peek()]

    def links(self) -> list[Mapping[str, Any]]:
        """The links that the controller knows of, each with its state; none without a controller."""
        return list(self.api("GET", "/links")["links"]) if self.protected else []

    def links_believed(self, before: Sequence[Mapping[str, Any]]) -> str:
        """What the controller believes about links that it did not before, in words; empty for nothing.

        A link that is new, and a declared one that was confirmed and is so no more: both are an attacker's success.
        """
        known = {(link["a"], link["b"]): link["state"] for link in before}
        found = []
        for link in self.links():
            ends = link["a"], link["b"]
            if ends not in known:
                found.append(f"a new link {' - '.join(ends)}")
            elif known[ends] == "confirmed" and link["state"] != "confirmed":
                found.append(f"{' - '.join(ends)} is {link['state']}")
        return ", ".join(found)

    def alarm(self, since: int, reason: str) -> str:
        """An empty text if the decision log has a denial with this reason from `since` on, else what is missing.

        What the log has no room for is in it as a sum, with its reason.
        """

        def told() -> bool:
            return any(record.get("reason") == reason for record in self.records(since))

        deadline = time.monotonic() + ALARM
        while not told():
            if time.monotonic() > deadline:
                return f"no {reason} in the decision log"
            self.settle()
        return ""

    def await_fabric_frames(self, wanted: Callable[[bytes], bool], beyond: int) -> list[bytes]:
        """Wait for frames of a kind on the cables between switches, beyond so many; none if none come."""
        deadline = time.monotonic() + NEXT_PROBE
        while time.monotonic() < deadline:
            found = [frame for frame in self.fabric_frames() if wanted(frame)]
            if len(found) > beyond:
                return found[beyond:]
            time.sleep(0.02)
        return []

    def counters(self) -> dict[str, float]:
        """The controller's counters by name; none without one."""
        if not self.protected:
            return {}
        found: dict[str, float] = {}
        for one in self.api("GET", "/counters")["counters"]:
            found[one["name"]] = found.get(one["name"], 0.0) + one["value"]
        return found

    def evidence(self, trial: Trial, since: int, before: Mapping[str, float]) -> Evidence:
        """All that is known after an attempt; `since` and `before` are log_size() and counters() ahead of it."""
        received = {name: tap.drain() for name, tap in self._taps.items()}
        sent = {name: tap.drain() for name, tap in self._ports.items()}
        fabric = [frame for tap in self._trunks for frame in tap.drain()]
        missed = sum(tap.missed() for tap in (*self._taps.values(), *self._servers.values()))
        after = self.counters()
        grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
        return Evidence(trial.marks, received, sent, fabric, trial.observed, self.records(since), grown, missed)

    # What is permitted

    def probe(self, permit: Permit, version: int = 4, *, timeout: float = PROBE) -> tuple[bool, str]:
        """Whether a new connection of this kind can be set up and used, and in a word how it went."""
        told = self._agents[permit.source].ask(
            "probe",
            proto=permit.proto,
            source=self.ip(permit.source, version),
            target=self.ip(permit.target, version),
            port=permit.port,
            timeout=timeout,
        )
        answer = told.result(timeout + 10)
        return bool(answer["answered"]), str(answer["detail"])

    def cut_off(self) -> list[str]:
        """Permitted connections that do not work: the honest pair's, over every IP version that both have."""
        service = self.cast.service
        versions = sorted({address.version for address in self.host(service.source).addresses})
        failed = []
        for version in versions:
            answered, detail = self.probe(service, version)
            if not answered:
                kind = f"{service.source} → {service.target} {service.proto}/{service.port} over IPv{version}"
                failed.append(f"{kind} was cut off ({detail})")
        return failed

    def wait_no_flow(self, permit: Permit, sport: int) -> None:
        """Wait until the controller knows of no flow from this port any more."""

        def gone() -> bool | None:
            flows = self.api("GET", "/flows")["flows"]
            sources = {(flow["source"], flow["source_port"]) for flow in flows}
            return (self.ip(permit.source), sport) not in sources or None

        if self.protected:
            wait_for("A flow did not end", gone, 15.0, str)

    # The machinery around an attempt

    @contextmanager
    def borrowing(self, host: str, address: str) -> Iterator[None]:
        """A host whose kernel has another's IPv4 address as well."""
        self._address(host, "add", address)
        try:
            yield
        finally:
            self._address(host, "del", address)

    def _address(self, host: str, what: str, address: str) -> None:
        done = self.host(host).run(["ip", "address", what, f"{address}/32", "dev", "eth0"])
        if done.returncode:
            raise LabError(f"{host}: ip address {what} {address} failed: {done.stderr.strip()}")

    @contextmanager
    def mtu(self, size: int) -> Iterator[None]:
        """Every cable takes IP packets of this size."""
        self._set_mtu(size)
        try:
            yield
        finally:
            self._set_mtu(1500)

    def _set_mtu(self, size: int) -> None:
        taps = (*self._ports.values(), *self._trunks)
        run(["ip", "-batch", "-"], text_in="".join(f"link set dev {tap.interface} mtu {size}\n" for tap in taps))
        for host in self.network.hosts.values():
            done = host.run(["ip", "link", "set", "dev", "eth0", "mtu", str(size)])
            if done.returncode:
                raise LabError(f"{host.name}: the MTU cannot be {size}: {done.stderr.strip()}")
