"""What a server's word leads to below IP: a session begins, goes on, moves or ends."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from zethane.audit.reason import LoginRefusal, SessionEvent
from zethane.identity.proof import Method, Proof
from zethane.identity.session import Session
from zethane.net.endpoint import Attachment
from zethane.service.dot1x_proof import Prover
from zethane.service.state import State
from zethane.service.supplicants import Supplicant

UNHEARD = frozenset((LoginRefusal.NOT_ANSWERED, LoginRefusal.BUSY, LoginRefusal.INVALID_ANSWER, LoginRefusal.CAPACITY))
"""Failures that say nothing about the host: what it has proved before holds as long as it would."""

LoginRefused = Callable[..., None]
"""Called as `refused(attachment, account, why, explanation)`."""

UseAddress = Callable[[Attachment, bytes], None]
"""Binds an address to the session at an attachment, if it may have it."""


class Sessions(Protocol):
    """What the authenticator needs of `service.facade.ControllerFacade`."""

    def start_session(self, attachment: Attachment, proof: Proof, address: bytes | None = None) -> Session: ...
    def session_of(self, attachment: Attachment) -> Session | None: ...
    def end_session(self, number: int, reason: SessionEvent) -> bool: ...
    def change_proof(
        self, number: int, proof: Proof, changed: Proof | None, reason: SessionEvent, detail: str = ""
    ) -> bool: ...


def proofs_by(session: Session | None, *methods: Method) -> tuple[Proof, ...]:
    """A session's proofs by these methods; without any, all."""
    proofs = session.proofs if session is not None else ()
    return tuple(proof for proof in proofs if not methods or proof.method in methods)


class AccessSessions:
    """Sessions of hosts that authenticate below IP."""

    def __init__(
        self, state: State, sessions: Sessions, prover: Prover, refused: LoginRefused, use_address: UseAddress
    ) -> None:
        self._state = state
        self._sessions = sessions
        self._prover = prover
        self._refused = refused
        self._use_address = use_address

    def at(self, attachment: Attachment) -> Session | None:
        """The session there."""
        return self._sessions.session_of(attachment)

    def begin(self, supplicant: Supplicant, proof: Proof) -> None:
        """Start the session of a host that has proved itself, or renew the one that it has there.

        What the same card has elsewhere by its MAC, or of the same principal, has moved here.
        Raises SessionError, CapacityError.
        """
        attachment = supplicant.attachment
        before = self._sessions.session_of(attachment)
        if any(known.reference == proof.reference and known.account != proof.account for known in proofs_by(before)):
            proof = replace(proof, reference=secrets.token_hex(8))  # somebody else: another session in the accounts
        session = self._sessions.start_session(attachment, proof)
        for live in self._state.sessions.of_mac(attachment.mac):
            if live.session.number != session.number and proof.aal > 0:
                self._move(live.session, proof)
        held = before.addresses if before is not None and before.number != session.number else ()
        for address in (*held, *supplicant.seen):
            self._use_address(attachment, address)

    def _move(self, other: Session, proof: Proof) -> None:
        """End another session of a card that has proved something here."""
        if all(known.aal == 0 for known in other.proofs):
            self._sessions.end_session(other.number, SessionEvent.REPLACED)
        elif any(known.account == proof.account for known in proofs_by(other, "dot1x")):
            self._sessions.end_session(other.number, SessionEvent.MOVED)

    def may_bypass(self, mac: int) -> bool:
        """Whether a MAC has proved nothing anywhere: a session that rests on a proof is never replaced by its MAC."""
        sessions = (live.session for live in self._state.sessions.of_mac(mac))
        return not any(proof.aal > 0 for session in sessions for proof in session.proofs)

    def end(self, attachment: Attachment, method: Method, why: SessionEvent, detail: str) -> bool:
        """End what a method has proved at a place; whether it had."""
        session = self.at(attachment)
        proofs = proofs_by(session, method)
        if session is not None:
            for proof in proofs:
                self._sessions.change_proof(session.number, proof, None, why, detail)
        return bool(proofs)

    def failed(self, supplicant: Supplicant, why: LoginRefusal, explanation: str) -> None:
        """Nobody was authenticated. A server that was there and said no ends what it had said yes to before."""
        exchange, attachment = supplicant.exchange, supplicant.attachment
        self._state.counters["dot1x_refused"] += 1
        self._refused(attachment, self._account(supplicant), why, explanation)
        if why not in UNHEARD:
            exchange.renewing = False
            self.end(attachment, "mab" if exchange.bypass else "dot1x", SessionEvent.NOT_RENEWED, why.value)

    def _account(self, supplicant: Supplicant) -> str:
        """Who the log names: nobody whom identities.yaml does not list. People type passwords into the wrong field."""
        directory = self._prover.directory()
        if supplicant.exchange.bypass:
            return f"device:{directory.device_at(supplicant.attachment.mac) or '(unknown)'}"
        name = (supplicant.exchange.identity or "").removeprefix("host/")
        if name in directory.users:
            return f"user:{name}"
        return f"device:{name}" if name in directory.devices else "user:(unknown)"
