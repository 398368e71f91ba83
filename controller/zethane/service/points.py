"""Enforcement points: what is intended for each switch, and the least change that brings it about."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from zethane.identity.session import Attachment
from zethane.network.model import Network, Switch, Uplink
from zethane.network.outside import ipv4_prefixes, ipv6_prefixes, is_outside, own_prefixes, routers
from zethane.pipeline.bindings import Binding, destination_binding, lease_seconds, source_binding
from zethane.pipeline.change import Add, Change, Remove
from zethane.pipeline.external import Gateway
from zethane.pipeline.fabric import FabricLink, next_hops
from zethane.pipeline.fields import (
    DENY_METER,
    FIRST_STATIC,
    RECORD_METER,
    denied_meter,
    neighbour_meter,
    opening_meter,
    protocol_meter,
    verify_meter,
)
from zethane.pipeline.flow import EntryKey, Flow
from zethane.pipeline.grants import Opening, Tracking
from zethane.pipeline.infrastructure import Server
from zethane.pipeline.portal import Portal
from zethane.service.links import Links, ends
from zethane.service.switch import PortState, SwitchChannel


@dataclass(frozen=True, slots=True)
class MeterRates:
    """Packets per second, with a burst of as many, of each meter: per port, but for `deny` and `record`.

    `deny` is for sampled denies that come through the fabric, `denied` for those of one edge port; `record` for the
    connections that a switch lets in by itself. `opening` is for the packets that open those: one port, whatever is
    behind it, cannot fill connection tracking with half-open connections or datagrams that nobody answers. Open vSwitch
    keeps those for a minute at most, and has room for 3,000,000.
    """

    deny: int = 100
    verify: int = 5000
    neighbour: int = 100
    denied: int = 50
    protocol: int = 100
    server: int = 2000
    record: int = 200
    opening: int = 20_000


@dataclass(slots=True, eq=False)
class Point:
    """One enforcement point: its description, its connection, and the sessions that it holds bindings of.

    `dropped` is what each meter had left out when it was last read, `suppressed` the sum that was logged, `metered`
    the meters that this controller has made there. `queue_drops` counts the packets of each port that found their
    queue full; 0 stands for ports that are not there.

    `missed` are the changes since its tables began to be made right, to be sent afterwards; None at other times.

    `standing` are the ports that its entries are written for. `attested` is when its tables were last read back and
    held against what is intended, `repaired` how much was put right; `lock` keeps that and reconciliation apart.

    `reconciling` says that its tables are being made right, `again` that something has changed meanwhile,
    `overfull` that it has more ports than are used, and that this was logged.

    `routers` are the uplinks by port whose routers may announce themselves.

    `opening` is how it lets new connections of grants in, `told` of how many it has told.

    `classes` counts its local sessions by class; `wanted` are the classes that those may have flows with, as bits by
    the `layout` of the policy in force.
    """

    switch: Switch
    channel: SwitchChannel | None = None
    ready: bool = False
    since: float = 0.0
    ports: dict[int, PortState] = field(default_factory=dict)
    local: set[int] = field(default_factory=set)
    remote: set[int] = field(default_factory=set)
    classes: Counter[int] = field(default_factory=Counter)
    wanted: int = 0
    layout: object = None
    hops: Mapping[int, int] = field(default_factory=dict)
    suppressed: int = 0
    reconciling: bool = False
    again: bool = False
    overfull: bool = False
    dropped: dict[int, int] = field(default_factory=dict)
    queue_drops: Counter[int] = field(default_factory=Counter)
    routers: dict[int, Uplink] = field(default_factory=dict)
    metered: set[int] = field(default_factory=set)
    standing: frozenset[int] = frozenset()
    missed: list[Change] | None = None
    attested: float | None = None
    repaired: int = 0
    opening: Opening = Opening.AT_ONCE
    told: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_told(self) -> bool:
        """Whether changes are of use to it: now, or as soon as it has its tables."""
        return self.ready or self.missed is not None

    @property
    def is_full(self) -> bool:
        """Whether packets must not be written to it. What one switch's hosts send is written to the switches of others:
        for one that reads nothing it would all be kept here."""
        return self.channel is not None and self.channel.is_full

    @property
    def number(self) -> int:
        """The switch's number in the fabric."""
        return self.switch.number

    @property
    def vlans(self) -> frozenset[int]:
        """The tags that frames have at one of the switch's edge ports."""
        return frozenset(vlan for port in self.switch.ports.values() for vlan in port.vlans)

    def is_edge(self, port: int) -> bool:
        """Whether hosts may be behind the port."""
        return self.switch.role(port) == "edge"

    def meters(self, rates: MeterRates, ports: Collection[int] | None = None) -> dict[int, tuple[int, int]]:
        """Every meter of the switch, or those that it has with these ports: id to rate and burst."""
        found = {DENY_METER: (rates.deny, rates.deny), RECORD_METER: (rates.record, rates.record)}
        for port in self.ports if ports is None else ports:
            # A server answers everybody: what keeps it from too much is the meter of each port that asks.
            protocol = rates.server if self.switch.role(port) == "infrastructure" else rates.protocol
            found[protocol_meter(port)] = (protocol, protocol)
            if self.switch.role(port) != "trunk":
                found[verify_meter(port)] = (rates.verify, rates.verify)
                found[neighbour_meter(port)] = (rates.neighbour, rates.neighbour)
                found[denied_meter(port)] = (rates.denied, rates.denied)
                found[opening_meter(port)] = (rates.opening, rates.opening)
        return found


class Fabric:
    """The switches and the links between them; `used` are those that paths lead over now."""

    def __init__(self, network: Network, tracking: Tracking | None = None) -> None:
        self.tracking = tracking or Tracking()
        self.points = {switch.dpid: Point(switch) for switch in network.switches.values()}
        self.by_number = {point.number: point for point in self.points.values()}
        self.links = Links(network)
        self.used: tuple[FabricLink, ...] = ()
        self.by_name = {point.switch.name: point for point in self.points.values()}
        self.portal = self._portal(network)
        own = (network.portal, *network.infrastructure.values(), *network.uplinks.values())
        # What no session can have: it belongs to the portal, a server or a router of the network.
        self.own_macs = frozenset(one.mac for one in own if one is not None)
        self.own_addresses = frozenset(i.ip.packed for one in own if one is not None for i in one.interfaces)
        self.servers = tuple(self._servers(network))
        self.gateways = tuple(self._gateways(network))
        self.own_prefixes = own_prefixes(network)
        self._network = network
        self.routers = routers(network)
        for (dpid, port), uplink in self.routers.items():
            self.points[dpid].routers[port] = uplink
        self.ipv4_prefixes = ipv4_prefixes(network)
        self.ipv6_prefixes = ipv6_prefixes(network)
        self.route()

    @staticmethod
    def _portal(network: Network) -> Portal | None:
        described = network.portal
        if described is None:
            return None
        switch = network.switches[described.switch]
        attachment = Attachment(switch.dpid, described.port, 0, described.mac)
        addresses = tuple(interface.ip.packed for interface in described.interfaces)
        return Portal(
            switch.number, attachment, addresses, described.tcp_port, described.login_ports, described.tls_port
        )

    @staticmethod
    def _servers(network: Network) -> Iterator[Server]:
        for index, server in enumerate(network.infrastructure.values()):
            switch = network.switches[server.switch]
            attachment = Attachment(switch.dpid, server.port, 0, server.mac)
            addresses = tuple(interface.ip.packed for interface in server.interfaces)
            yield Server(server.name, FIRST_STATIC + index, switch.number, attachment, addresses, server.serves)

    @staticmethod
    def _gateways(network: Network) -> Iterator[Gateway]:
        for index, uplink in enumerate(network.uplinks.values(), len(network.infrastructure)):
            switch = network.switches[uplink.switch]
            attachment = Attachment(switch.dpid, uplink.port, uplink.vlan, uplink.mac)
            addresses = tuple(interface.ip.packed for interface in uplink.interfaces)
            yield Gateway(uplink.name, FIRST_STATIC + index, switch.number, attachment, addresses, uplink.networks)

    def is_outside(self, address: bytes) -> bool:
        """Whether an uplink leads to a packed address: then it is no session's."""
        return is_outside(self._network, ip_address(address))

    def serving(self, what: str) -> list[Server]:
        """The servers of one thing, in the order of the file."""
        return [server for server in self.servers if what in server.serves]

    def server_at(self, dpid: int, port: int) -> Server | None:
        """The server at a port."""
        return next((s for s in self.servers if (s.attachment.dpid, s.attachment.port) == (dpid, port)), None)

    def route(self) -> list[tuple[Point, Mapping[int, int]]]:
        """Work out the paths over the links that are up; the points whose next hops change, with the old ones."""
        used = tuple(link for link in self.links.usable() if self.is_up(link))
        if used == self.used:
            return []
        self.used = used
        hops = next_hops(self.used, tuple(sorted(self.by_number)))
        changed = []
        for number, point in self.by_number.items():
            if point.hops != hops[number]:
                changed.append((point, point.hops))
                point.hops = hops[number]
        return changed

    def is_up(self, link: FabricLink) -> bool:
        """Whether packets can pass at both ends of a link.

        A port is down when its switch says so, or has none of that number; of a switch that is away nothing is known,
        and nothing changed.
        """
        return all(self._is_up(self.by_number[number], port) for number, port in ends(link))

    @staticmethod
    def _is_up(point: Point, number: int) -> bool:
        port = point.ports.get(number)
        return point.channel is None if port is None else port.up


def binding_entries(binding: Binding, point: Point, ends: float, now: float) -> Iterator[Flow]:
    """The entries of one session on one switch; none if it is too late for them."""
    lease = lease_seconds(ends, now)
    if lease > 0:
        yield from source_binding(binding, point.number, lease)
        yield from destination_binding(binding, lease)


def difference(old: Mapping[EntryKey, Flow], new: Mapping[EntryKey, Flow]) -> list[Change]:
    """Removals first: at no instant is a packet allowed that both the old and the new entries deny."""
    changes: list[Change] = [Remove(*flow.key) for key, flow in old.items() if key not in new]
    changes += [Add(flow) for key, flow in new.items() if key not in old or old[key].body != flow.body]
    return changes
