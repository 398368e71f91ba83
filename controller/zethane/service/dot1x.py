"""The authenticator of IEEE 802.1X, and MAC authentication bypass: below IP, at the ports that ask for it.

State is per port, VLAN and MAC, and a host speaks for the place that its frames come from and no other. Frames come
from the administrator, servers' answers later, from tasks; both act on the exchange that is open then, or on nothing.
"""

from __future__ import annotations

from zethane.audit.reason import DenyReason, SessionEvent
from zethane.errors import PortRefusal, SessionError
from zethane.identity.attempts import Buckets, Rate
from zethane.identity.proof import Method as ProofMethod
from zethane.identity.session import Session
from zethane.net.eapol import Frame, FrameType, failure, parse_frame
from zethane.net.endpoint import Attachment
from zethane.net.flowkey import ETH_ARP, ETH_IPV6
from zethane.net.neighbour import parse_question
from zethane.network.model import Port
from zethane.pipeline.fields import Reason
from zethane.service.dot1x_exchanges import Exchanges, Spawn
from zethane.service.dot1x_proof import Prover
from zethane.service.dot1x_sessions import AccessSessions, proofs_by
from zethane.service.eap_exchange import (
    Phase,
    Timers,
)
from zethane.service.journal import Denied
from zethane.service.points import Point
from zethane.service.port_security import check_room, place_of
from zethane.service.radius import RadiusClient
from zethane.service.renewals import Renewals, renewable
from zethane.service.state import State
from zethane.service.supplicants import Supplicant
from zethane.service.switch import PacketIn

STARTS = Rate(32, 0.25)
"""Exchanges that may begin at one port for each eight cards that it may have, at once and then one by one. Renewals
are not among them."""

CARDS = 8

MAX_PORTS = 16_384
"""Ports whose rate is remembered."""

TELLS_OF_HOSTS = frozenset((Reason.NEIGHBOUR, Reason.DHCP, Reason.ROUTER, Reason.UNAUTHENTICATED))
"""Why packets of hosts come up that may have no session."""


class PortAccess:
    """Authenticates hosts below IP. Without `radius` there is no IEEE 802.1X, and bypass goes by identities.yaml."""

    def __init__(
        self,
        state: State,
        sessions: AccessSessions,
        prover: Prover,
        radius: RadiusClient | None,
        timers: Timers,
        spawn: Spawn,
    ) -> None:
        self._state = state
        self._sessions = sessions
        self._radius = radius
        self._exchanges = Exchanges(state, sessions, prover, radius, timers, spawn)
        self.table = self._exchanges.table
        self._starts = Buckets(STARTS, MAX_PORTS)
        self._renewals = Renewals()

    def restore(self) -> None:
        """Sessions of the last run are renewed in time like others."""
        for live in self._state.sessions:
            self._renewals.note(live.session.attachment, live.session)

    # what hosts send

    def packet_in(self, point: Point, event: PacketIn) -> None:
        """A frame of EAPOL came up."""
        state = self._state
        attachment = Attachment(point.switch.dpid, event.port, event.vlan, int.from_bytes(event.frame[6:12], "big"))
        state.counters["eapol_received"] += 1
        refusal: DenyReason | None = DenyReason.EAPOL_INVALID
        frame = parse_frame(event.frame)
        if frame is not None and self._speaks_eapol(point, event.port):
            try:
                place_of(state.fabric, attachment)
                refusal = self._hear(attachment, frame)
            except PortRefusal as error:
                refusal = DenyReason(error.reason)
            except SessionError:  # a MAC of the network itself
                refusal = DenyReason.EAPOL_SPOOF
        if refusal is not None:
            live = state.sessions.at(attachment)
            who = live.session if live else None
            state.deny(Denied(refusal, point.switch.name, event.port, None, event.frame[6:12], who, None))

    def _speaks_eapol(self, point: Point, port: int) -> bool:
        return self._radius is not None and point.is_edge(port) and point.switch.port(port).dot1x

    def _hear(self, attachment: Attachment, frame: Frame) -> DenyReason | None:
        if frame.kind == FrameType.START:
            return self._start(attachment)
        if frame.kind == FrameType.LOGOFF:
            return self._logoff(attachment)
        return self._response(attachment, frame)

    def _start(self, attachment: Attachment) -> DenyReason | None:
        """EAPOL-Start: begin, or begin anew. It changes nothing of a session; what comes of it may."""
        now = self._state.clock()
        if not self._has_turn(attachment, now):
            return DenyReason.EAPOL_INVALID
        supplicant = self.table.by_attachment.get(attachment)
        if supplicant is None:
            supplicant = self._exchanges.enter(attachment)
            if supplicant is None:
                return DenyReason.EAPOL_INVALID
        effects = supplicant.exchange.start(now)
        if effects is None:
            self._state.counters["eapol_ignored"] += 1
        else:
            self._exchanges.apply(supplicant, effects)
        return None

    def _logoff(self, attachment: Attachment) -> DenyReason | None:
        """EAPOL-Logoff: of the session at the very place that it came from, and of what 802.1X has proved there."""
        if not proofs_by(self._sessions.at(attachment), "dot1x") and self._is_elsewhere(attachment):
            return DenyReason.EAPOL_SPOOF
        supplicant = self.table.by_attachment.get(attachment)
        if supplicant is not None and supplicant.exchange.phase != Phase.QUIET:
            self.table.remove(attachment)
        ended = self._sessions.end(attachment, "dot1x", SessionEvent.LOGOUT, "EAPOL-Logoff")
        if ended or supplicant is not None:
            self._exchanges.send(attachment, failure(0))
        else:
            self._state.counters["eapol_ignored"] += 1
        return None

    def _response(self, attachment: Attachment, frame: Frame) -> DenyReason | None:
        supplicant = self.table.by_attachment.get(attachment)
        if supplicant is None:
            self._state.counters["eapol_ignored"] += 1
            return DenyReason.EAPOL_SPOOF if self.table.is_elsewhere(attachment) else None
        effects = supplicant.exchange.response(frame.eap, self._state.clock()) if frame.eap is not None else None
        if effects is None:
            self._state.counters["eapol_ignored"] += 1
            return None
        self._exchanges.apply(supplicant, effects)
        return None

    def _is_elsewhere(self, attachment: Attachment) -> bool:
        """Whether the same card authenticates, or has a session, at another place."""
        others = (live.session.attachment != attachment for live in self._state.sessions.of_mac(attachment.mac))
        return self.table.is_elsewhere(attachment) or any(others)

    def heard(self, point: Point, event: PacketIn) -> None:
        """A host without a session has sent something else: ask who it is, or what its MAC stands for."""
        port = point.switch.port(event.port)
        if not (port.dot1x or port.mab) or not point.is_edge(event.port):
            return
        attachment = Attachment(point.switch.dpid, event.port, event.vlan, int.from_bytes(event.frame[6:12], "big"))
        if self._state.sessions.at(attachment) is not None:
            return
        supplicant = self.table.by_attachment.get(attachment)
        fresh = supplicant is None and self._may_begin(attachment)
        if fresh:
            supplicant = self._exchanges.enter(attachment)
        if supplicant is None:
            return
        address = _address_in(event.frame)
        if address is not None:
            supplicant.uses(address)
        if fresh:
            self._ask_who(supplicant, port)

    def _may_begin(self, attachment: Attachment) -> bool:
        """Whether an exchange may begin that nobody has asked for."""
        try:
            point = place_of(self._state.fabric, attachment)
            check_room(self._state.sessions, point.switch.port(attachment.port), attachment)
        except SessionError:
            return False
        return self._has_turn(attachment, self._state.clock())

    def _has_turn(self, attachment: Attachment, now: float) -> bool:
        """Whether one more exchange may begin at a port now; and it is counted."""
        cards = self._state.fabric.points[attachment.dpid].switch.port(attachment.port).macs
        key = (attachment.dpid, attachment.port, attachment.mac % max(1, cards // CARDS))
        if self._starts.wait(key, now) > 0:
            return False
        self._starts.take(key, now)
        return True

    def _ask_who(self, supplicant: Supplicant, port: Port) -> None:
        now = self._state.clock()
        if port.dot1x and self._radius is not None:
            self._exchanges.apply(supplicant, supplicant.exchange.begin(now))
        elif port.mab:
            self._exchanges.apply(supplicant, supplicant.exchange.use_mac(now))
        else:
            self.table.remove(supplicant.attachment)

    # time and change

    def tick(self, now: float) -> None:
        """Do what is due."""
        for supplicant in self.table.due(now):
            exchange = supplicant.exchange
            if exchange.renewing and not self._has_proof(supplicant):
                exchange.renewing = False
            self._exchanges.apply(supplicant, exchange.tick(now))
        for attachment in self._renewals.due(now):
            self._renew(attachment, now)

    def _has_proof(self, supplicant: Supplicant) -> bool:
        method: ProofMethod = "mab" if supplicant.exchange.bypass else "dot1x"
        return bool(proofs_by(self._sessions.at(supplicant.attachment), method))

    def _renew(self, attachment: Attachment, now: float) -> None:
        """A proof has to be renewed soon: begin, unless the host is at it already."""
        session = self._sessions.at(attachment)
        proof = renewable(session)
        if session is None or proof is None:
            return
        supplicant = self.table.by_attachment.get(attachment)
        if supplicant is not None and supplicant.exchange.phase not in (Phase.SILENT, Phase.QUIET):
            supplicant.exchange.renewing = True
            return
        supplicant = self._exchanges.enter(attachment)
        if supplicant is None:
            return
        supplicant.exchange.renewing = True
        exchange = supplicant.exchange
        self._exchanges.apply(supplicant, exchange.use_mac(now) if proof.method == "mab" else exchange.begin(now))

    def session_event(self, event: SessionEvent, session: Session, detail: str, now: float) -> None:  # noqa: ARG002
        """Something has happened to a session: know when it is to be renewed. For `LogJournal.watch`."""
        attachment = session.attachment
        live = self._state.sessions.at(attachment)
        self._renewals.note(attachment, session if live is not None and live.session.number == session.number else None)

    def port_gone(self, dpid: int, port: int) -> None:
        """A port went down: what was under way there is void."""
        self.table.port_gone(dpid, port)


def _address_in(frame: bytes) -> bytes | None:
    """The address that a host says it has, in a question to neighbours."""
    if int.from_bytes(frame[12:14], "big") not in (ETH_ARP, ETH_IPV6):
        return None
    question = parse_question(frame)
    return None if question is None else question.target if question.is_probe else question.sender
