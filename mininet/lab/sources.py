"""Who vouches for the hosts of a topology while the lab runs: a RADIUS server, OpenID providers, and an authority.

sources.yaml of the topology says what is meant; here the servers are started, and a sources.yaml for this run is
written that says where they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from lab.certificates import Authority, Issued
from lab.errors import LabError
from lab.freeradius import FreeRadius
from lab.freeradius_settings import RadiusUser, mab_user
from lab.host import RunningHost
from lab.oidc_provider import Account, OidcProvider
from lab.platform import DATABASE
from zethane.app.logins import account_name
from zethane.app.topology import Topology
from zethane.identity.directory import Attested, Directory
from zethane.net.mac import format_mac
from zethane.network.model import Host, Login

FILE = "sources.yaml"
_PLACES = ("issuer", "client_id", "client_secret", "client_secret_file", "connect", "ca")
"""What the lab says of a provider."""
Progress = Callable[[str], None]


class RunSources:
    """The servers that the logins of one topology need, and the certificates of its hosts."""

    def __init__(
        self, topology: Topology, directory: Path, environment: Mapping[str, str], portal: RunningHost | None = None
    ) -> None:
        self._topology = topology
        self._portal = portal
        self._directory = directory
        self._environment = environment
        self._logins = [login for host in topology.hosts.values() for login in host.logins]
        self._ways = {login.via for login in self._logins}
        self._issued: dict[str, Issued] = {}
        self.authority: Authority | None = None
        self.radius: FreeRadius | None = None
        self.providers: dict[str, OidcProvider] = {}

    @property
    def needed(self) -> bool:
        """Whether any host logs in elsewhere than with the embedded provider."""
        return bool(self._ways - {"portal"})

    @property
    def certificates(self) -> bool:
        """Whether any host logs in by certificate."""
        return "certificate" in self._ways

    def start(self, progress: Progress) -> Path:
        """Start what is needed, and write sources.yaml for the controller. Raises LabError."""
        self.authority = Authority(self._directory / "certificates")
        if self._ways & {"dot1x", "mab"}:
            progress("FreeRADIUS")
            self.radius = FreeRadius(
                self._directory / "radius",
                list(self._users()),
                authority=self.authority,
                environment=self._environment,
            )
            self.radius.start()
        for name in {login.provider for login in self._logins if login.via == "oidc" and login.provider}:
            progress(f"the OpenID provider {name}")
            self.providers[name] = self._provider(name)
            self.providers[name].start()
        file = self._directory / FILE
        file.touch(mode=0o600)
        file.write_text(json.dumps(self._settings(), indent=1) + "\n", encoding="utf-8")  # JSON is YAML
        return file

    def stop(self) -> None:
        """End the servers."""
        if self.radius is not None:
            self.radius.stop()
        for provider in self.providers.values():
            provider.stop()

    def _provider(self, name: str) -> OidcProvider:
        """An OpenID provider at the portal's address, where hosts reach it before they have logged in."""
        described = self._topology.network.portal if self._topology.network else None
        port = urlsplit(self._topology.sources.settings.oidc[name].issuer).port
        if self._portal is None or described is None or port not in described.login_ports:
            raise LabError(f"the provider {name} has to be at one of the portal's login_ports in network.yaml")
        users = self._topology.directory.users
        accounts = {
            login.name: Account(login.secret, users[account_name(login)].groups)
            for login in self._logins
            if login.provider == name
        }
        address = self._portal.address()
        host = f"[{address}]" if address.version == 6 else str(address)
        return OidcProvider(
            self._directory / f"provider-{name}",
            accounts,
            f"http://{host}:{described.tcp_port}/oidc/callback",
            place=self._portal,
            port=port,
            authority=self.authority,
            environment=self._environment,
        )

    def certificate(self, login: Login) -> Issued:
        """The certificate of who logs in with one, made when it is first asked for."""
        if self.authority is None:
            raise LookupError("the servers have not been started")
        if login.name not in self._issued:
            names = _alternative_names(self._topology.directory, login)
            common = f"host/{login.name}" if login.kind == "device" else login.name
            self._issued[login.name] = self.authority.client(login.name, names, common_name=common)
        return self._issued[login.name]

    def attested(self, login: Login) -> Attested:
        """What the platform has to say of the port of a workload. Raises LookupError."""
        attested = self._topology.directory.workloads[login.name].attested
        if attested is None:
            raise LookupError(f"the identities do not say how the platform knows {login.name}")
        return attested

    def _users(self) -> Iterable[RadiusUser]:
        """Everybody whom the RADIUS server has to know, with the groups that the identities give them."""
        for host in self._topology.hosts.values():
            for login in host.logins:
                if login.via == "dot1x":
                    name = f"host/{login.name}" if login.kind == "device" else login.name
                    yield RadiusUser(name, login.secret or None, self._reply(login))
                elif login.via == "mab":
                    yield mab_user(_mac_of(self._topology.directory, login, host), self._reply(login))

    def _reply(self, login: Login) -> dict[str, Any]:
        """Groups of people come from the RADIUS server; what devices are, the identities say."""
        user = self._topology.directory.users.get(login.name)
        return {"Filter-Id": list(user.groups)} if login.kind == "user" and user and user.groups else {}

    def _settings(self) -> dict[str, Any]:
        """The topology's sources.yaml with this run's addresses, secrets and files."""
        settings = _plain(self._topology.sources.settings.model_dump(exclude_unset=True))
        assert isinstance(settings, dict)  # noqa: S101 - a model is one
        if self.radius is not None and "radius" in settings:
            settings["radius"]["servers"] = self.radius.sources()
        if self.authority is not None and "certificates" in settings:
            settings["certificates"]["ca"] = [str(self.authority.certificate)]
            settings["certificates"].pop("crl", None)
        for name, provider in self.providers.items():
            kept = {key: value for key, value in settings["oidc"][name].items() if key not in _PLACES}
            settings["oidc"][name] = kept | provider.sources()
        for ovsdb in settings.get("ovsdb", {}).values():
            ovsdb["connect"] = DATABASE  # whoever has written which interface is whose: here it is the lab
        return settings


def _plain(value: object) -> object:
    """A model's values as JSON has them, with the secrets that a file of its own keeps."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return value


def _alternative_names(directory: Directory, login: Login) -> list[str]:
    """The names that the identities know a workload or a device by."""
    known: Mapping[str, Any] = directory.workloads if login.kind == "workload" else directory.devices
    entry = known.get(login.name)
    return [name for name in (getattr(entry, "spiffe", None), getattr(entry, "dns", None)) if name]


def _mac_of(directory: Directory, login: Login, host: Host) -> str:
    device = directory.devices.get(login.name)
    text = device.mac if device is not None and device.mac else format_mac(host.mac)
    return text.replace(":", "-").upper()
