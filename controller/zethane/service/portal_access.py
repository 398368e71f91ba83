"""Connections to the portal: open to all, and each tied to the port, VLAN and MAC that it came from.

That tie is what makes a login trustworthy. The portal names the remote address and port of a connection, and
the per-flow rule says at which port of which switch its packets come in, and where the answers have gone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from zethane.audit.reason import DenyReason
from zethane.audit.refused import why_refused
from zethane.identity.session import Attachment, Endpoint
from zethane.net.flowkey import TCP, TCP_ACK, TCP_SYN, FlowKey, Packet, parse_frame
from zethane.net.mac import is_multicast
from zethane.pipeline.change import Add, RemoveMatching
from zethane.pipeline.fields import ALL_BITS, PORTAL_NUMBER, split_cookie
from zethane.pipeline.flow import match
from zethane.pipeline.portal import PORTAL_COOKIE, Portal, portal_flow
from zethane.pipeline.tables import Table
from zethane.pipeline.verified import key_fields
from zethane.service.journal import Denied
from zethane.service.points import Point
from zethane.service.port_security import has_room, takes_vlan
from zethane.service.state import State
from zethane.service.switch import FlowRemoved, PacketIn
from zethane.service.verification import REINSTALL_AFTER, REOPENED_AFTER


@dataclass(slots=True, eq=False)
class Connection:
    """One connection to the portal: where its client is, and when its rules were written."""

    key: FlowKey
    client: Attachment
    switch: int
    installed: float


class PortalAccess:
    """Lets connections to the portal through, and knows where each comes from."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._connections: dict[FlowKey, Connection] = {}
        self._per_place: Counter[tuple[int, int, int]] = Counter()

    def __len__(self) -> int:
        return len(self._connections)

    def locate(self, key: FlowKey) -> Endpoint | None:
        """The endpoint at the client's end of a live connection to the portal itself.

        What is at the portal's other ports is no portal: nobody logs in over a connection to it.
        """
        portal = self._state.fabric.portal
        if portal is None or key.dport not in portal.own_ports:
            return None
        connection = self._connections.get(key)
        return Endpoint(connection.client, key.src) if connection else None

    def packet_in(self, point: Point, event: PacketIn) -> None:
        """A packet to or from the portal that no per-flow rule took."""
        portal = self._state.fabric.portal
        packet = parse_frame(event.frame)
        if portal is None or packet is None or packet.key.proto != TCP:
            self._deny(point, event, why_refused(event.frame), packet)
        elif split_cookie(event.metadata)[0] == PORTAL_NUMBER:
            self._from_portal(point, event, packet)
        elif packet.key.dst not in portal.addresses or packet.key.dport not in portal.tcp_ports:
            self._deny(point, event, DenyReason.MALFORMED, packet)
        else:
            self._to_portal(point, event, packet, portal)

    def _to_portal(self, point: Point, event: PacketIn, packet: Packet, portal: Portal) -> None:
        if self._state.fabric.by_number[portal.switch].is_full:
            self._deny(point, event, DenyReason.SWITCH_AWAY, packet)
            return
        connection = self._connections.get(packet.key)
        if connection is None:
            if not self._accept(point, event, packet, portal):
                return
        elif not self._is_from(connection, point, event, packet, portal):
            self._deny(point, event, DenyReason.ADDRESS_IN_USE, packet)
            return
        else:
            self._refresh(connection, packet, portal)
        channel = self._state.fabric.by_number[portal.switch].channel
        if channel is not None:
            channel.packet_out(portal.attachment.port, event.frame)

    def _accept(self, point: Point, event: PacketIn, packet: Packet, portal: Portal) -> bool:
        """Let a new connection in, or say why not."""
        client = Attachment(point.switch.dpid, event.port, event.vlan, int.from_bytes(packet.eth_src, "big"))
        refusal = self._refusal(point, client, packet)
        if refusal is not None:
            self._deny(point, event, refusal, packet)
            return False
        connection = Connection(packet.key, client, point.number, self._state.clock())
        self._connections[packet.key] = connection
        self._per_place[_place(client)] += 1
        self._install(connection, portal)
        return True

    def _refusal(self, point: Point, client: Attachment, packet: Packet) -> DenyReason | None:
        """Why there may be no new connection from this place; None if there may."""
        state = self._state
        port = point.switch.port(client.port)
        if not _is_syn(packet) or not point.is_edge(client.port):
            return DenyReason.NO_FLOW
        if is_multicast(client.mac) or client.mac == 0 or packet.key.src in state.fabric.own_addresses:
            return DenyReason.MALFORMED
        if not takes_vlan(port, client.vlan):
            return DenyReason.VLAN_NOT_ALLOWED
        if not has_room(state.sessions, port, client):
            return DenyReason.MAC_LIMIT
        if self._per_place[_place(client)] >= state.limits.portal_flows_per_port:
            return DenyReason.QUOTA
        if len(self._connections) >= state.limits.portal_flows:
            return DenyReason.TABLE_FULL
        return None

    def _from_portal(self, point: Point, event: PacketIn, packet: Packet) -> None:
        connection = self._connections.get(packet.key.reverse())
        portal = self._state.fabric.portal
        if connection is None or portal is None:
            self._deny(point, event, DenyReason.NO_FLOW, packet)
            return
        if point.number not in (portal.switch, connection.switch):
            self._deny(point, event, DenyReason.WRONG_SWITCH, packet)
            return
        if self._state.fabric.by_number[connection.switch].is_full:
            self._deny(point, event, DenyReason.SWITCH_AWAY, packet)
            return
        self._refresh(connection, packet, portal)
        channel = self._state.fabric.by_number[connection.switch].channel
        if channel is not None:
            frame = connection.client.mac.to_bytes(6, "big") + event.frame[6:]
            channel.packet_out(connection.client.port, frame, connection.client.vlan)

    def _refresh(self, connection: Connection, packet: Packet, portal: Portal) -> None:
        now = self._state.clock()
        if now - connection.installed > (REOPENED_AFTER if packet.flags & TCP_SYN else REINSTALL_AFTER):
            connection.installed = now
            self._install(connection, portal)

    def _install(self, connection: Connection, portal: Portal) -> None:
        for number in {portal.switch, connection.switch}:
            channel = self._state.fabric.by_number[number].channel
            if channel is not None:
                flows = portal_flow(connection.key, connection.client, connection.switch, number)
                channel.apply([Add(flow) for flow in flows])

    def _is_from(self, connection: Connection, point: Point, event: PacketIn, packet: Packet, portal: Portal) -> bool:
        """Whether a packet comes from the connection's own place; at the portal's switch, from its own MAC."""
        client = connection.client
        if int.from_bytes(packet.eth_src, "big") != client.mac:
            return False
        at_client = (point.switch.dpid, event.port, event.vlan) == _place(client)
        return at_client or (point.number == portal.switch and point.switch.role(event.port) == "trunk")

    def flow_removed(self, dpid: int, event: FlowRemoved) -> None:
        """The rule of a connection is gone from the client's switch: the connection has ended."""
        if event.key is None or split_cookie(event.metadata)[1] != PORTAL_NUMBER:
            return
        connection = self._connections.get(event.key)
        if connection is not None and connection.client.dpid == dpid:
            self._forget(event.key)
            self._remove(connection)  # its other rules end with it

    def ports_of(self, dpid: int) -> set[int]:
        """The ports of a switch that connections come from."""
        return {port for switch, port, _ in self._per_place if switch == dpid}

    def port_gone(self, dpid: int, port: int) -> None:
        """End the connections of a port."""
        gone = [c for c in self._connections.values() if (c.client.dpid, c.client.port) == (dpid, port)]
        for connection in gone:
            self._forget(connection.key)
            self._remove(connection)

    def _remove(self, connection: Connection) -> None:
        for point in self._state.fabric.points.values():
            if point.channel is not None:
                for key in (connection.key, connection.key.reverse()):
                    point.channel.apply([RemoveMatching(Table.FLOW, match(**key_fields(key)), PORTAL_COOKIE, ALL_BITS)])

    def _forget(self, key: FlowKey) -> None:
        connection = self._connections.pop(key, None)
        if connection is not None:
            place = _place(connection.client)
            self._per_place[place] -= 1
            if self._per_place[place] <= 0:
                del self._per_place[place]

    def adopt(self, point: Point, key: FlowKey, client: Attachment) -> bool:
        """Take over a connection that was found in its client's switch after a restart."""
        known = self._connections.get(key)
        if not takes_vlan(point.switch.port(client.port), client.vlan):
            return False
        if known is not None:
            return known.client == client
        self._connections[key] = Connection(key, client, point.number, self._state.clock())
        self._per_place[_place(client)] += 1
        return True

    def connection(self, key: FlowKey) -> Connection | None:
        """A live connection by the key of its client's direction."""
        return self._connections.get(key)

    def _deny(self, point: Point, event: PacketIn, reason: DenyReason, packet: Packet | None) -> None:
        key = packet.key if packet else None
        what = Denied(reason, point.switch.name, event.port, key, event.frame[6:12], None, None)
        self._state.deny(what)


def _place(client: Attachment) -> tuple[int, int, int]:
    return client.dpid, client.port, client.vlan


def _is_syn(packet: Packet) -> bool:
    return packet.flags & (TCP_SYN | TCP_ACK) == TCP_SYN
