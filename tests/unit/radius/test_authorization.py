"""Disconnect and CoA requests: whom they mean, what they change, and what is dropped or refused."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import Counter
from dataclasses import replace

import pytest

from fakes.known import known_as
from fakes.radius_server import SECRET
from zethane.adapters.radius.attribute import Attribute, Code, integer
from zethane.adapters.radius.authorization import RATE, UNSIGNED, AuthorizationServer, Client
from zethane.adapters.radius.packet import InvalidPacket, authorization_request, read
from zethane.audit.reason import SessionEvent
from zethane.identity.proof import Proof, acting
from zethane.identity.session import Attachment, Session
from zethane.identity.sources.radius import Radius
from zethane.service.dynamic_authorization import DynamicAuthorization, ErrorCause
from zethane.service.radius import classes_of, with_classes

NOW = 1_000_000.0
SETTINGS = Radius.model_validate({"servers": {"lab": {"host": "127.0.0.1", "secret": "s"}}})

ALICE = with_classes(
    Proof("user", "alice", "dot1x", NOW, issuer="radius:lab", subject="alice@lab", reference="a-1", expires=NOW + 60),
    (b"c1",),
)
LAPTOP = Proof("device", "laptop", "certificate", NOW, issuer="ca", subject="laptop")
BOB = Proof("user", "bob", "portal", NOW)


def session(number: int, port: int, *proofs: Proof) -> Session:
    mac = 0x02_00_00_00_00_00 + port
    address = bytes([10, 0, 0, port])
    return Session(number, acting(proofs), Attachment(0x15, port, 0, mac), (address,), "staff", NOW, proofs)


class Sessions:
    """Live sessions, and what was asked for."""

    def __init__(self, *sessions: Session) -> None:
        self.live = list(sessions)
        self.looks = 0
        """How often all of them were gone through."""
        self.changes: list[tuple[int, Proof, Proof | None, SessionEvent, str]] = []

    def sessions(self) -> list[Session]:
        self.looks += 1
        return self.live

    def sessions_known_as(self, *words: str) -> list[Session]:
        return known_as(self.live, words)

    def sessions_of_mac(self, mac: int) -> list[Session]:
        return [one for one in self.live if one.attachment.mac == mac]

    def session_holding(self, address: bytes) -> Session | None:
        return next((one for one in self.live if address in one.addresses), None)

    def change_proof(self, number, proof, changed, reason, detail="") -> bool:
        self.changes.append((number, proof, changed, reason, detail))
        return True


class Taker:
    """The one who takes requests, with a clock."""

    def __init__(self, own: bytes | None = None) -> None:
        self.now = NOW
        self.counters: Counter[str] = Counter()
        self.sessions = Sessions(
            session(1, 1, ALICE, LAPTOP), session(2, 2, BOB), session(3, 3, replace(ALICE, reference="a-3"))
        )
        service = DynamicAuthorization(self.sessions, lambda _: "s1", SETTINGS, lambda: self.now)
        clients = {"127.0.0.1": Client("radius", SECRET)}
        self.server = AuthorizationServer(service, clients, "zethane", own, lambda: self.now, self.counters)

    def send(self, code: Code, *pairs, stamp: float | None = NOW, secret: bytes = SECRET, identifier: int = 7):
        """The answer's code and Error-Cause."""
        stamped = () if stamp is None else ((Attribute.EVENT_TIMESTAMP, integer(int(stamp))),)
        request = authorization_request(code, identifier, secret, (*pairs, *stamped))
        return self.answered(request.raw)

    def answered(self, raw: bytes, sender: str = "127.0.0.1"):
        answer = read(self.server.handle(raw, sender))
        cause = dict(answer.attributes).get(Attribute.ERROR_CAUSE)
        return Code(answer.code), ErrorCause(int.from_bytes(cause, "big")) if cause else None

    @property
    def touched(self) -> list[tuple[int, str]]:
        return [(number, proof.name) for number, proof, *_ in self.sessions.changes]


FOUND_BY = (
    Attribute.USER_NAME, Attribute.ACCT_SESSION_ID, Attribute.CALLING_STATION_ID, Attribute.FRAMED_IP_ADDRESS
)  # fmt: skip
"""With one of these nobody has to look through all sessions."""

NAME = (Attribute.USER_NAME, b"alice")
ACK, NAK = (Code.DISCONNECT_ACK, None), Code.DISCONNECT_NAK


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([NAME], [(1, "alice"), (3, "alice")]),
        ([(Attribute.USER_NAME, b"alice@lab")], [(1, "alice"), (3, "alice")]),
        ([(Attribute.USER_NAME, b"bob")], [(2, "bob")]),
        ([(Attribute.ACCT_SESSION_ID, b"a-1")], [(1, "alice")]),
        ([(Attribute.CLASS, b"c1"), (Attribute.NAS_PORT, integer(3))], [(3, "alice")]),
        ([(Attribute.CALLING_STATION_ID, b"02-00-00-00-00-01")], [(1, "alice"), (1, "laptop")]),
        ([(Attribute.CALLING_STATION_ID, b"02:00:00:00:00:02")], [(2, "bob")]),
        ([(Attribute.NAS_PORT_ID, b"s1:2")], [(2, "bob")]),
        ([(Attribute.FRAMED_IP_ADDRESS, bytes([10, 0, 0, 2]))], [(2, "bob")]),
        ([(Attribute.CALLED_STATION_ID, b"00-00-00-00-00-15"), (Attribute.USER_NAME, b"bob")], [(2, "bob")]),
        ([NAME, (Attribute.NAS_PORT, integer(1)), (Attribute.NAS_IDENTIFIER, b"zethane")], [(1, "alice")]),
        ([NAME, (Attribute.PROXY_STATE, b"p"), (Attribute.NAS_PORT, integer(1))], [(1, "alice")]),
    ],
)
def test_a_disconnect_ends_what_fits_all_that_it_names(given, meant) -> None:
    taker = Taker()
    assert taker.send(Code.DISCONNECT_REQUEST, *given) == ACK
    assert taker.touched == meant
    assert taker.sessions.looks == (0 if any(kind in FOUND_BY for kind, _ in given) else 1)
    assert {(changed, reason, detail) for _, _, changed, reason, detail in taker.sessions.changes} == {
        (None, SessionEvent.DISCONNECTED, "radius client radius")
    }


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ([NAME, (Attribute.NAS_PORT, integer(2))], ErrorCause.SESSION_NOT_FOUND),
        ([(Attribute.USER_NAME, b"Alice")], ErrorCause.SESSION_NOT_FOUND),
        ([NAME, (Attribute.CLASS, b"c2")], ErrorCause.SESSION_NOT_FOUND),
        ([(Attribute.ACCT_SESSION_ID, b"")], ErrorCause.INVALID_ATTRIBUTE_VALUE),
        ([(Attribute.USER_NAME, b"")], ErrorCause.INVALID_ATTRIBUTE_VALUE),
        ([NAME, (Attribute.FRAMED_IP_ADDRESS, bytes([10, 0, 0, 2]))], ErrorCause.SESSION_NOT_FOUND),
        ([], ErrorCause.MISSING_ATTRIBUTE),
        ([(Attribute.NAS_IDENTIFIER, b"zethane")], ErrorCause.MISSING_ATTRIBUTE),
        ([NAME, (Attribute.VENDOR_SPECIFIC, b"\x00\x00\x00\x09\x01\x03x")], ErrorCause.UNSUPPORTED_ATTRIBUTE),
        ([NAME, (Attribute.SESSION_TIMEOUT, integer(5))], ErrorCause.UNSUPPORTED_ATTRIBUTE),
        ([NAME, (Attribute.SERVICE_TYPE, integer(17))], ErrorCause.UNSUPPORTED_SERVICE),
        ([NAME, (Attribute.NAS_IDENTIFIER, b"other")], ErrorCause.NAS_IDENTIFICATION_MISMATCH),
        ([NAME, (Attribute.NAS_IP_ADDRESS, bytes([10, 9, 9, 9]))], ErrorCause.NAS_IDENTIFICATION_MISMATCH),
        ([(Attribute.NAS_PORT, b"\x01")], ErrorCause.INVALID_ATTRIBUTE_VALUE),
        ([(Attribute.CALLING_STATION_ID, b"\xff\xfe")], ErrorCause.INVALID_ATTRIBUTE_VALUE),
        ([(Attribute.USER_NAME, b"\xff")], ErrorCause.INVALID_ATTRIBUTE_VALUE),
        ([(Attribute.FRAMED_IP_ADDRESS, b"\x0a")], ErrorCause.INVALID_ATTRIBUTE_VALUE),
    ],
)
def test_a_request_that_cannot_be_carried_out_is_refused_with_its_cause(given, cause) -> None:
    taker = Taker(own=bytes([127, 0, 0, 1]))
    assert taker.send(Code.DISCONNECT_REQUEST, *given) == (NAK, cause)
    assert taker.touched == []


def test_the_address_of_the_nas_is_where_requests_are_taken_or_any() -> None:
    address = (Attribute.NAS_IP_ADDRESS, bytes([127, 0, 0, 1]))
    assert Taker(own=bytes([127, 0, 0, 1])).send(Code.DISCONNECT_REQUEST, NAME, address) == ACK
    assert Taker().send(Code.DISCONNECT_REQUEST, NAME, address) == ACK


def _changed(*pairs) -> Proof:
    taker = Taker()
    assert taker.send(Code.COA_REQUEST, (Attribute.ACCT_SESSION_ID, b"a-1"), *pairs) == (Code.COA_ACK, None)
    ((number, proof, changed, reason, _),) = taker.sessions.changes
    assert (number, proof, reason) == (1, ALICE, SessionEvent.CHANGED)
    assert changed is not None
    return changed


def test_a_coa_changes_what_it_names_and_nothing_else() -> None:
    assert _changed((Attribute.FILTER_ID, b"guests"), (Attribute.FILTER_ID, b"lab")) == replace(
        ALICE, groups=frozenset({"guests", "lab"})
    )
    assert _changed((Attribute.SESSION_TIMEOUT, integer(10))) == replace(ALICE, expires=NOW + 10)
    assert _changed((Attribute.IDLE_TIMEOUT, integer(10))) == replace(ALICE, idle=10.0)
    again = _changed((Attribute.SESSION_TIMEOUT, integer(10)), (Attribute.TERMINATION_ACTION, integer(1)))
    assert (again.expires, again.reauthenticate) == (math.inf, NOW + 10)
    again = _changed((Attribute.TERMINATION_ACTION, integer(1)))
    assert (again.expires, again.reauthenticate) == (math.inf, NOW + 60)
    assert classes_of(_changed((Attribute.CLASS, b"c2"))) == (b"c2",)


def test_a_coa_about_a_place_changes_what_radius_gave_or_who_acts() -> None:
    for port, meant in ((1, (1, "alice")), (2, (2, "bob"))):
        taker = Taker()
        taker.send(Code.COA_REQUEST, (Attribute.NAS_PORT, integer(port)), (Attribute.IDLE_TIMEOUT, integer(5)))
        assert taker.touched == [meant]


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ([], ErrorCause.MISSING_ATTRIBUTE),
        ([(Attribute.FILTER_ID, b"no group!")], ErrorCause.INVALID_ATTRIBUTE_VALUE),
        ([(Attribute.FILTER_ID, b"\xff")], ErrorCause.INVALID_ATTRIBUTE_VALUE),
        ([(Attribute.SESSION_TIMEOUT, b"\x01")], ErrorCause.INVALID_ATTRIBUTE_VALUE),
        ([(Attribute.TERMINATION_ACTION, integer(9))], ErrorCause.INVALID_ATTRIBUTE_VALUE),
        ([(Attribute.ACCT_TERMINATE_CAUSE, integer(9))], ErrorCause.UNSUPPORTED_ATTRIBUTE),
    ],
)
def test_a_coa_is_done_whole_or_refused(given, cause) -> None:
    taker = Taker()
    good = () if not given else ((Attribute.IDLE_TIMEOUT, integer(5)),)
    assert taker.send(Code.COA_REQUEST, NAME, *good, *given) == (Code.COA_NAK, cause)
    assert taker.touched == []


def _raw(stamp: float = NOW, signed: bool = True, secret: bytes = SECRET) -> bytes:
    """A Disconnect-Request written here anew (RFC 5176 §3, RFC 3579 §3.2)."""
    body = b"\x01\x07alice" + b"\x37\x06" + integer(int(stamp))
    head = bytes([40, 9]) + (20 + len(body) + (18 if signed else 0)).to_bytes(2, "big")
    if signed:
        unsigned = head + bytes(16) + b"\x50\x12" + bytes(16) + body
        body = b"\x50\x12" + hmac.new(secret, unsigned, "md5").digest() + body
    return head + hashlib.md5(head + bytes(16) + body + secret).digest() + body  # noqa: S324  # RFC 5176's own


def _broken(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def _resigned(raw: bytes) -> bytes:
    """With a Request Authenticator that fits what is there."""
    digest = hashlib.md5(raw[:4] + bytes(16) + raw[20:] + SECRET).digest()  # noqa: S324
    return raw[:4] + digest + raw[20:]


FORGED = {
    "another secret": (_raw(secret=b"x"), "authenticator"),
    "no Message-Authenticator": (_raw(signed=False), "no_message_authenticator"),
    "wrong Request Authenticator": (_broken(_raw(), 5), "authenticator"),
    "wrong Message-Authenticator": (_resigned(_broken(_raw(), 23)), "message_authenticator"),
    "other content": (_broken(_raw(), 42), "authenticator"),
    "too old": (_raw(NOW - 301), "not_of_now"),
    "too new": (_raw(NOW + 301), "not_of_now"),
    "an Access-Request": (b"\x01" + _raw()[1:], "code"),
    "truncated": (_raw()[:-1], "length"),
    "nothing": (b"", "length"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_what_nobody_signed_or_is_not_of_now_is_dropped_in_silence(kind) -> None:
    raw, reason = FORGED[kind]
    taker = Taker()
    assert taker.answered(_raw()) == ACK, "the same, unbroken, is carried out"
    taker.sessions.changes.clear()
    taker.server.datagram_received(raw, ("127.0.0.1", 1))
    assert taker.touched == []
    assert taker.counters[f"radius_authorizations_dropped_{reason}"] == 1, taker.counters


def test_an_unknown_sender_is_dropped_in_silence() -> None:
    taker = Taker()
    with pytest.raises(InvalidPacket, match="unknown-client"):
        taker.answered(_raw(), "127.0.0.2")
    assert taker.touched == []


def test_the_same_request_again_has_the_same_answer_and_no_effect() -> None:
    taker = Taker()
    first = taker.server.handle(_raw(), "127.0.0.1")
    taker.sessions.changes.clear()
    for later in (0.0, 299.0, 301.0, 599.0):
        taker.now = NOW + later
        assert taker.server.handle(_raw(), "127.0.0.1") == first
    assert taker.touched == []
    taker.now = NOW + 601
    taker.send(Code.DISCONNECT_REQUEST, (Attribute.USER_NAME, b"bob"), stamp=taker.now)
    with pytest.raises(InvalidPacket, match="not-of-now"):
        taker.server.handle(_raw(), "127.0.0.1")


def test_a_request_without_a_time_is_refused() -> None:
    taker = Taker()
    assert taker.send(Code.DISCONNECT_REQUEST, NAME, stamp=None) == (NAK, ErrorCause.MISSING_ATTRIBUTE)
    assert taker.touched == []


def test_a_client_that_asks_too_often_is_dropped() -> None:
    taker = Taker()
    for number in range(RATE.burst):
        taker.send(Code.DISCONNECT_REQUEST, NAME, identifier=number % 256)
    with pytest.raises(InvalidPacket, match="too-many"):
        taker.send(Code.DISCONNECT_REQUEST, (Attribute.USER_NAME, b"bob"))
    taker.now += 1
    assert taker.send(Code.DISCONNECT_REQUEST, (Attribute.USER_NAME, b"bob"), stamp=taker.now)[0] == Code.DISCONNECT_ACK


def test_what_comes_from_the_address_of_a_client_is_looked_at_at_a_bounded_rate() -> None:
    taker = Taker()
    for _ in range(UNSIGNED.burst):
        taker.server.datagram_received(_raw(secret=b"x"), ("127.0.0.1", 1))
    taker.server.datagram_received(_raw(), ("127.0.0.1", 1))
    assert taker.touched == []
    assert taker.counters["radius_authorizations_dropped_too_many"] == 1
    taker.now += 0.125
    assert taker.answered(_raw()) == ACK


def test_answers_are_signed_and_return_the_state_of_proxies() -> None:
    request = authorization_request(
        Code.DISCONNECT_REQUEST,
        7,
        SECRET,
        (NAME, (Attribute.EVENT_TIMESTAMP, integer(int(NOW))), (33, b"one"), (33, b"two")),
    )
    raw = Taker().server.handle(request.raw, "127.0.0.1")
    answer = read(raw)
    assert [value for code, value in answer.attributes if code == Attribute.PROXY_STATE] == [b"one", b"two"]
    assert request.signed.VerifyReply(request.signed.CreateReply(packet=raw), raw)
    assert any(code == Attribute.MESSAGE_AUTHENTICATOR for code, _ in answer.attributes)
