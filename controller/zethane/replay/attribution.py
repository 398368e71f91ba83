"""Addresses to principals: what the mapping file says, then the topology, then what is assumed.

Among the prefixes of one of these the longest wins. A MAC address counts only where the address itself says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from zethane.app.topology import Topology
from zethane.errors import SessionError
from zethane.net.prefix import Address, Prefix, PrefixTable
from zethane.network.model import Interface
from zethane.network.outside import is_outside
from zethane.policy.decide import name_of, place_of
from zethane.policy.model import Policy
from zethane.policy.principal import External, Party, Principal
from zethane.replay.who import Standing, Who

MAX_KEPT = 65_536
"""Addresses whose attribution is remembered."""

NOT_LOGGED_IN = "not logged in"
NO_SEGMENT = "no segment"
OUTSIDE = "outside"
UNATTRIBUTED = "unattributed"
NETWORK_ITSELF = "the network itself"


@dataclass(frozen=True, slots=True)
class Entity:
    """Who is meant, before it has an address. `party` is None for a host from which nobody logs in.

    `source` is where that is said: a file and line, an option.
    """

    text: str
    source: str
    party: Principal | None = None
    is_outside: bool = False
    standing: Standing = "known"


@dataclass(frozen=True, slots=True)
class Told:
    """What one source says of addresses and cards. MAC addresses are six bytes."""

    prefixes: Mapping[Prefix, Entity] = field(default_factory=dict)
    macs: Mapping[bytes, Entity] = field(default_factory=dict)


class Attribution:
    """Says who has an address, by what was told, most trusted first.

    `otherwise` is who an address is that no source knows; None: nobody can tell.
    """

    def __init__(
        self,
        policy: Policy,
        sources: tuple[Told, ...],
        otherwise: Entity | None = None,
        leads_outside: Callable[[Address], bool] | None = None,
    ) -> None:
        self._policy = policy
        self._sources = tuple((PrefixTable(told.prefixes), told.macs) for told in sources)
        self._otherwise = otherwise
        self._leads_outside = leads_outside
        self._has_macs = any(told.macs for told in sources)
        self._kept: dict[bytes, Who] = {}
        self._count = 0

    def who(self, address: bytes, mac: bytes) -> Who:
        """Who has a packed address, in a packet with this MAC (empty where there is none)."""
        key = address + mac if self._has_macs else address
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            found = self._kept[key] = self._find(address, mac)
        return found

    def _find(self, address: bytes, mac: bytes) -> Who:
        ip = ip_address(address)
        entity = self._entity(address, mac, ip)
        self._count += 1
        if entity is None:
            why = "no host, no mapping and no assumption has this address"
            return Who(self._count, None, str(ip), UNATTRIBUTED, why, "unattributed", str(ip))
        party = _party(entity, ip)
        return Who(
            self._count,
            party,
            entity.text or str(ip),
            self._place(entity, party),
            entity.source,
            entity.standing,
            str(ip),
        )

    def _entity(self, address: bytes, mac: bytes, ip: Address) -> Entity | None:
        for prefixes, macs in self._sources:
            found = prefixes.find(address) or macs.get(mac)
            if found is not None:
                return found
        if self._leads_outside is not None and self._leads_outside(ip):
            return Entity("", "an uplink leads there", is_outside=True)
        return self._otherwise

    def _place(self, entity: Entity, party: Party) -> str:
        if entity.standing != "known":
            return NETWORK_ITSELF
        if party is None:
            return NOT_LOGGED_IN
        place = place_of(self._policy, party, "subject")[0]
        if place is None:
            return OUTSIDE if isinstance(party, External) else NO_SEGMENT
        return str(place)


def _party(entity: Entity, ip: Address) -> Party:
    if entity.is_outside:
        return External(ip)
    return None if entity.party is None else replace(entity.party, address=ip)


def told_by(topology: Topology) -> Told:
    """What network.yaml says: each host with who logs in from it, what is outside, and the network's own parts."""
    prefixes: dict[Prefix, Entity] = {}
    macs: dict[bytes, Entity] = {}
    network = topology.network
    if network is None:
        return Told()
    file = str(topology.folder / "network.yaml")
    for host in network.hosts.values():
        entity = _host(topology, host.name, file)
        prefixes.update(_addresses(host.interfaces, entity))
        macs[host.mac.to_bytes(6, "big")] = entity
    for name, interfaces in topology.external_hosts.items():
        prefixes.update(_addresses(interfaces, Entity(name, f"{name} of {file}", is_outside=True)))
    for server in network.infrastructure.values():
        standing: Standing = "dns" if "dns" in server.serves else "known"
        prefixes.update(_addresses(server.interfaces, Entity(f"server:{server.name}", file, standing=standing)))
    for uplink in network.uplinks.values():
        prefixes.update(_addresses(uplink.interfaces, Entity(f"router {uplink.name}", file)))
    if network.portal is not None:
        prefixes.update(_addresses(network.portal.interfaces, Entity("the portal", file, standing="portal")))
    return Told(prefixes, macs)


def _host(topology: Topology, name: str, file: str) -> Entity:
    try:
        party = topology.host_principal(name)
    except SessionError as error:
        return Entity(name, f"{name} of {file}: {error}")
    return Entity(name_of(party) if party else name, f"{name} of {file}", party)


def _addresses(interfaces: Iterable[Interface], entity: Entity) -> dict[Prefix, Entity]:
    return {ip_network(interface.ip): entity for interface in interfaces}


def leads_outside(topology: Topology) -> Callable[[Address], bool] | None:
    """Whether an uplink of the topology leads to an address."""
    network = topology.network
    if network is None or not network.uplinks:
        return None
    return lambda address: is_outside(network, address)
