"""The RADIUS client: several servers in order, with fail-over. Implements `service.radius.RadiusClient`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from zethane.adapters.radius.access import access_reply, request_attributes
from zethane.adapters.radius.packet import Packet, Request, access_request, require_answer
from zethane.adapters.radius.peer import NotAnswered, Patience, Peer
from zethane.audit.reason import LoginRefusal
from zethane.service.radius import AccessReply, AccessRequest, RadiusError

MAX_WAITING = 4096
"""Authentications at once, those included that wait for their turn; more are refused."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server as it is configured."""

    name: str
    host: str
    auth_port: int
    acct_port: int
    secret: bytes = field(repr=False)


class UdpRadiusClient:
    """Asks servers over UDP. To be made on the event loop."""

    def __init__(
        self,
        servers: Sequence[Server],
        nas: str,
        patience: Patience | None = None,
        totals: Counter[str] | None = None,
        waiting: int = MAX_WAITING,
    ) -> None:
        chosen = patience or Patience()
        self._totals = Counter() if totals is None else totals
        self.peers = [
            Peer(one.name, one.host, one.auth_port, one.secret, _check, chosen, self._totals) for one in servers
        ]
        self._by_name = {peer.name: peer for peer in self.peers}
        self._nas = nas
        self._most = waiting
        self._waiting = 0

    async def authenticate(self, request: AccessRequest) -> AccessReply:
        """The first valid answer. An exchange stays with its server: no other knows its State. Raises RadiusError."""
        if self._waiting >= self._most:
            self._totals["radius_requests_refused"] += 1
            raise RadiusError("too many authentications wait for a RADIUS server", LoginRefusal.BUSY)
        try:
            attributes = request_attributes(request, self._nas)
        except ValueError as error:
            raise RadiusError(f"no server can be asked this: {error}", LoginRefusal.REJECTED) from None
        self._waiting += 1
        try:
            return await self._authenticate(self._candidates(request), attributes)
        finally:
            self._waiting -= 1

    async def _authenticate(self, peers: Iterator[Peer], attributes: Sequence[tuple[int, bytes]]) -> AccessReply:
        invalid = False
        for peer in peers:
            try:
                answer = await peer.ask(partial(_build, peer.secret, attributes))
            except NotAnswered as error:
                invalid = invalid or error.invalid
                continue
            return access_reply(answer, peer.name)
        if invalid:
            raise RadiusError("no RADIUS server has given a valid answer", LoginRefusal.INVALID_ANSWER)
        raise RadiusError("no RADIUS server has answered", LoginRefusal.NOT_ANSWERED)

    def _candidates(self, request: AccessRequest) -> Iterator[Peer]:
        if request.server is not None:
            peer = self._by_name.get(request.server)
            return iter(() if peer is None else (peer,))
        return in_order(self.peers)

    def close(self) -> None:
        """Close the sockets."""
        for peer in self.peers:
            peer.close()


def in_order(peers: Sequence[Peer]) -> Iterator[Peer]:
    """Those to ask, one after the other: whoever is alive; if nobody is, who has been dead for longest."""
    asked = False
    for peer in peers:
        if peer.usable:
            asked = True
            yield peer
    if not asked:
        yield min(peers, key=lambda peer: peer.dead_until or 0.0)


def _build(secret: bytes, attributes: Sequence[tuple[int, bytes]], identifier: int) -> Request:
    return access_request(identifier, secret, attributes)


def _check(request: Request, packet: Packet) -> None:
    """An answer has to be signed both ways, and to make sense. Raises InvalidPacket."""
    require_answer(request, packet, signed=True)
    access_reply(packet, "")
