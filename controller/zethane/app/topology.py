"""A topology's folder: policy.yaml, identities.yaml and, for a lab, network.yaml, held against each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from zethane.app.files import read_text
from zethane.app.logins import AT, check_logins, foreign_names, host_principal
from zethane.document import Document, Findings, closest, parse, quote
from zethane.errors import InputError, Problem
from zethane.identity.directory import Directory, parse_identities
from zethane.identity.sources.file import Sources, parse_sources
from zethane.net.prefix import Prefix
from zethane.network.load import parse_network
from zethane.network.model import Host, Interface, Network
from zethane.network.outside import is_outside
from zethane.network.schema import NetworkFile
from zethane.policy.check import Report, check
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.principal import External, Parties, Principal

T = TypeVar("T")

NETWORK_FILE = "network.yaml"
IDENTITIES_FILE = "identities.yaml"
POLICY_FILE = "policy.yaml"
SOURCES_FILE = "sources.yaml"


@dataclass(frozen=True, slots=True)
class Topology:
    """What the files say. `network` is None where there is no network.yaml: a data centre needs none."""

    folder: Path
    policy: Policy
    directory: Directory
    network: Network | None
    sources: Sources = field(default_factory=Sources)

    @property
    def hosts(self) -> Mapping[str, Host]:
        """The hosts of the lab by name."""
        return self.network.hosts if self.network else {}

    def host_principal(self, name: str, now: float = AT) -> Principal | None:
        """Who has logged in from this host just now; None if nobody does. Raises InputError if there is no such host.

        Its address is the first of the host's.
        """
        if name not in self.hosts:
            message = f"no host is named {quote(name)}{closest(name, self.hosts)}"
            raise InputError([Problem(str(self.folder / NETWORK_FILE), message)])
        found = host_principal(self.directory, self.hosts[name])
        if found is None:
            return None
        address = next((interface.ip for interface in self.hosts[name].interfaces), None)
        return replace(found, address=address, mfa_at=None if found.mfa_at is None else now)

    def principals(self) -> dict[str, Principal | None]:
        """Every host of this network with who logs in from it."""
        return {name: self.host_principal(name) for name in self.hosts}

    def parties(self, now: float = AT) -> dict[str, Parties]:
        """Every host with who has logged in from it just now, then what is outside."""
        return {name: self.party(name, now) for name in (*self.hosts, *self.external_hosts)}

    @property
    def external_hosts(self) -> Mapping[str, tuple[Interface, ...]]:
        """The addresses of what the lab puts behind uplinks, by name."""
        uplinks = self.network.uplinks.values() if self.network else ()
        return {name: interfaces for uplink in uplinks for name, interfaces in uplink.hosts.items()}

    def party(self, name: str, now: float = AT) -> Parties:
        """Who is meant by the name of a host, or by an address: who has logged in there just now, or what is outside.

        Raises InputError if there is no such host.
        """
        if name in self.hosts:
            return self.host_principal(name, now)
        if name in self.external_hosts:
            return _outside(self.external_hosts[name])
        try:
            address = ip_address(name)
        except ValueError:
            message = f"no host is named {quote(name)}{closest(name, (*self.hosts, *self.external_hosts))}"
            raise InputError([Problem(str(self.folder / NETWORK_FILE), message)]) from None
        for host in self.hosts.values():
            if any(interface.ip == address for interface in host.interfaces):
                found = self.host_principal(host.name, now)
                return None if found is None else replace(found, address=address)
        return External(address) if self.network is None or is_outside(self.network, address) else None

    def _networks(self) -> list[Prefix] | None:
        """What the uplinks lead to; None without a network.yaml."""
        if self.network is None:
            return None
        return [network for uplink in self.network.uplinks.values() for network in uplink.networks]

    def _tested(self, name: str) -> Parties:
        """The same for `policy check`, which reports unknown names itself. Raises KeyError."""
        if name not in self.hosts and name not in self.external_hosts:
            try:
                ip_address(name)
            except ValueError:
                raise KeyError(name) from None
        return self.party(name)

    def check(self, policy: Policy | None = None, now: float | None = None) -> Report:
        """Hold `policy`, or the topology's own, against identities and hosts, and run its tests as of `now`.

        It is in seconds since the epoch; None: the moment of the call.
        """
        moment = time.time() if now is None else now
        people, devices = self.directory.population(), self.directory.known_devices()
        return check(policy or self.policy, people, self.parties(), self._tested, self._networks(), devices, moment)


def _outside(interfaces: tuple[Interface, ...]) -> tuple[External, ...]:
    return tuple(External(interface.ip) for interface in interfaces)


def load_topology(path: Path | str, sources_file: Path | None = None) -> Topology:
    """Read the folder at `path`; `sources_file` is a sources.yaml in the place of the one there.

    Raises InputError: with the problems of all of its files or, once each of them is right by itself, with
    what does not fit between them.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError([Problem(str(folder), "expected the folder of a topology")])
    problems: list[Problem] = []
    policy = _collect(problems, lambda: load_policy(folder))
    directory = _collect(problems, lambda: load_directory(folder))
    network = _collect(problems, lambda: _load_network(folder))
    sources = _collect(problems, lambda: load_sources(sources_file or folder))
    if policy is None or directory is None or sources is None or problems:
        raise InputError(problems)
    problems.extend(foreign_names(directory, sources))
    problems.extend(_unknown_segments(policy, sources))
    if problems:
        raise InputError(problems)
    if network is not None:
        document, built = network
        findings = Findings(document)
        for host in built.hosts.values():
            check_logins(host, findings, directory, policy, sources)
        _check_platforms(built, findings, sources)
        _check_ports(built, findings, sources)
        findings.raise_any()
    return Topology(folder, policy, directory, network[1] if network else None, sources)


def _unknown_segments(policy: Policy, sources: Sources) -> Iterator[Problem]:
    """Times for segments that the policy does not have."""
    for name in sources.settings.sessions.segments:
        if name not in policy.segments:
            message = f"no segment is named {quote(name)}{closest(name, policy.segments)}"
            yield Problem(sources.file, message, key=f"sessions.segments.{name}")


def _check_platforms(network: Network, findings: Findings, sources: Sources) -> None:
    """Find switches for which an OVSDB may vouch that is not described."""
    described = sources.settings.ovsdb
    for switch in network.switches.values():
        if switch.ovsdb is not None and switch.ovsdb not in described:
            near = closest(switch.ovsdb, described)
            message = f"sources.yaml has no OVSDB {quote(switch.ovsdb)} in its section ovsdb{near}"
            findings.add(message, "switches", switch.name, "ovsdb")


def _check_ports(network: Network, findings: Findings, sources: Sources) -> None:
    """Find ports that ask for what no source vouches for. What hosts log in by is looked at with them."""
    if sources.settings.radius is not None:
        return
    told = {(host.switch, host.port) for host in network.hosts.values() for one in host.logins if one.via == "dot1x"}
    for switch in network.switches.values():
        for number, port in switch.ports.items():
            if port.dot1x and (switch.name, number) not in told:
                message = "expected a section radius in sources.yaml: IEEE 802.1X is passed on to RADIUS servers"
                findings.add(message, "switches", switch.name, "ports", number, "dot1x")


def load_policy(path: Path | str) -> Policy:
    """Read policy.yaml alone; `path` is the file or its folder. Raises InputError."""
    file = _inside(path, POLICY_FILE)
    return parse_policy(read_text(file), str(file))


def load_directory(path: Path | str) -> Directory:
    """Read identities.yaml alone; `path` is the file or its folder. Raises InputError."""
    file = _inside(path, IDENTITIES_FILE)
    return parse_identities(read_text(file), str(file))


def load_sources(path: Path | str) -> Sources:
    """Read sources.yaml alone; `path` is the file or its folder, which may have none. Raises InputError."""
    file = _inside(path, SOURCES_FILE)
    if Path(path).is_dir() and not file.exists():
        return Sources()
    return parse_sources(read_text(file), str(file))


def _load_network(folder: Path) -> tuple[Document[NetworkFile], Network] | None:
    file = folder / NETWORK_FILE
    if not file.exists():
        return None
    text = read_text(file)
    network = parse_network(text, str(file))
    return parse(text, str(file), NetworkFile), network


def _inside(path: Path | str, name: str) -> Path:
    given = Path(path)
    return given / name if given.is_dir() else given


def _collect(problems: list[Problem], load: Callable[[], T]) -> T | None:
    """What `load` returns, or None and its problems with the others."""
    try:
        return load()
    except InputError as error:
        problems.extend(error.problems)
        return None
