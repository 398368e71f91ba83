"""The life of a session once it is there: its leases, what changes it, and its end."""

from __future__ import annotations

from dataclasses import replace

from zethane.audit.reason import SessionEvent
from zethane.identity.proof import Proof, acting
from zethane.identity.session import Session
from zethane.pipeline.bindings import MAX_LEASE
from zethane.policy.principal import Principal
from zethane.service.enforcement import Enforcement
from zethane.service.leases import Lease, LeaseEnd
from zethane.service.points import Point
from zethane.service.policy_in_force import Standing
from zethane.service.sessions import Live
from zethane.service.state import State
from zethane.service.store import SessionStore

LEASE_INTERVAL = 60.0
"""Seconds between looks for leases to renew: far less than half of MAX_LEASE."""


class SessionLife:
    """Carries what happens to live sessions to the table, the store, the switches and the journal."""

    def __init__(self, state: State, store: SessionStore, enforcement: Enforcement) -> None:
        self._state = state
        self._store = store
        self._enforcement = enforcement
        self._leased: dict[int, float] = {}
        self._leases_due = 0.0

    def enter(self, session: Session, session_class: int, point: Point) -> None:
        """Put a session in force that is in the store. Raises AddressInUse, SessionError, CapacityError."""
        live = Live(session, session_class, point.number, session.attachment.mac.to_bytes(6, "big"))
        self._state.sessions.add(live)
        self._enforcement.session_started(live)
        self._lease(live)

    def _lease(self, live: Live) -> None:
        self._leased[live.session.number] = min(live.session.ends, self._state.clock() + MAX_LEASE)

    def renew(
        self,
        live: Live,
        address: bytes | None,
        principal: Principal,
        proofs: tuple[Proof, ...],
        place: Standing,
        now: float,
    ) -> Session:
        """A principal of the session has proved itself again at the same place: it goes on, with a new lease."""
        if address is not None:
            self._state.sessions.add_address(live, address)
        session = replace(live.session, principal=principal, proofs=proofs, segment=place[0])
        self._change(live, session, place[1], "reauthenticated")
        self._state.journal.session(SessionEvent.REAUTHENTICATED, session, "", now)
        return session

    def _change(self, live: Live, session: Session, session_class: int, why: str) -> None:
        """Put another standing of a session in force."""
        state = self._state
        if session_class != live.session_class:
            # Another class is another standing: what the old one had open is decided again, packet by packet.
            self._close_flows(live, why, remember=True)
            self._enforcement.session_ended(live)
            state.sessions.change(live, session)
            live.session_class = session_class
            self._enforcement.session_started(live)
        else:
            state.sessions.change(live, session)
            self._enforcement.session_changed(live)
        self._lease(live)
        self._store.save(session)

    def change_proof(
        self, number: int, proof: Proof, changed: Proof | None, reason: SessionEvent | None, detail: str
    ) -> bool:
        """Put `changed` in the place of one proof of a session, or end that proof; False if there is no such proof.

        A session whose last proof ends, or that is in no single segment with what is left, ends with it. Without a
        reason only times have moved: that is no event.
        """
        live = self._state.sessions.by_number.get(number)
        if live is None or proof not in live.session.proofs:
            return False
        proofs = tuple(changed if known == proof else known for known in live.session.proofs)
        left = tuple(known for known in proofs if known is not None)
        place = self._state.policy.place(acting(left), self._state.clock()) if left else None
        if place is None or not self._state.policy.allows_vlan(place[0], live.session.attachment.vlan):
            self.end(live, reason or SessionEvent.NO_SEGMENT, detail)
            return True
        session = replace(live.session, principal=acting(left), proofs=left, segment=place[0])
        self._change(live, session, place[1], (reason or SessionEvent.CHANGED).value)
        if reason is not None:
            self._state.journal.session(reason, session, detail, self._state.clock())
        return True

    def end_session(self, number: int, reason: SessionEvent) -> bool:
        """End one session; False if there is none."""
        live = self._state.sessions.by_number.get(number)
        if live is None:
            return False
        self.end(live, reason)
        return True

    def end(self, live: Live, reason: SessionEvent, detail: str = "") -> None:
        """End a session: no packet of it passes any switch from here on."""
        state = self._state
        self._close_flows(live, f"session-{reason.value}", remember=False)
        self._enforcement.session_ended(live)
        state.sessions.remove(live)
        self._leased.pop(live.session.number, None)
        state.counters["sessions_ended"] += 1
        state.journal.session(reason, live.session, detail, state.clock())
        self._store.end(live.session.number)

    def _close_flows(self, live: Live, why: str, *, remember: bool, address: bytes | None = None) -> None:
        """Take a session's flows out of force; with an address only those that have it at one end."""
        state = self._state
        now = state.clock()
        for flow in state.flows.of_session(live.session.number):
            if address is not None and address not in (flow.key.src, flow.key.dst):
                continue
            subject = state.party(flow.subject)
            if subject is not None:
                subject.closes(flow.key.src)
            state.flows.close(flow, why, now)
            if remember:
                state.flows.remember(flow.afresh())

    def lease_granted(self, lease: Lease) -> None:
        """An address of a session is leased for longer: so long its bindings hold."""
        live = self._state.sessions.at(lease.attachment)
        if live is not None and lease.address in live.session.addresses:
            self._enforcement.session_changed(live)

    def lease_ended(self, lease: Lease, why: LeaseEnd) -> None:
        """A DHCP lease has ended: the address is no session's any more; without another one the session ends."""
        live = self._state.sessions.at(lease.attachment)
        if live is None or lease.address not in live.session.addresses:
            return
        if live.session.addresses == (lease.address,) and not live.session.is_below_ip:
            self.end(live, SessionEvent.LEASE_ENDED)
            return
        self._close_flows(live, SessionEvent.ADDRESS_RELEASED.value, remember=False, address=lease.address)
        self._enforcement.address_released(live, lease.address)
        self._state.sessions.remove_address(live, lease.address)
        self._store.save(live.session)
        self._state.journal.session(SessionEvent.ADDRESS_RELEASED, live.session, why.value, self._state.clock())

    # time

    def tick(self, now: float) -> None:
        """End what has come to its end, and renew leases that run out before their session."""
        for live in self._state.sessions.expired(now):
            self.end(live, SessionEvent.EXPIRED)
        if now >= self._leases_due:
            self._leases_due = now + LEASE_INTERVAL
            self._renew_leases(now)

    def _renew_leases(self, now: float) -> None:
        """Sessions longer than a lease can be get another one while half of the old is still there."""
        for live in self._state.sessions:
            until = self._leased[live.session.number]
            if until < live.session.ends and until - now < MAX_LEASE / 2:
                self._lease(live)
                self._enforcement.session_changed(live)
