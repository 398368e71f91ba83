"""From what network.yaml says to a Network; every contradiction becomes a Problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TypeVar

from zethane.document import Document, Findings
from zethane.net.prefix import Prefix, PrefixTable, parse_prefix, within
from zethane.network.addresses import default_mac, highest_free, mac_of_name, parse_interface, parse_mac, subnets
from zethane.network.claims import Claims
from zethane.network.graph import unreachable
from zethane.network.logins import login_of
from zethane.network.model import (
    Host,
    Infrastructure,
    Interface,
    Link,
    Login,
    Network,
    Port,
    Portal,
    Switch,
    Uplink,
)
from zethane.network.ports import PortTakenError, SwitchPorts, reserve
from zethane.network.schema import (
    MAX_PORT,
    HostEntry,
    InfrastructureEntry,
    LinkEntry,
    LoginEntry,
    NetworkFile,
    PortalEntry,
    PortEntry,
    Role,
    UplinkEntry,
)

T = TypeVar("T")
Place = tuple[str | int, ...]
LinkEnds = tuple[tuple[str, int | None], tuple[str, int | None]]

RESERVED_NAMES = frozenset({"any", "portal"})
"""`any` means every session in a policy; `portal` is the portal's own name in the lab."""


class Builder:
    """Builds one network. `findings` is empty afterwards if, and only if, the result may be used."""

    def __init__(self, document: Document[NetworkFile]) -> None:
        self.findings = Findings(document)
        self._document = document
        self._entry = document.value
        self._claims = Claims(self._problem)
        self._names: dict[str, str] = {}
        self._ends = [self._link_ends(index, link) for index, link in enumerate(self._entry.links)]
        self._plan = {name: self._reserve(name) for name in self._entry.switches}

    def build(self) -> Network:
        """The network; meaningless if there are problems."""
        self._check_names()
        dpids = self._dpids()
        links = self._links()
        portal_port = self._portal_port()
        hosts = {name: self._host(name, entry) for name, entry in self._entry.hosts.items()}
        infrastructure = {name: self._server(name, entry) for name, entry in self._entry.infrastructure.items()}
        uplinks = {name: self._uplink(name, entry) for name, entry in self._entry.uplinks.items()}
        self._claims.one_subnet_per_family()
        self._check_outside(uplinks)
        portal = self._portal(portal_port)
        self._check_connected()
        return Network(self._switches(dpids), links, hosts, portal, infrastructure, uplinks)

    def _problem(self, place: Place, message: str) -> None:
        self.findings.add(message, *place)

    def _checked(self, place: Place, make: Callable[[str], T], text: str) -> T | None:
        """What `make` makes of the text, or None and a problem."""
        try:
            return make(text)
        except ValueError as error:
            self._problem(place, str(error))
            return None

    # Switches

    def _check_names(self) -> None:
        seen = self._names
        for kind, one, names in (
            ("switches", "a switch", self._entry.switches),
            ("hosts", "a host", self._entry.hosts),
            ("infrastructure", "a server", self._entry.infrastructure),
            ("uplinks", "an uplink", self._entry.uplinks),
        ):
            for name in names:
                if name in seen:
                    self._problem((kind, name), f"{seen[name]} is called {name} as well; expected different names")
                seen.setdefault(name, one)
            for name in RESERVED_NAMES.intersection(names):
                self._problem((kind, name), f"{name} has a meaning of its own; expected another name")

    def _dpids(self) -> dict[str, int]:
        dpids = {}
        for position, (name, entry) in enumerate(self._entry.switches.items(), 1):
            dpids[name] = position if entry.dpid is None else int(entry.dpid, 16)
            place: Place = ("switches", name) if entry.dpid is None else ("switches", name, "dpid")
            if dpids[name] == 0:
                self._problem(place, "the datapath id is zero; expected one from 1")
            self._claims.dpid(dpids[name], name, place)
        return dpids

    def _switches(self, dpids: dict[str, int]) -> dict[str, Switch]:
        return {
            name: Switch(name, number, dpids[name], self._plan[name].finish(), entry.ovsdb)
            for number, (name, entry) in enumerate(self._entry.switches.items(), 1)
        }

    def _reserve(self, name: str) -> SwitchPorts:
        declared = {
            number: self._declared(name, number, port) for number, port in self._entry.switches[name].ports.items()
        }
        wanted = [port for ends in self._ends if ends for switch, port in ends if switch == name]
        attached = (self._entry.hosts, self._entry.infrastructure, self._entry.uplinks)
        wanted += [entry.port for entries in attached for entry in entries.values() if entry.switch == name]
        if self._entry.portal and self._entry.portal.switch == name:
            wanted.append(self._entry.portal.port)
        return reserve(declared, wanted)

    def _declared(self, switch: str, number: int, entry: PortEntry) -> Port:
        """A port as it is described."""
        place = ("switches", switch, "ports", number)
        if entry.role != "edge" and (
            entry.macs != 1 or entry.vlans or entry.addresses != "login" or entry.dot1x or entry.mab
        ):
            message = f"macs, vlans, addresses, dot1x and mab are for edge ports; expected none with role {entry.role}"
            self._problem(place, message)
        if len(set(entry.vlans)) < len(entry.vlans):
            self._problem((*place, "vlans"), "a VLAN is named twice")
        prefixes = None
        if not isinstance(entry.addresses, str):
            found = (self._checked((*place, "addresses"), parse_prefix, text) for text in entry.addresses)
            prefixes = tuple(prefix for prefix in found if prefix is not None)
        return Port(
            number,
            entry.role,
            macs=entry.macs,
            vlans=entry.vlans,
            untagged=entry.untagged or not entry.vlans,
            dhcp=entry.addresses == "dhcp",
            prefixes=prefixes,
            dot1x=entry.dot1x,
            mab=entry.mab,
        )

    def _take(self, switch: str, role: Role, wanted: int | None, place: Place) -> int:
        """A port of the plan, or 0 and a problem."""
        if switch not in self._entry.switches:
            self._problem(place, f"there is no switch {switch}; expected one of {self._known_switches()}")
            return 0
        try:
            return self._plan[switch].take(role, wanted)
        except PortTakenError as error:
            self._problem(place, f"{switch}: {error}")
            return 0

    def _known_switches(self) -> str:
        names = list(self._entry.switches)
        return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")

    # Links

    def _link_ends(self, index: int, link: LinkEntry) -> LinkEnds | None:
        ends = [self._checked(("links", index, side), _link_end, text) for side, text in enumerate(link)]
        if ends[0] is None or ends[1] is None:
            return None
        return ends[0], ends[1]

    def _links(self) -> tuple[Link, ...]:
        return tuple(self._link(index, ends) for index, ends in enumerate(self._ends) if ends)

    def _link(self, index: int, ends: LinkEnds) -> Link:
        if ends[0][0] == ends[1][0]:
            self._problem(("links", index), "both ends are the same switch; expected two different ones")
        taken = [
            (switch, self._take(switch, "trunk", port, ("links", index, side)))
            for side, (switch, port) in enumerate(ends)
        ]
        for here, there in (taken, reversed(taken)):
            self._describe(*here, peer=there)
        return Link(taken[0], taken[1])

    def _describe(
        self, switch: str, number: int, *, peer: tuple[str, int] | None = None, host: str | None = None
    ) -> None:
        """Say what is at a port that was taken."""
        if number:
            used = self._plan[switch].used
            used[number] = replace(used[number], peer=peer, host=host)

    def _let_in(self, switch: str, number: int, logins: tuple[Login, ...]) -> None:
        """Let the port of a host take the ways below IP that the host logs in by."""
        if number:
            used, ways = self._plan[switch].used, {login.via for login in logins}
            port = used[number]
            used[number] = replace(port, dot1x=port.dot1x or "dot1x" in ways, mab=port.mab or "mab" in ways)

    def _check_connected(self) -> None:
        """Every switch is reached over declared links, or has trunks whose links are to be discovered."""
        pairs = [(ends[0][0], ends[1][0]) for ends in self._ends if ends]
        discovering = [name for name, plan in self._plan.items() if plan.has_undeclared_trunk()]
        pairs += pairwise(discovering)
        apart = unreachable(list(self._entry.switches), pairs)
        if apart and not self.findings:
            first = next(iter(self._entry.switches))
            message = f"no path of links leads from {first} to {', '.join(apart[:8])}; expected one to every switch"
            self._problem(("links",) if self._entry.links else ("switches",), message)

    # Hosts and the portal

    def _interfaces(self, place: Place, texts: tuple[str, ...], owner: str) -> tuple[Interface, ...]:
        found = []
        for text in texts:
            interface = self._checked((*place, "ip"), parse_interface, text)
            if interface is not None and self._claims.address(interface, owner, (*place, "ip")):
                found.append(interface)
        return tuple(found)

    def _mac(
        self,
        place: Place,
        entry: HostEntry | PortalEntry | InfrastructureEntry | UplinkEntry,
        found: tuple[Interface, ...],
        owner: str,
    ) -> int:
        if entry.mac is not None:
            mac = self._checked((*place, "mac"), parse_mac, entry.mac) or 0
        else:
            mac = default_mac(found) if found else mac_of_name(owner)
        if mac:
            self._claims.mac(mac, owner, (*place, "mac") if entry.mac else place)
        return mac

    def _host(self, name: str, entry: HostEntry) -> Host:
        place = ("hosts", name)
        wanted_at = (*place, "switch") if entry.port is None else (*place, "port")
        port = self._take(entry.switch, "edge", entry.port, wanted_at)
        logins = self._logins(name, entry)
        self._describe(entry.switch, port, host=name)
        self._let_in(entry.switch, port, logins)
        leased = isinstance(entry.ip, str)
        interfaces = self._interfaces(place, () if isinstance(entry.ip, str) else entry.ip, name)
        mac = self._mac(place, entry, interfaces, name)
        if leased and not any("dhcp" in server.serves for server in self._entry.infrastructure.values()):
            self._problem((*place, "ip"), "no server of the infrastructure serves dhcp; expected one, or addresses")
        machine, login = (None, *logins)[-2:] if logins else (None, None)
        taken = self._plan[entry.switch].used[port] if port else None
        if taken and entry.vlan and entry.vlan not in taken.vlans:
            self._problem((*place, "vlan"), f"port {port} of {entry.switch} takes no tag {entry.vlan}")
        elif taken and not entry.vlan and not taken.untagged:
            self._problem(place, f"port {port} of {entry.switch} takes tagged frames only; expected a vlan")
        return Host(name, entry.switch, port, mac, interfaces, login, entry.vlan or 0, leased, machine)

    def _server(self, name: str, entry: InfrastructureEntry) -> Infrastructure:
        place = ("infrastructure", name)
        port = self._take(entry.switch, "infrastructure", entry.port, place)
        interfaces = self._interfaces(place, entry.ip, name)
        mac = self._mac(place, entry, interfaces, name)
        return Infrastructure(name, entry.switch, port, mac, interfaces, frozenset(entry.serves))

    def _uplink(self, name: str, entry: UplinkEntry) -> Uplink:
        place = ("uplinks", name)
        port = self._take(entry.switch, "uplink", entry.port, place)
        interfaces = self._interfaces(place, entry.ip, name)
        mac = self._mac(place, entry, interfaces, name)
        found = (self._checked((*place, "networks"), parse_prefix, text) for text in entry.networks)
        networks = tuple(prefix for prefix in found if prefix is not None)
        if entry.vlan and port:
            used = self._plan[entry.switch].used
            used[port] = replace(used[port], vlans=(entry.vlan,), untagged=False)
        if len(set(networks)) < len(networks):
            self._problem((*place, "networks"), "a network is named twice")
        known = PrefixTable({network: network for network in networks})
        hosts = {host: self._behind((*place, "hosts", host), texts, known) for host, texts in entry.hosts.items()}
        return Uplink(name, entry.switch, port, mac, interfaces, networks, entry.vlan or 0, entry.router, hosts)

    def _check_outside(self, uplinks: dict[str, Uplink]) -> None:
        """No network outside is a subnet of the site; what the lab puts there has a name and addresses of its own."""
        site = subnets(self._claims.interfaces)
        for name, uplink in uplinks.items():
            for network in uplink.networks:
                subnet = site.get(network.version)
                if subnet is not None and within(network, subnet):
                    message = f"{network} is in {subnet}, which hosts are connected to; expected a network outside"
                    self._problem(("uplinks", name, "networks"), message)
            for host, interfaces in uplink.hosts.items():
                place = ("uplinks", name, "hosts", host)
                if host in RESERVED_NAMES or host in self._names:
                    self._problem(place, f"{host} is the name of something else; expected one of its own")
                self._names.setdefault(host, "a host outside")
                for interface in interfaces:
                    subnet = site.get(interface.version)
                    if subnet is not None and interface.ip in subnet:
                        self._problem(place, f"{interface.ip} is in {subnet}; expected an address outside")

    def _behind(self, place: Place, texts: tuple[str, ...], networks: PrefixTable[Prefix]) -> tuple[Interface, ...]:
        """The addresses of something behind an uplink."""
        found = []
        for text in texts:
            interface = self._checked(place, parse_interface, text if "/" in text else _alone(text))
            if interface is None:
                continue
            if networks.find(interface.ip.packed) is None:
                self._problem(place, f"{interface.ip} is in no network of its uplink")
            found.append(interface)
        return tuple(found)

    def _logins(self, host: str, entry: HostEntry) -> tuple[Login, ...]:
        """What a host authenticates with; of two, a device first and then its user."""
        if entry.login is None:
            return ()
        entries = (entry.login,) if isinstance(entry.login, LoginEntry) else entry.login
        place = ("hosts", host, "login")
        found = [
            login_of(one, partial(self._problem, place if one is entry.login else (*place, index)))
            for index, one in enumerate(entries)
        ]
        logins = tuple(login for login in found if login is not None)
        if len(logins) == 2 and [login.kind for login in logins] != ["device", "user"]:
            self._problem(place, "expected the login of a device, and then that of its user")
        return logins

    def _portal_port(self) -> tuple[str, int] | None:
        entry = self._entry.portal
        if entry is not None:
            wanted_at = ("portal", "switch") if entry.port is None else ("portal", "port")
            return entry.switch, self._take(entry.switch, "portal", entry.port, wanted_at)
        if not self._entry.hosts:
            return None
        first = next(iter(self._entry.switches))
        return first, self._take(first, "portal", None, ("switches", first))

    def _portal(self, at: tuple[str, int] | None) -> Portal | None:
        if at is None:
            return None
        entry = self._entry.portal
        if entry is None:
            interfaces = self._portal_interfaces()
            return Portal(*at, default_mac(interfaces) if interfaces else 0, interfaces, 8080)
        interfaces = self._interfaces(("portal",), tuple(self._with_prefix(ip) for ip in entry.ip), "the portal")
        self._claims.one_subnet_per_family()
        mac = self._mac(("portal",), entry, interfaces, "the portal")
        return Portal(*at, mac, interfaces, entry.tcp_port, entry.login_ports, entry.tls_port)

    def _portal_interfaces(self) -> tuple[Interface, ...]:
        """The highest free address of each of the hosts' networks."""
        found = []
        for subnet in subnets(self._claims.interfaces).values():
            interface = highest_free(subnet, self._claims.taken)
            if interface is None:
                self._problem(("hosts",), f"{subnet} has no free address for the portal; expected one")
            else:
                found.append(interface)
        for mac in {default_mac(found)} if found else ():
            self._claims.mac(mac, "the portal", ("hosts",))
        return tuple(found)

    def _with_prefix(self, text: str) -> str:
        """The portal's address may leave out the prefix: it is the hosts', or the address alone."""
        if "/" in text:
            return text
        version = 6 if ":" in text else 4
        subnet = subnets(self._claims.interfaces).get(version)
        return f"{text}/{subnet.prefixlen if subnet else 32 if version == 4 else 128}"


def _alone(address: str) -> str:
    """An address as the only one of its prefix."""
    return f"{address}/{128 if ':' in address else 32}"


def _link_end(text: str) -> tuple[str, int | None]:
    """`SWITCH` or `SWITCH:PORT`. Raises ValueError."""
    name, colon, number = text.partition(":")
    if not colon:
        return name, None
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= MAX_PORT):
        raise ValueError(f"expected SWITCH or SWITCH:PORT with PORT from 1 to {MAX_PORT}")
    return name, int(number)
