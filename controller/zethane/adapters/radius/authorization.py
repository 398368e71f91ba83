"""Takes Disconnect-Request and CoA-Request over UDP, and answers them (RFC 5176).

What is not signed by a known client is dropped in silence and counted. A request counts once: it has to be of now
(RFC 5176 §6.3), and the same one again gets the same answer and nothing else.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import structlog

from zethane.adapters.radius.attribute import Attribute, Code, Pairs, integer
from zethane.adapters.radius.authorization_request import change_of, require_supported, target_of
from zethane.adapters.radius.packet import InvalidPacket, Packet, authorization_answer, read, require_request
from zethane.identity.attempts import Buckets, Rate
from zethane.service.dynamic_authorization import DynamicAuthorization, ErrorCause, Refused
from zethane.service.state import Clock

WINDOW = 300.0
"""Seconds that a request's Event-Timestamp may be from now (RFC 5176 §6.3)."""

RATE = Rate(burst=256, interval=0.0625)
"""Requests that a client has signed: so many at once, then sixteen a second."""

UNSIGNED = Rate(burst=1024, interval=0.001953125)
"""Datagrams from a client's address that are looked at: what comes from there need not be the client's."""

MAX_ANSWERED = 32_768
"""Answers that are kept, each for as long as its request is of now: more than the rate lets a client ask for."""

_log = structlog.get_logger("zethane.radius")

_ANSWERS = {
    Code.DISCONNECT_REQUEST: (Code.DISCONNECT_ACK, Code.DISCONNECT_NAK),
    Code.COA_REQUEST: (Code.COA_ACK, Code.COA_NAK),
}


@dataclass(frozen=True, slots=True)
class Client:
    """Who may send requests from an address."""

    name: str
    secret: bytes = field(repr=False)


class AuthorizationServer(asyncio.DatagramProtocol):
    """One listening socket. `clients` are by their addresses; `counters` has what was done and what was dropped."""

    def __init__(
        self,
        service: DynamicAuthorization,
        clients: Mapping[str, Client],
        nas: str,
        own_address: bytes | None,
        clock: Clock,
        counters: Counter[str],
    ) -> None:
        self._service = service
        self._clients = clients
        self._nas = nas
        self._own_address = own_address
        self._clock = clock
        self._counters = counters
        self._signed = Buckets(RATE, max(len(clients), 1))
        self._unsigned = Buckets(UNSIGNED, max(len(clients), 1))
        self._answered: OrderedDict[tuple[str, bytes], tuple[float, bytes]] = OrderedDict()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answers go out where requests come in."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Handle one datagram, whatever it is."""
        try:
            answer = self.handle(data, str(addr[0]))
        except InvalidPacket as error:
            self._drop(error.reason, str(addr[0]))
        except Exception:  # noqa: BLE001  # nothing that anybody sends may stop the others
            self._counters["radius_authorizations_failed"] += 1
            _log.exception("radius-request-failed", sender=str(addr[0]))
        else:
            if self._transport is not None:
                self._transport.sendto(answer, addr)

    def handle(self, data: bytes, sender: str) -> bytes:
        """The answer to a datagram. Raises InvalidPacket for what gets none."""
        client = self._clients.get(sender)
        if client is None:
            raise InvalidPacket("unknown-client")
        now = self._clock()
        _take(self._unsigned, sender, now)
        packet = read(data)
        if packet.code not in (Code.DISCONNECT_REQUEST, Code.COA_REQUEST):
            raise InvalidPacket("code")
        require_request(packet, client.secret)
        return self._answer_once(packet, client, now)

    def _answer_once(self, packet: Packet, client: Client, now: float) -> bytes:
        """The answer to a request that its client has signed: the old one if it has had one."""
        known = self._answered.get((client.name, packet.raw))
        if known is not None:
            self._counters["radius_authorizations_repeated"] += 1
            return known[1]
        stamp = next((value for code, value in packet.attributes if code == Attribute.EVENT_TIMESTAMP), None)
        if stamp is not None and (len(stamp) != 4 or abs(int.from_bytes(stamp, "big") - now) > WINDOW):
            raise InvalidPacket("not-of-now")
        _take(self._signed, client.name, now)
        self._forget(now)
        if len(self._answered) >= MAX_ANSWERED:
            raise InvalidPacket("too-many")
        good, bad = _ANSWERS[Code(packet.code)]
        try:
            if stamp is None:
                # Without it, the same request would do its work again tomorrow.
                raise Refused(ErrorCause.MISSING_ATTRIBUTE)  # noqa: TRY301
            number = self._act(packet, client.name)
        except Refused as refused:
            self._counters["radius_authorizations_refused"] += 1
            _log.info("radius-request-refused", client=client.name, code=packet.code, cause=refused.cause.name.lower())
            answer = _written(packet, bad, client, ((Attribute.ERROR_CAUSE, integer(refused.cause)),))
        else:
            self._counters["radius_authorizations"] += 1
            _log.info("radius-request-done", client=client.name, code=packet.code, proofs=number)
            answer = _written(packet, good, client, ())
        self._answered[client.name, packet.raw] = (now + 2 * WINDOW, answer)
        return answer

    def _act(self, packet: Packet, client: str) -> int:
        pairs = packet.attributes
        is_change = packet.code == Code.COA_REQUEST
        require_supported(pairs, self._nas, self._own_address, change=is_change)
        target = target_of(pairs, change=is_change)
        if is_change:
            return self._service.change(target, change_of(pairs), client)
        return self._service.disconnect(target, client)

    def _forget(self, now: float) -> None:
        """What is kept is in the order of its end, unless the clock was set: then it is kept for longer."""
        while self._answered:
            until, _ = next(iter(self._answered.values()))
            if until > now:
                return
            self._answered.popitem(last=False)

    def _drop(self, reason: str, sender: str) -> None:
        self._counters["radius_authorizations_dropped"] += 1
        self._counters[f"radius_authorizations_dropped_{reason.replace('-', '_')}"] += 1
        count = self._counters["radius_authorizations_dropped"]
        if count & (count - 1) == 0:
            _log.warning("radius-request-dropped", sender=sender, reason=reason, count=count)


def _take(buckets: Buckets, key: str, now: float) -> None:
    if buckets.wait(key, now) > 0:
        raise InvalidPacket("too-many")
    buckets.take(key, now)


def _written(packet: Packet, code: Code, client: Client, attributes: Pairs) -> bytes:
    return authorization_answer(packet, code, client.secret, attributes)
