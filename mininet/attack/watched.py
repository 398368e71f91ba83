"""A running network that is watched: taps on all of its cables, an agent in each host, and the controller's API."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import httpx

from attack.capture import Tap
from attack.namespace import inside
from attack.scenario import NotHereError
from lab.errors import LabError
from lab.host import RunningHost
from lab.login import LoginResult, login_all
from lab.network import PORTAL, LabNetwork
from lab.prober import Agent
from lab.shell import run
from lab.verdicts import sampled_ports
from zethane.app.topology import Topology
from zethane.policy.matrix import services_of

T = TypeVar("T")
W = TypeVar("W", bound="WatchedNetwork")

SETTLE = 0.25
"""Seconds from the last frame until the captures are read: a frame crosses the network in a few ms."""


class WatchedNetwork:
    """A context manager; `network` is up already, and everybody logs in who can, or those of `logins`."""

    def __init__(self, network: LabNetwork, topology: Topology, logins: Sequence[str] | None = None) -> None:
        self.network = network
        self.topology = topology
        self.protected = not network.unprotected
        self.granted = self.protected and any(rule.is_grant for rule in topology.policy.enforced)
        self.sessions: dict[str, LoginResult] = {}
        self._logins = logins
        self._stack = ExitStack()
        self._taps: dict[str, Tap] = {}
        self._ports: dict[str, Tap] = {}
        self._servers: dict[str, Tap] = {}
        self._trunks: list[Tap] = []
        self._agents: dict[str, Agent] = {}

    def __enter__(self: W) -> W:
        try:
            self._open_taps()
            self._begin()
            self._start_agents()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _begin(self) -> None:
        """Start the controller and the portal, and let hosts log in."""
        if self.protected:
            self.network.start_controller()
            self.network.start_portal()
            if self._logins is None or self._logins:
                self.log_in(*(self._logins or ()))

    def _open_taps(self) -> None:
        for name, host in (self.network.hosts | self.network.routers).items():
            self._taps[name] = inside(host.pid, lambda: Tap("eth0"))
            self._ports[name] = Tap(self.port_of(name))
        for name, server in self.network.servers.items():
            self._servers[name] = inside(server.pid, lambda: Tap("eth0"))
        for link in self.network.network.links:
            self._trunks += [Tap(self.network.port(*end)) for end in (link.a, link.b)]
        for tap in self._all_taps():
            self._stack.callback(tap.close)

    def _all_taps(self) -> Iterator[Tap]:
        yield from (*self._taps.values(), *self._ports.values(), *self._servers.values(), *self._trunks)

    def _servants(self) -> Iterable[RunningHost]:
        """Who has an agent: every host but the portal's place."""
        return (host for name, host in self.network.hosts.items() if name != PORTAL)

    def _served(self) -> set[tuple[str, int]]:
        """Protocols and ports that the agents serve: all that any rule names, so that silence is the network's."""
        services = services_of(self.topology.policy)
        return {(one.proto, port) for one in services if one.proto != "icmp" for port in sampled_ports(one, services)}

    def _start_agents(self) -> None:
        wanted = sorted(self._served())
        for host in self._servants():
            self._agents[host.name] = agent = Agent(host)
            self._stack.callback(agent.close)
            addresses = [str(address) for address in host.addresses]
            failed = agent.ask("serve", addresses=addresses, services=wanted).result(30)["failed"]
            if failed:
                raise LabError(f"{host.name} cannot serve {'; '.join(failed[:5])}")

    # Who and where

    def host(self, name: str) -> RunningHost:
        """A host by its name."""
        return self.network.host(name)

    def mac(self, name: str) -> str:
        """A host's MAC address."""
        number = self._place(name).mac
        return ":".join(f"{byte:02x}" for byte in number.to_bytes(6, "big"))

    def ip(self, name: str, version: int = 4) -> str:
        """A host's first address of an IP version. Raises NotHereError."""
        try:
            return str(self.host(name).address(version))
        except LookupError:
            raise NotHereError(f"{name} has no IPv{version} address") from None

    def _place(self, name: str) -> Any:
        described = self.network.network
        if name == PORTAL:
            return described.portal
        return described.hosts.get(name) or described.infrastructure.get(name) or described.uplinks[name]

    def port_of(self, name: str) -> str:
        """The name of the interface at the switch that a host's cable ends at."""
        place = self._place(name)
        return self.network.port(place.switch, place.port)

    def tap(self, name: str) -> Tap:
        """The raw socket at the interface of a host or of a server of the network's own."""
        return self._taps.get(name) or self._servers[name]

    def inside(self, name: str, do: Callable[[], T]) -> T:
        """Call a function in a host's network namespace."""
        return inside(self.host(name).pid, do)

    # Sessions

    def log_in(self, *names: str) -> None:
        """Log in these hosts, or all that can. Raises LabError."""
        hosts = [host for name, host in self.network.hosts.items() if host.login and (not names or name in names)]
        failures: list[LabError] = []

        def done(_: RunningHost, result: LoginResult | LabError) -> None:
            if isinstance(result, LabError):
                failures.append(result)

        self.sessions.update({result.host: result for result in login_all(hosts, self.network.login_host, done)})
        if failures:
            raise failures[0]

    def api(self, method: str, path: str, **body: Any) -> Any:
        """Ask the controller's API. Raises LabError."""
        if self.network.controller is None:
            raise LabError("there is no controller to ask")
        transport = httpx.HTTPTransport(uds=str(self.network.controller.socket))
        with httpx.Client(transport=transport, base_url="http://controller/v1", timeout=5) as client:
            try:
                answer = client.request(method, path, json=body or None)
            except httpx.HTTPError as error:
                raise LabError(f"the controller's API did not answer {path}: {error!r}") from None
            if path == "/health":
                return answer.json()
            if not answer.is_success:
                raise LabError(f"the controller's API answered {path} with {answer.status_code}: {answer.text[:200]}")
            return answer.json() if "json" in answer.headers["content-type"] else answer.text

    # Evidence

    def forget(self) -> None:
        """Begin anew: what the taps hold belongs to something else."""
        for tap in self._all_taps():
            tap.drain()
            tap.missed()

    def log_size(self) -> int:
        """Where the decision log ends now."""
        controller = self.network.controller
        return controller.decisions.stat().st_size if controller and controller.decisions.exists() else 0

    def records(self, since: int) -> list[Mapping[str, Any]]:
        """The decision log's records behind an offset."""
        controller = self.network.controller
        if controller is None or not controller.decisions.exists():
            return []
        with controller.decisions.open("rb") as log:
            log.seek(since)
            return [json.loads(line) for line in log.read().splitlines()]

    def settle(self) -> None:
        """Wait until frames on their way have arrived."""
        time.sleep(SETTLE)

    # The machinery around an attempt

    def neutral(self) -> None:
        """Before an attempt: without Zethane, bridges and hosts forget what attacks have taught them."""
        if self.protected:
            return
        for name in self.network.network.switches:
            run(["ovs-appctl", "fdb/flush", self.network.bridge(name)])
        for host in self.network.hosts.values():
            host.run(["ip", "neigh", "flush", "all"])

    @contextmanager
    def knowing(self, host: str, *others: str) -> Iterator[None]:
        """A host whose kernel knows the others' MAC addresses without having to ask."""
        known = [(address, self.mac(other)) for other in others for address in self.host(other).addresses]
        versions = {address.version for address in self.host(host).addresses}
        known = [(address, mac) for address, mac in known if address.version in versions]
        self._neighbours(host, [f"neigh replace {ip} lladdr {mac} dev eth0 nud permanent" for ip, mac in known])
        try:
            yield
        finally:
            self._neighbours(host, [f"neigh del {ip} dev eth0" for ip, _ in known])

    def _neighbours(self, host: str, lines: Sequence[str]) -> None:
        done = self.host(host).run(["ip", "-batch", "-"], text_in="\n".join(lines) + "\n")
        if done.returncode:
            raise LabError(f"{host}: ip neigh failed: {done.stderr.strip()[-300:]}")
