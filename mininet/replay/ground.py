"""The network on which traffic is replayed: a watched network with whoever is outside in it, and names for frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from attack.capture import Tap
from attack.watched import WatchedNetwork
from lab import outside
from lab.errors import LabError
from lab.host import RunningHost
from lab.network import LabNetwork
from lab.verdicts import sampled_ports
from replay.craft import Book
from replay.evidence import Evidence, untagged
from zethane.app.topology import Topology
from zethane.net.flowkey import ETH_IPV4, ETH_IPV6
from zethane.policy.service import Service


class Ground(WatchedNetwork):
    """A watched network whose hosts also serve `services`; a name may be that of a host outside, or an address."""

    def __init__(
        self,
        network: LabNetwork,
        topology: Topology,
        logins: Sequence[str] | None = None,
        services: Iterable[Service] = (),
    ) -> None:
        super().__init__(network, topology, logins)
        self._services = tuple(services)
        self._server_ports: dict[str, Tap] = {}
        self._behind = {
            str(interface.ip): name for name, interfaces in topology.external_hosts.items() for interface in interfaces
        }

    def _open_taps(self) -> None:
        super()._open_taps()
        for name, server in self.network.network.infrastructure.items():
            self._server_ports[name] = Tap(self.network.port(server.switch, server.port))
            self._stack.callback(self._server_ports[name].close)

    def _servants(self) -> Iterable[RunningHost]:
        return (*super()._servants(), *self.network.outside.values())

    def _served(self) -> set[tuple[str, int]]:
        wanted = super()._served()
        for service in self._services:
            if service.proto in ("tcp", "udp", "sctp"):
                wanted |= {(service.proto, port) for port in sampled_ports(service, ())}
        return wanted

    # Who and where

    def cable(self, name: str) -> str:
        """Whose cable a host's frames come from: its own, or outside its router's."""
        if name in self.network.outside:
            router = self.network.outside[name].node.name
            return str(router)
        return name

    def holder(self, address: str) -> str | None:
        """Who has an address: a host, a server, a router, somebody outside; None if nobody is known to."""
        wanted = ip_address(address)
        everybody = (self.network.hosts, self.network.servers, self.network.routers, self.network.outside)
        for hosts in everybody:
            for name, host in hosts.items():
                if wanted in host.addresses:
                    return name
        return None

    def address(self, name: str, version: int = 4) -> str:
        """The first address of a host, or the address itself. Raises NotHereError, LookupError for another version."""
        try:
            found = ip_address(name)
        except ValueError:
            return self.ip(name, version)
        if found.version != version:
            raise LookupError(f"{name} is no IPv{version} address")
        return str(found)

    def carrier(self, name: str) -> str | None:
        """Whose card takes what goes to a host, or to an address: outside that is a router's. None: nobody's."""
        try:
            held = self.holder(name)
        except ValueError:
            held = name
        return next(iter(self.network.routers), None) if held is None else self.cable(held)

    def card(self, name: str) -> str:
        """The MAC address that frames to a host, or to an address, have to go to. Raises LookupError."""
        carrier = self.carrier(name)
        if carrier is None:
            raise LookupError(f"nobody has {name}, and there is no router")
        return self.mac(carrier)

    def card_bytes(self, name: str) -> bytes:
        """The MAC address of a host as frames have it."""
        return bytes.fromhex(self.mac(name).replace(":", ""))

    @property
    def book(self) -> Book:
        """Names and addresses for crafted frames."""
        return Book(self.card, self.address)

    def owner(self, host: str, frame: bytes, sent: bool) -> str:
        """Whose a frame at a cable is: behind a router it is the addresses that tell."""
        if host not in self.network.routers:
            return host
        frame = untagged(frame)
        kind = int.from_bytes(frame[12:14], "big")
        if kind == ETH_IPV4:
            packed = frame[26:30] if sent else frame[30:34]
        elif kind == ETH_IPV6:
            packed = frame[22:38] if sent else frame[38:54]
        else:
            return host
        return self._behind.get(str(ip_address(packed)), host) if len(packed) in (4, 16) else host

    @contextmanager
    def still(self, names: Iterable[str]) -> Iterator[None]:
        """These hosts' kernels answer nothing meanwhile: what comes from them is what is put on their cables."""
        cables = sorted({self.cable(name) for name in names})
        try:
            for name in cables:
                self.host(name).hold_still()
            yield
        finally:
            for name in cables:
                self._wake(name)

    def _wake(self, name: str) -> None:
        host, uplinks = self.host(name), self.network.network.uplinks
        host.wake()
        if name in uplinks:
            outside.add_addresses(host, uplinks[name])
        else:
            outside.add_routes(host, uplinks.values())

    # Evidence

    def collect(self) -> Evidence:
        """What the captures hold since the last time, once what is on its way has arrived."""
        self.settle()
        received = {name: tap.drain_timed() for name, tap in (self._taps | self._servers).items()}
        sent = {name: tap.drain_timed() for name, tap in (self._ports | self._server_ports).items()}
        for tap in self._trunks:
            tap.drain()
        taps = (*self._taps.values(), *self._servers.values(), *self._ports.values())
        return Evidence(sent, received, sum(tap.missed() for tap in taps))

    def ask(self, host: str, /, **probe: Any) -> Any:
        """Let a host try one connection; the future brings the answer. Raises LabError if it has nobody to try."""
        agent = self._agents.get(host)
        if agent is None:
            raise LabError(f"{host} opens no connections by itself: use packets")
        return agent.ask("probe", **probe)


@contextmanager
def ground_on(
    topology: Topology,
    *,
    folder: Path | None = None,
    unprotected: bool = False,
    logins: Sequence[str] | None = None,
    services: Iterable[Service] = (),
    **options: Any,
) -> Iterator[Ground]:
    """Build a topology's network and log its hosts in. `folder` is where the controller reads its files."""
    assert topology.network is not None  # noqa: S101 - whoever loads a scenario or a capture's topology has looked
    with (
        LabNetwork(topology.network, folder or topology.folder, unprotected=unprotected, **options) as network,
        Ground(network, topology, logins, services) as ground,
    ):
        yield ground
