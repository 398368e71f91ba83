"""The shape of network.yaml, before its parts are held against each other."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, SecretStr, Tag

MAX_SWITCHES = 256
MAX_HOSTS = 4096
MAX_LINKS = 4096
MAX_ADDRESSES = 8
"""IP addresses of one host, both families together."""
MAX_PORT = 0xFEFF
"""Highest number that Open vSwitch gives to a port on request (ovs-vswitchd.conf.db(5), ofport_request)."""
MAX_FABRIC = 4094
"""Highest VLAN id (IEEE 802.1Q-2022, 9.6): a switch's number is its VLAN id in the fabric."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,31}$")]
"""A name of a switch or a host: a letter, then up to 31 letters, digits, `_` and `-`."""

PortNumber = Annotated[int, Field(ge=1, le=MAX_PORT)]
VlanId = Annotated[int, Field(ge=1, le=MAX_FABRIC)]
Via = Literal["portal", "dot1x", "mab", "oidc", "certificate", "attestation"]
Eap = Literal["tls", "peap", "ttls", "md5"]
Role = Literal["edge", "trunk", "portal", "infrastructure", "uplink"]
MAX_MACS = 1024
MAX_VLANS = 64
MAX_INFRASTRUCTURE = 64
MAX_UPLINKS = 64
MAX_NETWORKS = 256


def _as_tuple(value: object) -> object:
    """Let one address be written without brackets."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


AddressText = Annotated[str, Field(min_length=1, max_length=64)]
Addresses = Annotated[
    tuple[AddressText, ...], BeforeValidator(_as_tuple), Field(min_length=1, max_length=MAX_ADDRESSES)
]
MacText = Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$")]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=1024)]


class _Strict(BaseModel):
    """Unknown keys are errors, values do not change, and errors never repeat the input."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class PortEntry(_Strict):
    """`ports: {7: {role: edge, macs: 2}}` under a switch.

    `macs` is how many cards may have a session there at once. `vlans` are the tags that frames may carry; a port
    with tags takes untagged frames only with `untagged`. `addresses` says where addresses of sessions come from:
    `login` (whatever the login came from), `dhcp` (leased to that card by a trusted server), or a list of the only
    prefixes that there may be. `dot1x` lets hosts there prove themselves by IEEE 802.1X, `mab` lets their MAC stand
    in for that where they cannot.
    """

    role: Role = "edge"
    macs: Annotated[int, Field(ge=1, le=MAX_MACS)] = 1
    vlans: Annotated[tuple[VlanId, ...], Field(max_length=MAX_VLANS)] = ()
    untagged: bool = False
    addresses: Literal["login", "dhcp"] | Addresses = "login"
    dot1x: bool = False
    mab: bool = False


class SwitchEntry(_Strict):
    """A bridge. `dpid` is up to 16 hexadecimal digits in quotes; by default the position in the file.

    `ovsdb` names the OVSDB of sources.yaml that may vouch for its ports; without it none may.
    """

    dpid: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{1,16}$")] | None = None
    ports: Annotated[dict[PortNumber, PortEntry], Field(max_length=4096)] = {}
    ovsdb: Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] | None = None


class LoginEntry(_Strict):
    """What a host of the lab authenticates with, and how (`via`).

    At the portal: `user` and `password` (and `totp`), or `workload` and `secret`. By IEEE 802.1X: `user` and
    `password`, or with `eap: tls` a `user` or `device` whose certificate the lab makes. By MAC authentication bypass: a
    `device`. At an OpenID provider: `user`, `password` and `provider`. By certificate: a `workload` or `device`. On the
    word of the platform: a `workload`.
    """

    user: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    password: Secret | None = None
    totp: Annotated[SecretStr, Field(min_length=16, max_length=256)] | None = None
    workload: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    secret: Secret | None = None
    device: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    via: Via = "portal"
    eap: Eap = "peap"
    provider: Annotated[str, Field(min_length=1, max_length=63)] | None = None


def _kind(value: object) -> str:
    """Whether one login is given, or a list of them."""
    return "(list)" if isinstance(value, list | tuple) else "(keys)"


Logins = Annotated[
    Annotated[tuple[LoginEntry, ...], Field(min_length=1, max_length=2), Tag("(list)")]
    | Annotated[LoginEntry, Tag("(keys)")],
    Discriminator(_kind),
]
"""One login, or first that of the device and then that of its user."""


class HostEntry(_Strict):
    """One host of the lab. `ip: dhcp` lets it ask the network's DHCP servers."""

    switch: Name
    ip: Literal["dhcp"] | Addresses
    port: PortNumber | None = None
    mac: MacText | None = None
    login: Logins | None = None
    vlan: VlanId | None = None


class InfrastructureEntry(_Strict):
    """A server that belongs to the network itself: its port is trusted with what it serves, and nothing else."""

    switch: Name
    ip: Addresses
    port: PortNumber | None = None
    mac: MacText | None = None
    serves: Annotated[tuple[Literal["dhcp", "dns"], ...], Field(min_length=1, max_length=2)]


class UplinkEntry(_Strict):
    """A router at a port, behind which are networks and not sessions.

    `ip` and `mac` are the router's own; `vlan` is the tag that it wants; `router` lets it announce itself to hosts
    (RFC 4861). `hosts` are what the lab puts behind it.
    """

    switch: Name
    ip: Addresses
    port: PortNumber | None = None
    mac: MacText | None = None
    vlan: VlanId | None = None
    networks: Annotated[tuple[AddressText, ...], Field(min_length=1, max_length=MAX_NETWORKS)]
    router: bool = True
    hosts: Annotated[dict[Name, Addresses], Field(max_length=MAX_HOSTS)] = {}


class PortalEntry(_Strict):
    """Where the portal is attached and what it is reached at.

    `tls_port` is where it speaks HTTPS, beside `tcp_port`. `login_ports` are more TCP ports of its address that hosts
    reach before they have logged in: an identity provider that runs there, or a way to one.
    """

    switch: Name
    ip: Addresses
    port: PortNumber | None = None
    mac: MacText | None = None
    tcp_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    tls_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    login_ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], Field(max_length=8)] = ()


LinkEnd = Annotated[str, Field(min_length=1, max_length=40)]
LinkEntry = Annotated[tuple[LinkEnd, ...], Field(min_length=2, max_length=2)]


class NetworkFile(_Strict):
    """network.yaml as it is written."""

    switches: Annotated[dict[Name, SwitchEntry], Field(min_length=1, max_length=MAX_SWITCHES)]
    links: Annotated[tuple[LinkEntry, ...], Field(max_length=MAX_LINKS)] = ()
    hosts: Annotated[dict[Name, HostEntry], Field(max_length=MAX_HOSTS)] = {}
    portal: PortalEntry | None = None
    infrastructure: Annotated[dict[Name, InfrastructureEntry], Field(max_length=MAX_INFRASTRUCTURE)] = {}
    uplinks: Annotated[dict[Name, UplinkEntry], Field(max_length=MAX_UPLINKS)] = {}
