"""Router Discovery by way of the controller: the only advertisements that hosts see are those of declared routers.

The last one of each router is kept, and handed to the port of a host that asks, and to every edge port when it is
new. Whatever else claims to be a router goes no further, and into the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Network

from zethane.audit.reason import DenyReason
from zethane.identity.session import Attachment
from zethane.net.router import (
    Advertisement,
    Solicitation,
    build_solicitation,
    for_all,
    for_one,
    parse_advertisement,
    parse_solicitation,
)
from zethane.network.model import Port, Uplink
from zethane.pipeline.portal import NEIGHBOUR_MAC
from zethane.service.journal import Denied
from zethane.service.points import Point
from zethane.service.state import State
from zethane.service.switch import PacketIn

INTERVAL = 3.0
"""Seconds between advertisements to all hosts (MIN_DELAY_BETWEEN_RAS, RFC 4861 §10)."""

KEPT = 1800.0
"""Seconds that an advertisement is good for: no router is silent for longer (MaxRtrAdvInterval, RFC 4861 §6.2.1)."""

ASK_INTERVAL = 4.0
"""Seconds between questions to a router that has not been heard (RTR_SOLICITATION_INTERVAL, RFC 4861 §10)."""

Place = tuple[int, int]


@dataclass(slots=True, eq=False)
class _Router:
    """A declared router, and what it has said last. `due`: not all hosts have been told yet."""

    uplink: Uplink
    frame: bytes = b""
    said: Advertisement | None = None
    heard: float = 0.0
    told: float = 0.0
    asked: float = 0.0
    due: bool = False


class Routers:
    """Takes advertisements from routers and hands them to hosts."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._routers = {place: _Router(uplink) for place, uplink in state.fabric.routers.items()}

    @property
    def addresses(self) -> frozenset[bytes]:
        """The link-local addresses that routers announce themselves from."""
        return frozenset(router.said.source for router in self._heard() if router.said)

    def link_local(self, name: str) -> bytes | None:
        """The link-local address of the router of an uplink."""
        return next((r.said.source for r in self._heard() if r.said and r.uplink.name == name), None)

    @property
    def prefixes(self) -> frozenset[IPv6Network]:
        """The prefixes that hosts may make addresses of."""
        return frozenset(prefix for router in self._heard() if router.said for prefix in router.said.prefixes)

    def _heard(self) -> Iterable[_Router]:
        now = self._state.clock()
        return [router for router in self._routers.values() if router.said and now - router.heard < KEPT]

    def packet_in(self, point: Point, event: PacketIn) -> None:
        """A router tells of itself, or a host asks."""
        router = self._routers.get((point.switch.dpid, event.port))
        if router is not None:
            self._advertised(point, event, router)
            return
        question = parse_solicitation(event.frame)
        if question is None or point.switch.role(event.port) == "uplink":
            self._deny(point, event, DenyReason.ROUTER_SPOOF)
        elif not self._is_own(point, event, question):
            self._deny(point, event, DenyReason.NEIGHBOUR_SPOOF)
        else:
            self._answer(point, event, question)

    def _advertised(self, point: Point, event: PacketIn, router: _Router) -> None:
        said = parse_advertisement(event.frame, router.uplink.mac.to_bytes(6, "big"))
        if said is None:
            self._deny(point, event, DenyReason.ROUTER_SPOOF)
            return
        router.frame, router.said, router.heard, router.due = event.frame, said, self._state.clock(), True
        self._state.counters["router_advertised"] += 1
        self._tell(router)

    def _is_own(self, point: Point, event: PacketIn, question: Solicitation) -> bool:
        """Whether nobody else holds the address that a host asks from."""
        holder = self._state.sessions.by_address.get(question.source)
        place = Attachment(point.switch.dpid, event.port, event.vlan, int.from_bytes(question.mac, "big"))
        if holder is None:
            return question.source not in self.addresses
        return holder.session.attachment == place

    def _answer(self, point: Point, event: PacketIn, question: Solicitation) -> None:
        heard = self._heard()
        for router in heard:
            if point.channel is not None:
                point.channel.packet_out(event.port, for_one(router.frame, question.mac), event.vlan)
                self._state.counters["router_answered"] += 1
        for router in self._routers.values():
            if router not in heard:
                self._ask(router)

    def _ask(self, router: _Router) -> None:
        """Ask a router that has not been heard, at a bounded rate; its answer will be told to all."""
        now = self._state.clock()
        if now - router.asked < ASK_INTERVAL:
            return
        router.asked = now
        uplink = router.uplink
        channel = self._state.fabric.by_name[uplink.switch].channel
        if channel is not None:
            channel.packet_out(uplink.port, build_solicitation(NEIGHBOUR_MAC.to_bytes(6, "big")), uplink.vlan)

    def tick(self) -> None:
        """Tell what had to wait."""
        for router in self._routers.values():
            if router.due:
                self._tell(router)

    def _tell(self, router: _Router) -> None:
        """Send the last advertisement to every edge port that is up, at a bounded rate."""
        now = self._state.clock()
        if now - router.told < INTERVAL:
            return
        router.told, router.due = now, False
        frame = for_all(router.frame)
        for point in self._state.fabric.points.values():
            if point.channel is None or not point.ready:
                continue
            for port in point.ports.values():
                if port.up and point.is_edge(port.number):
                    for vlan in _vlans(point.switch.port(port.number)):
                        point.channel.packet_out(port.number, frame, vlan)

    def _deny(self, point: Point, event: PacketIn, reason: DenyReason) -> None:
        self._state.deny(Denied(reason, point.switch.name, event.port, None, event.frame[6:12], None, None))


def _vlans(port: Port) -> Iterator[int]:
    """The VLANs that hosts of a port are in; 0 for untagged frames."""
    if port.untagged:
        yield 0
    yield from port.vlans
