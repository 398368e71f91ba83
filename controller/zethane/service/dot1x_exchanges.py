"""Carries out what exchanges want: frames to hosts, questions to servers, sessions."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from zethane.audit.reason import LoginRefusal
from zethane.errors import CapacityError, Refusal, SessionError
from zethane.net.eapol import build_frame
from zethane.net.endpoint import Attachment
from zethane.pipeline.eapol import AUTHENTICATOR_MAC
from zethane.service.dot1x_proof import ProofRefusal, Prover, mac_name
from zethane.service.dot1x_sessions import AccessSessions, proofs_by
from zethane.service.eap_exchange import (
    Accepted,
    Ask,
    Effects,
    Exchange,
    Failed,
    Over,
    Send,
    Timers,
    Unanswered,
)
from zethane.service.port_security import check_room
from zethane.service.radius import AccessReply, AccessRequest, RadiusClient, RadiusError
from zethane.service.state import State
from zethane.service.supplicants import Supplicant, SupplicantTable

_SOURCE = AUTHENTICATOR_MAC.to_bytes(6, "big")

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Exchanges:
    """The exchanges under way. Without `radius` there is only bypass, and identities.yaml to go by."""

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
        self._prover = prover
        self._radius = radius
        self._timers = timers
        self._spawn = spawn
        self.table = SupplicantTable()

    def enter(self, attachment: Attachment) -> Supplicant | None:
        """A new state for a host; None if its port, or the table, is full. Raises PortRefusal."""
        port = self._state.fabric.points[attachment.dpid].switch.port(attachment.port)
        session = self._sessions.at(attachment)
        if session is None:
            check_room(self._state.sessions, port, attachment)
            if not self.table.has_room(attachment, port.macs):
                self._state.counters["eapol_no_room"] += 1
                return None
        known = proofs_by(session, "dot1x", "mab")
        session_id = known[0].reference if known and known[0].reference else secrets.token_hex(8)
        supplicant = Supplicant(attachment, Exchange(self._timers), session_id)
        self.table.add(supplicant)
        return supplicant

    def apply(self, supplicant: Supplicant, effects: Effects) -> None:
        """Do what an exchange wants."""
        for effect in effects:
            if isinstance(effect, Send):
                self.send(supplicant.attachment, effect.packet)
            elif isinstance(effect, Ask):
                self._ask(supplicant, effect)
            elif isinstance(effect, Accepted):
                self._accepted(supplicant, effect.reply)
            elif isinstance(effect, Failed):
                self._sessions.failed(supplicant, effect.why, "")
            elif isinstance(effect, Unanswered):
                self._unanswered(supplicant, effect)
            elif isinstance(effect, Over):
                self.table.remove(supplicant.attachment)
        if self.table.by_attachment.get(supplicant.attachment) is supplicant:
            self.table.schedule(supplicant)

    def send(self, to: Attachment, packet: bytes) -> None:
        """To the one host, at its port and with its tag."""
        channel = self._state.fabric.points[to.dpid].channel
        if channel is not None:
            channel.packet_out(to.port, build_frame(to.mac.to_bytes(6, "big"), _SOURCE, packet), to.vlan)
            self._state.counters["eapol_sent"] += 1

    def _request(self, supplicant: Supplicant, ask: Ask) -> AccessRequest:
        attachment, exchange = supplicant.attachment, supplicant.exchange
        name = mac_name(attachment.mac) if exchange.bypass else exchange.identity or ""
        switch = self._state.fabric.points[attachment.dpid].switch.name
        port_name = f"{switch}:{attachment.port}"
        return AccessRequest(name, attachment, port_name, supplicant.session_id, ask.eap, ask.state, ask.server)

    def _ask(self, supplicant: Supplicant, ask: Ask) -> None:
        request = self._request(supplicant, ask)
        if not self._may_go_on(supplicant):
            return
        if self._radius is None:
            self._prove(supplicant, request, None)
        else:
            self._spawn(self._authenticate(self._radius, supplicant, ask.token, request))

    async def _authenticate(
        self, radius: RadiusClient, supplicant: Supplicant, token: object, request: AccessRequest
    ) -> None:
        """Ask a server, and go on with its answer if the question is still open then."""
        self._state.counters["dot1x_requests"] += 1
        effects: Effects
        try:
            reply = await radius.authenticate(request)
            effects = supplicant.exchange.answer(token, reply, self._state.clock())
        except RadiusError as error:
            effects = supplicant.exchange.unavailable(token, error.reason, self._state.clock())
        if self.table.by_attachment.get(supplicant.attachment) is supplicant:
            self.apply(supplicant, effects)

    def _accepted(self, supplicant: Supplicant, reply: AccessReply) -> None:
        if not self._may_go_on(supplicant):
            return
        ask = Ask(None, None if supplicant.exchange.bypass else reply.eap)
        self._prove(supplicant, self._request(supplicant, ask), reply)

    def _prove(self, supplicant: Supplicant, request: AccessRequest, reply: AccessReply | None) -> None:
        """Start or renew the session, and tell the host."""
        now, exchange = self._state.clock(), supplicant.exchange
        try:
            if reply is None or exchange.bypass:
                proof = self._prover.by_mac(request, reply, now)
            else:
                proof = self._prover.by_eap(request, reply, exchange.method, now)
            self._sessions.begin(supplicant, proof)
        except ProofRefusal as refusal:
            self._refuse(supplicant, refusal.why, str(refusal))
        except Refusal as refusal:  # of the port, or of the account
            self._refuse(supplicant, LoginRefusal(refusal.reason), str(refusal))
        except SessionError as error:
            self._refuse(supplicant, LoginRefusal.NO_SESSION, str(error))
        except CapacityError as error:
            self._refuse(supplicant, LoginRefusal.CAPACITY, str(error))
        else:
            self._state.counters["dot1x_accepted"] += 1
            self.apply(supplicant, exchange.admitted())

    def _may_go_on(self, supplicant: Supplicant) -> bool:
        may = not supplicant.exchange.bypass or self._sessions.may_bypass(supplicant.attachment.mac)
        if not may:
            self._refuse(supplicant, LoginRefusal.METHOD_NOT_ALLOWED, "the MAC has a session with a proof")
        return may

    def _refuse(self, supplicant: Supplicant, why: LoginRefusal, explanation: str) -> None:
        """There is no session: tell the host, and the log."""
        effects = supplicant.exchange.refused(why, self._state.clock())
        self.apply(supplicant, [effect for effect in effects if not isinstance(effect, Failed)])
        self._sessions.failed(supplicant, why, explanation)

    def _unanswered(self, supplicant: Supplicant, effect: Unanswered) -> None:
        """The host does not speak IEEE 802.1X: its MAC has to do, where the port allows that."""
        attachment = supplicant.attachment
        port = self._state.fabric.points[attachment.dpid].switch.port(attachment.port)
        self._state.counters["dot1x_unanswered"] += 1
        if port.mab and not effect.spoke and self._sessions.at(attachment) is None:
            self.apply(supplicant, supplicant.exchange.use_mac(self._state.clock()))
