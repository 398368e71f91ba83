"""RADIUS packets as bytes: read with every length checked first, written and signed by pyrad.

What pyrad is used for, and what it leaves to its user, says docs/decisions/0016-radius-packets.md.
"""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass
from typing import Any

from pyrad.packet import AcctPacket, AuthPacket, CoAPacket, PacketError

from zethane.adapters.radius.attribute import Attribute, Code, Pairs
from zethane.errors import ZethaneError

HEADER = 20
MAX_LENGTH = 4096
"""Bytes of a packet (RFC 2865 §3)."""

MAX_ATTRIBUTES = 512

SIGNATURE = 16
"""Bytes of an authenticator and of a Message-Authenticator."""

_SINGLE = frozenset(
    {
        Attribute.USER_NAME,
        Attribute.NAS_IP_ADDRESS,
        Attribute.NAS_PORT,
        Attribute.SERVICE_TYPE,
        Attribute.FRAMED_IP_ADDRESS,
        Attribute.STATE,
        Attribute.SESSION_TIMEOUT,
        Attribute.IDLE_TIMEOUT,
        Attribute.TERMINATION_ACTION,
        Attribute.CALLED_STATION_ID,
        Attribute.CALLING_STATION_ID,
        Attribute.NAS_IDENTIFIER,
        Attribute.ACCT_SESSION_ID,
        Attribute.EVENT_TIMESTAMP,
        Attribute.MESSAGE_AUTHENTICATOR,
        Attribute.ACCT_INTERIM_INTERVAL,
        Attribute.NAS_PORT_ID,
        Attribute.NAS_IPV6_ADDRESS,
    }
)
"""What no packet may have twice (RFC 2865 §5.44, RFC 2869 §5.19, RFC 5176 §3.6): which of them would count?"""


class InvalidPacket(ZethaneError):  # noqa: N818  # says what it is
    """A packet that cannot be believed or understood. `reason` is a word for counters and logs."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"invalid packet: {reason}")


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet whose lengths are right. `raw` ends where its length says: what follows is padding."""

    code: int
    identifier: int
    authenticator: bytes
    attributes: Pairs
    raw: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A packet of ours that waits for its answer: `raw` is sent, `signed` knows what the answer has to be like."""

    raw: bytes
    signed: Any


def read(datagram: bytes) -> Packet:
    """The packet in a datagram. Raises InvalidPacket."""
    length = int.from_bytes(datagram[2:4], "big")
    if not HEADER <= length <= min(len(datagram), MAX_LENGTH):
        raise InvalidPacket("length")
    raw = datagram[:length]
    attributes = _attributes(raw)
    seen = Counter(code for code, _ in attributes)
    if any(seen[code] > 1 for code in _SINGLE):
        raise InvalidPacket("duplicate-attribute")
    for code, value in attributes:
        if code == Attribute.MESSAGE_AUTHENTICATOR and len(value) != SIGNATURE:
            raise InvalidPacket("message-authenticator")
    return Packet(raw[0], raw[1], raw[4:HEADER], attributes, raw)


def _attributes(raw: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    at = HEADER
    while at < len(raw):
        size = raw[at + 1] if at + 1 < len(raw) else 0
        if size < 2 or at + size > len(raw) or len(found) >= MAX_ATTRIBUTES:
            raise InvalidPacket("attribute-length")
        found.append((raw[at], raw[at + 2 : at + size]))
        at += size
    return found


def access_request(identifier: int, secret: bytes, attributes: Pairs) -> Request:
    """A signed Access-Request; its first attribute is the Message-Authenticator (CVE-2024-3596)."""
    packet = AuthPacket(Code.ACCESS_REQUEST, id=identifier, secret=secret, authenticator=secrets.token_bytes(SIGNATURE))
    return _written(packet, attributes, sign=True)


def accounting_request(identifier: int, secret: bytes, attributes: Pairs) -> Request:
    """An Accounting-Request: its Request Authenticator signs it (RFC 2866 §3)."""
    return _written(AcctPacket(id=identifier, secret=secret), attributes, sign=False)


def authorization_request(code: int, identifier: int, secret: bytes, attributes: Pairs) -> Request:
    """A signed Disconnect-Request or CoA-Request, for tests of the one who takes them."""
    return _written(CoAPacket(code, id=identifier, secret=secret), attributes, sign=True)


def _written(packet: Any, attributes: Pairs, *, sign: bool) -> Request:
    if sign:
        packet.add_message_authenticator()
    for code, value in attributes:
        packet.setdefault(int(code), []).append(value)
    raw = packet.RequestPacket()
    if len(raw) > MAX_LENGTH:
        raise ValueError("too long for a packet")
    return Request(raw, packet)


def require_answer(request: Request, answer: Packet, *, signed: bool) -> None:
    """Raise InvalidPacket unless the packet is the answer to this request, from somebody who knows the secret.

    `signed`: it has to have a Message-Authenticator (CVE-2024-3596).
    """
    if answer.identifier != request.signed.id:
        raise InvalidPacket("identifier")
    if signed and not any(code == Attribute.MESSAGE_AUTHENTICATOR for code, _ in answer.attributes):
        raise InvalidPacket("no-message-authenticator")
    try:
        valid = request.signed.VerifyReply(request.signed.CreateReply(packet=answer.raw), answer.raw, enforce_ma=signed)
    except PacketError:
        valid = False
    if not valid:
        raise InvalidPacket("authenticator")


def require_request(packet: Packet, secret: bytes) -> None:
    """Raise InvalidPacket unless a Disconnect-Request or CoA-Request was signed with this secret, both ways.

    RFC 5176 §3: the Request Authenticator and the Message-Authenticator, which is not left to the sender here.
    """
    if not any(code == Attribute.MESSAGE_AUTHENTICATOR for code, _ in packet.attributes):
        raise InvalidPacket("no-message-authenticator")
    try:
        read_again = CoAPacket(secret=secret, packet=packet.raw)
        if not read_again.VerifyCoARequest():
            raise InvalidPacket("authenticator")
        if not read_again.verify_message_authenticator():
            raise InvalidPacket("message-authenticator")
    except PacketError:
        raise InvalidPacket("authenticator") from None


def authorization_answer(request: Packet, code: int, secret: bytes, attributes: Pairs) -> bytes:
    """The signed answer to a Disconnect-Request or CoA-Request, with its Proxy-State (RFC 5176 §3.1)."""
    answer = CoAPacket(secret=secret, packet=request.raw).CreateReply()
    answer.code = code
    answer.add_message_authenticator()
    for attribute, value in attributes:
        answer.setdefault(int(attribute), []).append(value)
    written: bytes = answer.ReplyPacket()
    return written
