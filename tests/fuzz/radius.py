"""Targets: what RADIUS servers answer, and what comes to the port for Disconnect and CoA requests."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter

from fakes.known import known_as
from fakes.radius_server import SECRET, answer
from fuzz.target import Target
from zethane.adapters.radius.access import access_reply
from zethane.adapters.radius.attribute import Attribute, Code, Pairs, integer
from zethane.adapters.radius.authorization import AuthorizationServer, Client
from zethane.adapters.radius.packet import (
    InvalidPacket,
    access_request,
    authorization_request,
    read,
    require_answer,
    require_request,
)
from zethane.identity.proof import Proof, acting
from zethane.identity.session import Attachment, Session
from zethane.identity.sources.radius import Radius
from zethane.service.dynamic_authorization import DynamicAuthorization

_NOW = 1_000_000.0
_SETTINGS = Radius.model_validate({"servers": {"lab": {"host": "127.0.0.1", "secret": "s"}}})
_ASKED: Pairs = ((Attribute.USER_NAME, b"alice"),)


def _walk(attributes: bytes) -> list[tuple[int, bytes]] | None:
    """The attributes, if they fill the bytes exactly."""
    found = []
    while attributes:
        if len(attributes) < 2 or not 2 <= attributes[1] <= len(attributes):
            return None
        found.append((attributes[0], attributes[2 : attributes[1]]))
        attributes = attributes[attributes[1] :]
    return found


def check_answer(data: bytes) -> None:
    """Nothing but what the secret signed is an answer; what it says is in the bytes, each attribute whole."""
    request = access_request(7, SECRET, _ASKED)
    try:
        require_answer(request, read(data), signed=True)
    except InvalidPacket:
        pass
    else:
        raise AssertionError("nobody has signed this")
    attributes = data[20:4000]
    signed = answer(request.raw, data[0] if data else 2, attributes)
    try:
        packet = read(signed)
        require_answer(request, packet, signed=True)
        reply = access_reply(packet, "lab")
    except InvalidPacket:
        return
    found = _walk(attributes)
    assert found is not None
    assert list(packet.attributes)[1:] == found
    assert reply.eap == (b"".join(value for code, value in found if code == 79) or None)
    assert [value.encode() for value in reply.filter_ids] == [value for code, value in found if code == 11]
    assert list(reply.classes) == [value for code, value in found if code == 25]
    times = {code: int.from_bytes(value, "big") for code, value in found if code in (27, 28)}
    assert (reply.session_timeout, reply.idle_timeout) == (times.get(27), times.get(28))


def seed_answers() -> dict[str, bytes]:
    """Without a Message-Authenticator: the check puts one in."""
    request = access_request(7, SECRET, _ASKED).raw
    eap = b"\x4f\x06\x03\x01\x00\x04"
    times = b"\x1b\x06\x00\x00\x00\x3c" + b"\x1d\x06\x00\x00\x00\x01" + b"\x1c\x06\x00\x00\x00\x0a"
    vlan = b"\x40\x06\x00\x00\x00\x0d" + b"\x41\x06\x00\x00\x00\x06" + b"\x51\x0420"
    return {
        "accept": answer(
            request, 2, b"\x01\x07alice" + b"\x0b\x07staff" + b"\x19\x04cl" + times + vlan + eap, signed=False
        ),
        "reject": answer(request, 3, b"\x4f\x06\x04\x01\x00\x04", signed=False),
        "challenge": answer(
            request, 11, b"\x18\x04st" + b"\x4f\x05\x01\x01\x00" + b"\x4f\x05\x06\x0d\x20", signed=False
        ),
    }


class _Sessions:
    """One session, and whether anything was asked for."""

    def __init__(self) -> None:
        proof = Proof("user", "alice", "dot1x", _NOW, issuer="radius:lab", subject="alice", reference="a-1")
        place = Attachment(0x15, 3, 0, 0x02_00_00_00_00_15)
        self._live = Session(1, acting((proof,)), place, (bytes([10, 0, 0, 1]),), "staff", _NOW, (proof,))
        self.changes = 0

    def sessions(self) -> list[Session]:
        return [self._live]

    def sessions_known_as(self, *words: str) -> list[Session]:
        return known_as([self._live], words)

    def sessions_of_mac(self, mac: int) -> list[Session]:
        return [self._live] if self._live.attachment.mac == mac else []

    def session_holding(self, address: bytes) -> Session | None:
        return self._live if address in self._live.addresses else None

    def change_proof(self, *_: object) -> bool:
        self.changes += 1
        return True


def _signed(data: bytes) -> bytes:
    """The attributes in some bytes as a request that the client has signed, once they are cut to a packet's length."""
    body = data[20:4000]
    head = bytes([data[0] if data else 40, 9]) + (38 + len(body)).to_bytes(2, "big")
    zeroed = head + bytes(16) + b"\x50\x12" + bytes(16) + body
    body = b"\x50\x12" + hmac.new(SECRET, zeroed, "md5").digest() + body
    return head + hashlib.md5(head + bytes(16) + body + SECRET).digest() + body  # noqa: S324  # RFC 5176's own


def check_request(data: bytes) -> None:
    """What nobody signed changes nothing; what the client signed is answered, signed, and only an ACK has acted."""
    sessions = _Sessions()
    service = DynamicAuthorization(sessions, lambda _: "s1", _SETTINGS, lambda: _NOW)
    clients = {"127.0.0.1": Client("radius", SECRET)}
    server = AuthorizationServer(service, clients, "zethane", None, lambda: _NOW, Counter())
    try:
        require_request(read(data), SECRET)
    except InvalidPacket:
        server.datagram_received(data, ("127.0.0.1", 1))
        assert sessions.changes == 0
    signed = _signed(data)
    try:
        raw = server.handle(signed, "127.0.0.1")
    except InvalidPacket:
        assert sessions.changes == 0
        return
    said = read(raw)
    assert said.identifier == 9
    assert said.code in (Code.DISCONNECT_ACK, Code.DISCONNECT_NAK, Code.COA_ACK, Code.COA_NAK)
    assert (said.code in (Code.DISCONNECT_ACK, Code.COA_ACK)) == (sessions.changes > 0)
    proxies = [value for code, value in _walk(signed[20:]) or () if code == Attribute.PROXY_STATE]
    assert [value for code, value in said.attributes if code == Attribute.PROXY_STATE] == proxies
    before = sessions.changes
    assert server.handle(signed, "127.0.0.1") == raw
    assert sessions.changes == before


def seed_requests() -> dict[str, bytes]:
    stamp = (Attribute.EVENT_TIMESTAMP, integer(int(_NOW)))
    name = (Attribute.USER_NAME, b"alice")
    place = ((Attribute.NAS_PORT_ID, b"s1:3"), (Attribute.CALLING_STATION_ID, b"02-00-00-00-00-15"))
    change = ((Attribute.SESSION_TIMEOUT, integer(60)), (Attribute.TERMINATION_ACTION, integer(1)))
    wanted = {
        "disconnect": (Code.DISCONNECT_REQUEST, (name, stamp, (Attribute.PROXY_STATE, b"p"))),
        "disconnect-place": (Code.DISCONNECT_REQUEST, (*place, stamp)),
        "coa": (Code.COA_REQUEST, (name, stamp, *change, (Attribute.FILTER_ID, b"guests"))),
        "coa-class": (Code.COA_REQUEST, ((Attribute.ACCT_SESSION_ID, b"a-1"), stamp, (Attribute.CLASS, b"c"))),
    }
    return {kind: _seed(code, pairs) for kind, (code, pairs) in wanted.items()}


def _seed(code: Code, pairs: Pairs) -> bytes:
    """As it is signed here, with its Message-Authenticator taken out: the check puts one in."""
    raw = authorization_request(code, 9, SECRET, pairs).raw
    return raw[:20] + raw[38:]


TARGETS = (
    Target("radius-answer", check_answer, seed_answers, 4200),
    Target("radius-request", check_request, seed_requests, 4200),
)
