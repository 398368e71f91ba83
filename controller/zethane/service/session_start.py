"""How a session begins: what a proof has to meet at its place, further addresses, and sessions of the last run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zethane.audit.reason import DenyReason, SessionEvent
from zethane.errors import AccountRefusal, AddressInUse, PortRefusal, SessionError
from zethane.identity.proof import Proof, goes_on, proofs_with
from zethane.identity.session import Attachment, Endpoint, Session
from zethane.policy.principal import Principal
from zethane.service.address_binding import AddressBinding
from zethane.service.clearing import Clearing
from zethane.service.enforcement import Enforcement
from zethane.service.journal import Denied
from zethane.service.leasing import Leasing
from zethane.service.points import Point
from zethane.service.port_security import check_address, check_room, check_vlan, place_of, usable_place, usable_point
from zethane.service.relations import place
from zethane.service.session_life import SessionLife
from zethane.service.sessions import Live
from zethane.service.state import State
from zethane.service.store import SessionStore


class SessionStart:
    """Lets sessions begin, and get addresses."""

    def __init__(
        self,
        state: State,
        store: SessionStore,
        enforcement: Enforcement,
        life: SessionLife,
        leasing: Leasing,
        binding: AddressBinding,
        clearing: Clearing,
    ) -> None:
        self._state = state
        self._clearing = clearing
        self._store = store
        self._enforcement = enforcement
        self._life = life
        self._leasing = leasing
        self._binding = binding

    def restore(self, sessions: Sequence[Session]) -> None:
        """Take up sessions of the last run that have not ended; the policy may have moved them."""
        now = self._state.clock()
        for session in sessions:
            reason = self._restore(session, now)
            if reason is not None:
                self._store.end(session.number)
                self._state.journal.session(reason, session, "at start", now)

    def _restore(self, session: Session, now: float) -> SessionEvent | None:
        """Take up one session; the reason if it cannot go on."""
        refused = self._refused_account(session, now)
        if refused is not None:
            return refused
        proofs = tuple(proof for proof in session.proofs if proof.ends > now)
        if not proofs:
            return SessionEvent.EXPIRED
        principal = self._state.principal(proofs)
        if (proofs, principal) != (session.proofs, session.principal):
            session = replace(session, proofs=proofs, principal=principal)
        standing = place(self._state, self._state.policy, principal, now)
        attachment = session.attachment
        point = self._state.fabric.points.get(attachment.dpid)
        if point is None or not point.is_edge(attachment.port):
            return SessionEvent.NO_PORT
        if standing is None:
            return SessionEvent.NO_SEGMENT
        leased = tuple(one for one in session.addresses if self._leasing.may_bind(Endpoint(attachment, one)))
        if session.addresses and not leased and not session.is_below_ip:
            return SessionEvent.LEASE_ENDED
        try:
            check_vlan(self._state.policy, standing.segment, attachment.vlan)
            session = self._life.in_segment(session, standing.segment)
            if leased != session.addresses:
                session = replace(session, addresses=leased)
            self._life.enter(session, standing, self._still_allowed(session))
        except PortRefusal as refusal:
            return SessionEvent(refusal.reason)
        except SessionError:
            return SessionEvent.CONFLICT
        return None

    def _refused_account(self, session: Session, now: float) -> SessionEvent | None:
        """Why a session of the last run may not go on by who is in it: the accounts were blocked or disabled since."""
        accounts = {proof.account for proof in session.proofs}
        if session.device is not None:
            accounts.add(f"device:{session.device}")
        refusals = (self._state.accounts.refusal(account, now) for account in sorted(accounts))
        refusal = next((one for one in refusals if one is not None), None)
        return None if refusal is None else SessionEvent(refusal.value)

    def _still_allowed(self, session: Session) -> Point:
        """Hold a session of the last run against the ports as they are described now. Raises SessionError."""
        fabric, attachment = self._state.fabric, session.attachment
        point = place_of(fabric, attachment)
        port = point.switch.port(attachment.port)
        for address in session.addresses:
            check_address(fabric, port, Endpoint(attachment, address))
        check_room(self._state.sessions, port, attachment)
        return point

    def start(self, attachment: Attachment, proof: Proof, address: bytes | None, device: str | None) -> Session:
        """Bind a principal that has just proved itself, or renew or extend the session there.

        Without an address (a proof below IP) the session gets those that its host uses. A user who proves herself
        where a device has done so, or the other way round, has one session with both proofs.
        Raises AddressInUse, SessionError, CapacityError.
        """
        try:
            return self._start(attachment, proof, address, device)
        except PortRefusal as refusal:
            self._refused(attachment, refusal.reason)
            raise

    def _start(self, attachment: Attachment, proof: Proof, address: bytes | None, device: str | None) -> Session:
        state = self._state
        now = state.clock()
        self._check_accounts(attachment, proof, device)
        here = state.sessions.at(attachment)
        # What has just ended, and has not been looked at yet, is joined by nobody.
        before = tuple(known for known in here.session.proofs if known.ends > now) if here is not None else ()
        standing = place(state, state.policy, state.principal(proofs_with(before, proof)), now)
        if standing is None:
            raise SessionError("the policy has no single segment for this principal")
        proof = self._life.limited(proof, standing.segment)
        if proof.ends <= now:
            raise SessionError("what was proved is too old")
        proofs = proofs_with(before, proof)
        point = usable_place(state.fabric, attachment)
        if address is not None:
            check_address(state.fabric, point.switch.port(attachment.port), Endpoint(attachment, address))
        check_vlan(state.policy, standing.segment, attachment.vlan)
        check_room(state.sessions, point.switch.port(attachment.port), attachment)
        principal = state.principal(proofs)
        moving = self._moving(attachment, address, principal)
        self._check_lease(attachment, address, moving)
        if here is not None and goes_on(before, proofs):
            return self._life.renew(here, address, proofs, _event(before, proofs))
        self._make_room(attachment, address, moving)
        session = Session(
            number=self._store.new_number(self._is_in_use),
            principal=principal,
            attachment=attachment,
            addresses=(address,) if address is not None else (),
            segment=standing.segment,
            started=now,
            proofs=proofs,
            device=device,
        )
        self._store.save(session)
        self._life.enter(session, standing, point)
        state.journal.session(SessionEvent.STARTED, session, "", now)
        return session

    def _is_in_use(self, number: int) -> bool:
        """Whether something in a switch, or the record of a flow, may still be about a session of this number."""
        state = self._state
        return number in state.sessions.by_number or state.flows.is_closing(number) or self._clearing.names(number)

    def _check_accounts(self, attachment: Attachment, proof: Proof, device: str | None) -> None:
        """Raise AccountRefusal if an account is blocked or disabled: who proves itself, and the machine there."""
        here = self._state.sessions.at(attachment)
        present = here.session.proofs if here is not None else ()
        accounts = {proof.account, *(known.account for known in present if known.kind == "device")}
        if device is not None:
            accounts.add(f"device:{device}")
        for account in sorted(accounts):
            refusal = self._state.accounts.refusal(account, self._state.clock())
            if refusal is not None:
                raise AccountRefusal(f"{account} is {refusal.value}", refusal.value)

    def _refused(self, attachment: Attachment, reason: str) -> None:
        """Log and count what port security did not let in."""
        switch = self._state.fabric.points[attachment.dpid].switch.name
        self._state.deny(
            Denied(DenyReason(reason), switch, attachment.port, None, attachment.mac.to_bytes(6, "big"), None, None)
        )

    def _moving(self, attachment: Attachment, address: bytes | None, principal: Principal) -> Live | None:
        """The session of the same principal elsewhere that has the address: its host has moved here."""
        holder = self._state.sessions.by_address.get(address) if address is not None else None
        if holder is None or holder.session.attachment == attachment:
            return None
        same = _same_principal(holder.session.principal, principal)
        return holder if same and holder.session.attachment.mac == attachment.mac else None

    def _check_lease(self, attachment: Attachment, address: bytes | None, moving: Live | None = None) -> None:
        """Raise AddressInUse, PortRefusal for an address that DHCP has not given to this host, here or moving."""
        if address is None:
            return
        if self._leasing.may_bind(Endpoint(attachment, address), moving.session.attachment if moving else None):
            return
        if self._state.leases.holder(address, self._state.clock()) is not None:
            raise AddressInUse("the address is leased to another host")
        raise PortRefusal("the port takes only what DHCP has leased to this host", DenyReason.ADDRESS_NOT_ALLOWED.value)

    def _make_room(self, attachment: Attachment, address: bytes | None, moving: Live | None) -> None:
        """End what the new session replaces: another principal's at the same place, or its own that has moved."""
        sessions = self._state.sessions
        holder = sessions.by_address.get(address) if address is not None else None
        here = sessions.at(attachment)
        if holder is not None and holder is not here and address is not None:
            if holder is not moving:
                raise AddressInUse("another session holds this address")
            self._life.end(holder, SessionEvent.MOVED)
            self._leasing.move(Endpoint(attachment, address))
        if here is not None:
            self._life.end(here, SessionEvent.REPLACED)

    def claim_address(self, endpoint: Endpoint, number: int) -> Session:
        """Add an address to the session at the same attachment. Raises AddressInUse, SessionError."""
        try:
            usable_point(self._state.fabric, endpoint)
            self._check_lease(endpoint.attachment, endpoint.address)
        except PortRefusal as refusal:
            self._refused(endpoint.attachment, refusal.reason)
            raise
        live = self._state.sessions.at(endpoint.attachment)
        if live is None or live.session.number != number:
            raise SessionError("the session is not at this place")
        self._binding.make_room(live)
        self._state.sessions.add_address(live, endpoint.address)
        taken = tuple(address for address in live.session.taken if address != endpoint.address)
        live.session = replace(live.session, taken=taken)
        self._enforcement.session_changed(live)
        self._store.save(live.session)
        self._state.journal.session(SessionEvent.ADDRESS_CLAIMED, live.session, "", self._state.clock())
        return live.session


def _event(before: tuple[Proof, ...], proofs: tuple[Proof, ...]) -> SessionEvent:
    """What has happened to a session that goes on: somebody has come, has gone, or has proved itself again."""
    known = {proof.account for proof in before}
    now = {proof.account for proof in proofs}
    if now - known:
        return SessionEvent.JOINED
    return SessionEvent.LEFT if known - now else SessionEvent.REAUTHENTICATED


def _same_principal(first: Principal, second: Principal) -> bool:
    return (first.kind, first.name) == (second.kind, second.name)
