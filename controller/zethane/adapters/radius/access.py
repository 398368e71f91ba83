"""Access-Request and its answers: what of the controller goes into attributes, and what comes out of them.

RFC 2865, RFC 3579 §3 (EAP-Message), RFC 3580 §3 (IEEE 802.1X).
"""

from __future__ import annotations

from typing import Literal

from zethane.adapters.radius.attribute import (
    CALL_CHECK,
    ETHERNET,
    FRAMED,
    RADIUS_REQUEST,
    VLAN,
    Attribute,
    Code,
    Pairs,
    fragments,
    integer,
    read_integer,
    station,
    text,
    values,
)
from zethane.adapters.radius.packet import InvalidPacket, Packet
from zethane.identity.session import Attachment
from zethane.service.radius import AccessReply, AccessRequest

FRAMED_MTU = 1400
"""Bytes of EAP that a frame takes (RFC 3579 §2.4), with room for a header of TLS and a tag."""

MAX_EAP = 3072
"""Bytes of one EAP packet: what a RADIUS packet has room for beside the rest."""

_CODES: dict[int, Literal["accept", "reject", "challenge"]] = {
    Code.ACCESS_ACCEPT: "accept",
    Code.ACCESS_REJECT: "reject",
    Code.ACCESS_CHALLENGE: "challenge",
}


def nas_attributes(nas: str, attachment: Attachment, port_name: str, session_id: str) -> list[tuple[int, bytes]]:
    """Who asks, and about which port and MAC address. Raises ValueError."""
    return [
        (Attribute.NAS_IDENTIFIER, text(nas)),
        (Attribute.NAS_PORT, integer(attachment.port)),
        (Attribute.NAS_PORT_ID, text(port_name)),
        (Attribute.NAS_PORT_TYPE, integer(ETHERNET)),
        # By custom the lower 48 bits of a datapath id are the bridge's MAC address (OpenFlow 1.3.5 §7.3.1).
        (Attribute.CALLED_STATION_ID, station(attachment.dpid & 0xFFFFFFFFFFFF)),
        (Attribute.CALLING_STATION_ID, station(attachment.mac)),
        (Attribute.ACCT_SESSION_ID, text(session_id)),
    ]


def request_attributes(request: AccessRequest, nas: str) -> Pairs:
    """The attributes of an Access-Request. Raises ValueError for what has no place in a packet."""
    by_address = request.eap is None
    pairs = [
        (Attribute.USER_NAME, text(request.user_name)),
        *nas_attributes(nas, request.attachment, request.port_name, request.session_id),
        (Attribute.SERVICE_TYPE, integer(CALL_CHECK if by_address else FRAMED)),
        (Attribute.FRAMED_MTU, integer(FRAMED_MTU)),
    ]
    if request.eap is not None:
        if not 4 <= len(request.eap) <= MAX_EAP:
            raise ValueError(f"an EAP packet has 4 to {MAX_EAP} bytes")
        pairs += [(Attribute.EAP_MESSAGE, part) for part in fragments(request.eap)]
    if request.state is not None:
        if not 0 < len(request.state) <= 253:
            raise ValueError("State has 1 to 253 bytes")
        pairs.append((Attribute.STATE, request.state))
    return pairs


def access_reply(packet: Packet, server: str) -> AccessReply:
    """What a server's answer says. Raises InvalidPacket."""
    code = _CODES.get(packet.code)
    if code is None:
        raise InvalidPacket("code")
    pairs = packet.attributes
    try:
        return AccessReply(
            code=code,
            server=server,
            eap=_eap(pairs),
            state=_one(pairs, Attribute.STATE),
            user_name=_text(_one(pairs, Attribute.USER_NAME)),
            filter_ids=tuple(value.decode() for value in values(pairs, Attribute.FILTER_ID)),
            tunnel_private_group=_private_group(pairs),
            session_timeout=_seconds(pairs, Attribute.SESSION_TIMEOUT),
            termination_action="radius-request" if _asks_again(pairs) else "default",
            idle_timeout=_seconds(pairs, Attribute.IDLE_TIMEOUT),
            classes=tuple(values(pairs, Attribute.CLASS)),
            interim=_seconds(pairs, Attribute.ACCT_INTERIM_INTERVAL),
        )
    except ValueError:
        raise InvalidPacket("attribute-value") from None


def _one(pairs: Pairs, wanted: Attribute) -> bytes | None:
    return next(iter(values(pairs, wanted)), None)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _seconds(pairs: Pairs, wanted: Attribute) -> float | None:
    value = _one(pairs, wanted)
    return None if value is None else float(read_integer(value))


def _asks_again(pairs: Pairs) -> bool:
    value = _one(pairs, Attribute.TERMINATION_ACTION)
    return value is not None and read_integer(value) == RADIUS_REQUEST


def _eap(pairs: Pairs) -> bytes | None:
    """The EAP packet in one or more attributes, which have to follow one another (RFC 3579 §3.1)."""
    places = [place for place, (code, _) in enumerate(pairs) if code == Attribute.EAP_MESSAGE]
    if not places:
        return None
    if places[-1] - places[0] != len(places) - 1:
        raise InvalidPacket("eap-message")
    eap = b"".join(pairs[place][1] for place in places)
    # RFC 3748 §4: code, identifier, and the length of all of it.
    if len(eap) < 4 or int.from_bytes(eap[2:4], "big") != len(eap):
        raise InvalidPacket("eap-message")
    return eap


def _private_group(pairs: Pairs) -> str | None:
    """The first Tunnel-Private-Group-ID that is of a VLAN (RFC 3580 §3.31); what its tunnel is, its tag says."""
    kinds = {value[0]: int.from_bytes(value[1:], "big") for value in values(pairs, Attribute.TUNNEL_TYPE) if value}
    for value in values(pairs, Attribute.TUNNEL_PRIVATE_GROUP_ID):
        # RFC 2868 §3.6: a first byte of more than 0x1F is not a tag, but the text's own.
        tag = value[0] if value and value[0] <= 0x1F else 0
        group = value[1:] if value and value[0] <= 0x1F else value
        if group and kinds.get(tag, VLAN) == VLAN:
            return group.decode()
    return None
