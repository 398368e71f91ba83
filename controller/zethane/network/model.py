"""A network that makes sense: switches with numbered ports, links, hosts and the portal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from typing import Literal

from zethane.net.prefix import Prefix
from zethane.network.schema import Eap, Role, Via

Interface = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Port:
    """A numbered port of a switch.

    `peer` is the (switch, port) at the other end of a trunk, `host` the host that the lab attaches here. `macs` is
    how many cards may have a session here, `vlans` the tags that frames may carry; without any, or with `untagged`,
    frames without a tag are taken. `prefixes` are where addresses of sessions must lie; None: anywhere, and with
    `dhcp` only what a trusted server has leased. `dot1x` and `mab` are the ways to authenticate below IP.
    """

    number: int
    role: Role
    peer: tuple[str, int] | None = None
    host: str | None = None
    macs: int = 1
    vlans: tuple[int, ...] = ()
    untagged: bool = True
    dhcp: bool = False
    prefixes: tuple[Prefix, ...] | None = None
    dot1x: bool = False
    mab: bool = False


@dataclass(frozen=True, slots=True)
class Switch:
    """An enforcement point. `number` is its position in the file from 1: its VLAN id in the fabric.

    `ovsdb` is the OVSDB that may vouch for its ports.
    """

    name: str
    number: int
    dpid: int
    ports: Mapping[int, Port]
    ovsdb: str | None = None

    def role(self, port: int) -> Role:
        """The role of a port by number: what is not named is an edge port, which is trusted with nothing."""
        known = self.ports.get(port)
        return known.role if known else "edge"

    def port(self, number: int) -> Port:
        """A port by number, as it is described or by default."""
        return self.ports.get(number) or Port(number, "edge")


@dataclass(frozen=True, slots=True)
class Link:
    """A link between two switches, each end a (switch, port)."""

    a: tuple[str, int]
    b: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Login:
    """What a host of the lab authenticates with. The secrets are in no repr."""

    kind: Literal["user", "workload", "device"]
    name: str
    secret: str = field(default="", repr=False)
    totp: str | None = field(default=None, repr=False)
    via: Via = "portal"
    eap: Eap = "peap"
    provider: str | None = None

    @property
    def mfa(self) -> bool:
        """Whether there is a second factor."""
        return self.totp is not None


@dataclass(frozen=True, slots=True)
class Host:
    """A host of the lab. `mac` is an integer of 48 bits. `dhcp`: it has no addresses until a server gives it some.

    `login` is who acts there; `machine` is the device beneath, if that proves itself as well.
    """

    name: str
    switch: str
    port: int
    mac: int
    interfaces: tuple[Interface, ...]
    login: Login | None = None
    vlan: int = 0
    dhcp: bool = False
    machine: Login | None = None

    @property
    def logins(self) -> tuple[Login, ...]:
        """All of its logins, the device's first."""
        return tuple(one for one in (self.machine, self.login) if one is not None)


@dataclass(frozen=True, slots=True)
class Portal:
    """Where hosts authenticate: the only thing that they reach before they have, at all of its TCP ports here."""

    switch: str
    port: int
    mac: int
    interfaces: tuple[Interface, ...]
    tcp_port: int
    login_ports: tuple[int, ...] = ()
    tls_port: int | None = None


@dataclass(frozen=True, slots=True)
class Infrastructure:
    """A server of the network itself; `serves` holds `dhcp`, `dns` or both."""

    name: str
    switch: str
    port: int
    mac: int
    interfaces: tuple[Interface, ...]
    serves: frozenset[str]


@dataclass(frozen=True, slots=True)
class Uplink:
    """A router and the networks behind it. `hosts` are the addresses that the lab puts there, by name."""

    name: str
    switch: str
    port: int
    mac: int
    interfaces: tuple[Interface, ...]
    networks: tuple[Prefix, ...]
    vlan: int
    router: bool
    hosts: Mapping[str, tuple[Interface, ...]]


@dataclass(frozen=True, slots=True)
class Network:
    """A checked network. Everything is in the order of the file."""

    switches: Mapping[str, Switch]
    links: tuple[Link, ...]
    hosts: Mapping[str, Host]
    portal: Portal | None
    infrastructure: Mapping[str, Infrastructure] = field(default_factory=dict)
    uplinks: Mapping[str, Uplink] = field(default_factory=dict)
