"""Port security: which cards and addresses a port may have, apart from who logs in there.

Everything that decides whether an attachment may have a session, or an address be bound at it, is here: for logins,
for further addresses of a session, for sessions taken up after a restart, and for connections to the portal.
"""

from __future__ import annotations

import ipaddress

from zethane.audit.reason import DenyReason
from zethane.errors import AddressInUse, PortRefusal, SessionError
from zethane.identity.session import Attachment, Endpoint
from zethane.net.mac import is_multicast
from zethane.net.nd import is_link_local
from zethane.network.model import Port
from zethane.service.points import Fabric, Point
from zethane.service.policy_in_force import PolicyInForce
from zethane.service.sessions import SessionTable


def usable_point(fabric: Fabric, endpoint: Endpoint) -> Point:
    """The switch of an endpoint that a session may be at, with its port up. Raises SessionError."""
    point = usable_place(fabric, endpoint.attachment)
    check_address(fabric, point.switch.port(endpoint.attachment.port), endpoint)
    return point


def usable_place(fabric: Fabric, attachment: Attachment) -> Point:
    """The same for an attachment whose host has no address yet. Raises SessionError."""
    point = place_of(fabric, attachment)
    state = point.ports.get(attachment.port)
    if state is None or not state.up:
        raise SessionError("the port is down")
    return point


def place_of(fabric: Fabric, attachment: Attachment) -> Point:
    """The switch of an attachment that a session may have. Raises SessionError, PortRefusal.

    Only edge ports have sessions, and only with the tags that the port takes. What is part of the network itself
    has its MAC for itself.
    """
    point = fabric.points.get(attachment.dpid)
    if point is None or not point.is_edge(attachment.port):
        raise SessionError("no session can be at this port")
    if not takes_vlan(point.switch.port(attachment.port), attachment.vlan):
        raise PortRefusal("the port does not take this VLAN", DenyReason.VLAN_NOT_ALLOWED.value)
    if is_multicast(attachment.mac) or attachment.mac == 0 or attachment.mac in fabric.own_macs:
        raise SessionError("not the MAC of a host")
    return point


def takes_vlan(port: Port, vlan: int) -> bool:
    """Whether frames with this tag (0: without one) come in at the port."""
    return vlan in port.vlans if vlan else port.untagged


def check_vlan(policy: PolicyInForce, segment: str, vlan: int) -> None:
    """Raise PortRefusal if sessions of the segment cannot be tagged with this VLAN."""
    if not policy.allows_vlan(segment, vlan):
        raise PortRefusal(f"sessions of segment {segment} cannot be in VLAN {vlan}", DenyReason.VLAN_NOT_ALLOWED.value)


def check_address(fabric: Fabric, port: Port, endpoint: Endpoint) -> None:
    """Whether an address may be bound at a port. Raises SessionError, PortRefusal, AddressInUse."""
    address = ipaddress.ip_address(endpoint.address)
    if address.is_multicast or address.is_unspecified or address.is_loopback or address.is_reserved:
        raise SessionError("not the address of a host")
    if endpoint.address in fabric.own_addresses:
        raise AddressInUse("the address belongs to the network itself")
    if fabric.is_outside(endpoint.address):
        raise PortRefusal("the address is in a network outside", DenyReason.ADDRESS_NOT_ALLOWED.value)
    if is_link_local(endpoint.address):
        return  # every IPv6 interface has one (RFC 4291 §2.1)
    if port.prefixes is not None and not any(address in prefix for prefix in port.prefixes):
        raise PortRefusal("the port does not allow this address", DenyReason.ADDRESS_NOT_ALLOWED.value)


def has_room(sessions: SessionTable, port: Port, attachment: Attachment) -> bool:
    """Whether one more card fits behind a port; one that has a session there fits always."""
    if sessions.number_on_port(attachment.dpid, attachment.port) < port.macs:
        return True  # so there are fewer cards; a port with a thousand sessions is not gone through for each of them
    cards = {live.session.attachment.mac for live in sessions.on_port(attachment.dpid, attachment.port)}
    return attachment.mac in cards or len(cards) < port.macs


def check_room(sessions: SessionTable, port: Port, attachment: Attachment) -> None:
    """Raise PortRefusal if the cards with live sessions use the port's limit up, and this is none of them."""
    if not has_room(sessions, port, attachment):
        most = "one card" if port.macs == 1 else f"{port.macs} cards"
        raise PortRefusal(f"the port allows {most}, and live sessions have it all", DenyReason.MAC_LIMIT.value)
