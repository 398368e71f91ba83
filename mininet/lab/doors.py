"""The ways into the network that hosts of a run have: the portal, and below IP their own switch port."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from lab import platform
from lab.errors import LabError
from lab.host import RunningHost
from lab.ledger import Ledger
from lab.login import LoginResult, certificate_login, logout, person_login, portal_login, result_of
from lab.processes import Controller, tail, wait_for
from lab.sources import RunSources
from lab.supplicant import Supplicant
from zethane.net.mac import format_mac
from zethane.network.model import Login, Network

WAIT = 30.0
"""Seconds that an authentication below IP may take."""

Notice = Callable[[str], None]


class Gate(Protocol):
    """Where the portals of a run are, and its files."""

    @property
    def network(self) -> Network: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def portal_urls(self) -> Sequence[str]: ...
    @property
    def tls_urls(self) -> Sequence[str]: ...
    def port(self, switch: str, number: int) -> str: ...


class Doors:
    """Logs hosts in and out, each as network.yaml says."""

    def __init__(self, gate: Gate, controller: Controller, sources: RunSources) -> None:
        self._gate = gate
        self._network = gate.network
        self._controller = controller
        self._sources = sources
        self._directory = gate.ledger.directory
        self.supplicants: dict[str, Supplicant] = {}

    def login(self, host: RunningHost, notice: Notice) -> LoginResult:
        """Log a host in: its device, then who uses it. Raises LabError."""
        if not host.logins:
            raise LabError(f"{host.name} has no login in network.yaml")
        return [self._one(host, login, notice) for login in host.logins][-1]

    def _one(self, host: RunningHost, login: Login, notice: Notice) -> LoginResult:
        match login.via:
            case "portal":
                return portal_login(host, login, self._gate.portal_urls, notice)
            case "dot1x":
                return self._supplicant(host, login)
            case "mab":
                return self._wait_session(host, lambda: f"{host.name} has no session by its MAC address")
            case "certificate":
                issued = self._sources.certificate(login)
                return certificate_login(host, issued, self._gate.tls_urls, self._ca)
            case "oidc":
                person_login(host, login, self._gate.portal_urls[0])
                return self._wait_session(host, lambda: f"{host.name} has no session by single sign-on")
            case "attestation":
                place = self._network.hosts[host.name]
                platform.vouch(self._interface(host), place.mac, self._sources.attested(login))
                return self._wait_session(host, lambda: f"{host.name} has no session on the word of the platform")
            case other:
                raise LabError(f"{host.name}: the lab has no way to log in by {other}")

    def _interface(self, host: RunningHost) -> str:
        """The switch's end of a host's cable."""
        place = self._network.hosts[host.name]
        return self._gate.port(place.switch, place.port)

    def logout(self, host: RunningHost) -> None:
        """Log a host out, by the way that it logged in last. Raises LabError."""
        supplicant = self.supplicants.get(host.name)
        if supplicant is not None and host.logins and host.logins[-1].via == "dot1x":
            supplicant.tell("logoff")
        elif host.logins and host.logins[-1].via == "attestation":
            platform.forget(self._interface(host))
        else:
            logout(host, self._gate.portal_urls)

    def _supplicant(self, host: RunningHost, login: Login) -> LoginResult:
        known = self.supplicants.get(host.name)
        if known is not None and known.process.poll() is None:
            known.tell("logon")
        else:
            pair = None
            if login.eap == "tls":
                issued = self._sources.certificate(login)
                pair = (issued.certificate, issued.key)
            known = self.supplicants[host.name] = Supplicant(host, self._directory, login, self._ca, pair)
        return self._wait_session(host, lambda: tail(known.log))

    @property
    def _ca(self) -> Path:
        """Who signs the certificates of this run's servers. Raises LabError."""
        if self._sources.authority is None:
            raise LabError("the controller has not been started, and so has nobody who vouches for hosts")
        return self._sources.authority.certificate

    def _wait_session(self, host: RunningHost, tell: Callable[[], str]) -> LoginResult:
        """Wait until a host has a session, and each of its addresses is bound: it shows them by asking around."""
        mac = format_mac(self._network.hosts[host.name].mac)

        def ready() -> LoginResult | None:
            found: list[dict[str, Any]] = self._controller.get("/sessions")["sessions"]
            session = next((one for one in found if one["mac"] == mac), None)
            if session is not None and {str(address) for address in host.addresses} <= {*session["addresses"]}:
                return result_of(host, session)
            self._ask_around(host)
            return None

        return wait_for(f"{host.name} did not get in", ready, WAIT, tell)

    def _ask_around(self, host: RunningHost) -> None:
        """Let a host look for the portal from each address: that is how its switch hears which ones it has."""
        portal = self._network.portal
        # Who knows the portal's MAC already does not ask for it.
        host.run(["ip", "neigh", "flush", "dev", "eth0"])
        targets = {interface.ip.version: interface.ip for interface in portal.interfaces} if portal else {}
        for address in host.addresses:
            target = targets.get(address.version)
            if target is not None:
                # Answered or not: the question itself is what counts.
                subprocess.run(
                    ["mnexec", "-a", str(host.pid), "ping", "-n", "-c1", "-W1", "-I", str(address), str(target)],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=dict(host.node.tag),
                    timeout=10,
                    check=False,
                )
