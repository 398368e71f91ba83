"""The life of a session once it is there: its leases, what changes it, and its end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import replace
from typing import Any

from zethane.audit.reason import SessionEvent
from zethane.errors import CapacityError, SessionError
from zethane.identity.proof import Proof
from zethane.identity.session import Session
from zethane.identity.sources.times import Lengths
from zethane.service.delivery import settle
from zethane.service.enforcement import Enforcement
from zethane.service.flow_review import carry, close_flows, review
from zethane.service.flows import LiveFlow
from zethane.service.leases import Lease, LeaseEnd
from zethane.service.points import Point
from zethane.service.policy_in_force import Standing
from zethane.service.relations import place
from zethane.service.sessions import LEAD, Live
from zethane.service.state import State
from zethane.service.store import SessionStore

RENEWED_AT_ONCE = 2
"""Leases that are renewed in one tick: those of all sessions that there may be within three hours."""

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class SessionLife:
    """Carries what happens to live sessions to the table, the store, the switches and the journal."""

    def __init__(
        self,
        state: State,
        store: SessionStore,
        enforcement: Enforcement,
        spawn: Spawn,
        ended: Callable[[Live], None],
    ) -> None:
        """`ended` is called with every session that ends, before its entries go."""
        self._state = state
        self._store = store
        self._enforcement = enforcement
        self._spawn = spawn
        self._ended = ended

    def enter(self, session: Session, standing: Standing, point: Point) -> None:
        """Put a session in force that is in the store. Raises AddressInUse, SessionError, CapacityError."""
        now = self._state.clock()
        mac = session.attachment.mac.to_bytes(6, "big")
        live = Live(session, standing.session_class, point.number, mac, until=standing.until, heard=now, stood=now)
        live.by_address = self._classes_at(session, standing, now)
        self._state.sessions.add(live)
        self._enforcement.session_started(live)
        self._lease(live)

    def _classes_at(self, session: Session, standing: Standing, moment: float) -> dict[bytes, int]:
        return self._state.policy.classes_at(standing.segment, session.principal, session.addresses, moment)

    def _lease(self, live: Live) -> None:
        self._state.sessions.lease(live, self._state.clock())

    # what changes a session

    def rest_on(self, live: Live, proofs: tuple[Proof, ...], event: SessionEvent, detail: str = "") -> None:
        """Let a session rest on these proofs from now on. It ends if the policy has no place for what is left.

        Raises CapacityError if that cannot be kept, and nothing has changed then.
        """
        if not self._change(live, proofs, event, detail, self._state.clock()):
            self.end(live, event, detail)

    def _change(
        self, live: Live, proofs: tuple[Proof, ...], event: SessionEvent | None, detail: str, moment: float
    ) -> bool:
        """The same for what holds at a moment that may be somewhat ahead; False if the session has to end.

        Without an event nothing is told, unless it leads to another class or other facts.
        """
        state, before, classes_before = self._state, live.session, (live.session_class, live.by_address)
        standing = place(state, state.policy, state.principal(proofs), moment) if proofs else None
        if standing is None or not state.policy.allows_vlan(standing.segment, before.attachment.vlan):
            return False
        if standing.segment != before.segment:
            proofs = self._acting_limited(proofs, standing.segment)
        if min(proof.ends for proof in proofs) <= state.clock():
            return False
        session = replace(before, principal=state.principal(proofs), proofs=proofs, segment=standing.segment)
        is_new = (session.proofs, session.segment) != (before.proofs, before.segment)
        if is_new:
            self._store.save(session)
        told = event or SessionEvent.CHANGED
        self._restand(live, session, standing, told.value, moment)
        moved = (live.session_class, live.by_address) != classes_before
        # Other facts are told of even where this policy asks for none of them: another one may be held against the log.
        is_other = session.principal != before.principal
        if moved or is_other or (is_new and event is not None) or event == SessionEvent.REAUTHENTICATED:
            state.journal.session(told, session, detail, state.clock())
        return True

    def _restand(self, live: Live, session: Session, standing: Standing, why: str, moment: float) -> None:
        """Put another standing of a session in force, as of a moment: only the flows end that it does not allow."""
        ends, is_other = live.ends, session.principal != live.session.principal
        self._state.sessions.change(live, session, standing.until)
        if live.stand(standing.session_class, self._classes_at(session, standing, moment), moment):
            pending = self._enforcement.session_moved(live, carry(self._state, [live], f"session-{why}"))
            if pending:
                self._spawn(settle(self._state, pending))
        else:
            if is_other and self._state.policy.has_relations:
                self._review(self._state.flows.of_session(session.number), f"session-{why}")
            if ends == live.ends:
                return
            self._enforcement.session_changed(live)
        self._lease(live)

    def _review(self, flows: Iterable[LiveFlow], why: str) -> None:
        """Who is at one end of these flows is another one now, in the same class: relations may not hold any more."""
        pending = self._enforcement.flows_reviewed(review(self._state, flows, why))
        if pending:
            self._spawn(settle(self._state, pending))

    def renew(self, live: Live, address: bytes | None, proofs: tuple[Proof, ...], event: SessionEvent) -> Session:
        """A principal has proved itself at the session's place, again or as well: it goes on, with a new lease.

        Raises AddressInUse, CapacityError, SessionError if the session has ended with it.
        """
        is_new = address is not None and address not in live.session.addresses
        if address is not None:
            self._state.sessions.add_address(live, address)
        self.rest_on(live, proofs, event)
        if self._state.sessions.by_number.get(live.session.number) is not live:
            raise SessionError("what else the session rests on has ended")
        if is_new:
            self._enforcement.session_changed(live)
            self._store.save(live.session)
        return live.session

    def in_segment(self, session: Session, segment: str) -> Session:
        """A session as it is in a segment: with the segment's times, if they are shorter."""
        if segment == session.segment:
            return session
        return replace(session, segment=segment, proofs=self._acting_limited(session.proofs, segment))

    def _acting_limited(self, proofs: tuple[Proof, ...], segment: str) -> tuple[Proof, ...]:
        """A segment's times are for who acts in it, and so has brought the session there."""
        return (self.limited(proofs[0], segment), *proofs[1:])

    def limited(self, proof: Proof, segment: str) -> Proof:
        """A proof with the times that apply to it in a segment; the shortest counts."""
        state = self._state
        default = Lengths(state.limits.session_lifetime, state.limits.reauthenticate_after)
        lengths = state.times.lengths(proof.method, segment, default)
        return replace(
            proof,
            expires=min(proof.expires, proof.at + lengths.lifetime),
            reauthenticate=min(proof.reauthenticate, proof.at + lengths.reauthenticate),
            idle=min(proof.idle, lengths.idle),
        )

    def change_proof(
        self, number: int, proof: Proof, changed: Proof | None, reason: SessionEvent | None, detail: str
    ) -> bool:
        """Put `changed` in the place of one proof of a session, or end that proof; False if there is no such proof.

        What is in no single segment with the changed proof goes on without it. A session whose last proof ends, or that
        is in no single segment with what is left, ends with it. Without a reason only times have moved: that is no
        event.
        """
        live = self._state.sessions.by_number.get(number)
        if live is None or proof not in live.session.proofs:
            return False
        ending = reason or SessionEvent.CHANGED
        if changed is None:
            self.leave(live, (proof,), ending, detail)
            return True
        if changed.account != proof.account:
            raise SessionError("a proof of one principal cannot become one of another")
        changed = self.limited(changed, live.session.segment)
        proofs = tuple(changed if known == proof else known for known in live.session.proofs)
        if proofs == live.session.proofs:
            return True
        try:
            if not self._change(live, proofs, reason, detail, self._state.clock()):
                self.leave(live, (proof,), ending, detail)  # who it is about is in no segment: others may be
        except CapacityError:
            self.end(live, ending, detail)  # as in leave: no session rather than one that is too good
        return True

    def leave(self, live: Live, gone: Iterable[Proof], reason: SessionEvent, detail: str = "") -> None:
        """End some proofs of a session. It goes on with the others if they can stand alone."""
        ended = tuple(gone)
        left = tuple(proof for proof in live.session.proofs if proof not in ended)
        names = ", ".join(proof.account for proof in ended)
        why = f"{names}: {reason.value}" + (f" ({detail})" if detail else "")
        try:
            goes_on = self._change(live, left, SessionEvent.LEFT, why, self._state.clock())
        except CapacityError:
            # What cannot be kept would be forgotten by a restart: no session rather than one that is too good.
            goes_on = False
        if not goes_on:
            self.end(live, reason, detail)

    def end_account(self, account: str, reason: SessionEvent, detail: str = "") -> list[int]:
        """End what an account has proved, everywhere, and its sessions where nothing else is left.

        A device's sessions end as a whole, with whoever is on it, and also where only its MAC says that it is there.
        Returns the numbers of the sessions concerned.
        """
        found, ending, staying = [], [], []
        for live in self._state.sessions.named(account):
            session = live.session
            proofs = tuple(proof for proof in session.proofs if proof.account == account)
            on_device = account.startswith("device:") and (bool(proofs) or f"device:{session.device}" == account)
            if on_device or (proofs and len(proofs) == len(session.proofs)):
                ending.append(live)
            elif proofs:
                staying.append((live, proofs))
            if on_device or proofs:
                found.append(session.number)
        self.end_each(ending, reason, detail)
        for live, proofs in staying:
            self.leave(live, proofs, reason, detail)
        return found

    def logout(self, number: int) -> bool:
        """Who acts has logged out. The device that has proved itself there goes on. False if there is no session."""
        live = self._state.sessions.by_number.get(number)
        if live is None:
            return False
        users = tuple(proof for proof in live.session.proofs if proof.kind != "device")
        self.leave(live, users or live.session.proofs, SessionEvent.LOGOUT)
        return True

    def look_again(self, live: Live, event: SessionEvent = SessionEvent.CHANGED, detail: str = "") -> None:
        """Something that conditions ask about has changed: put in force what follows. Raises CapacityError."""
        self.rest_on(live, live.session.proofs, event, detail)

    def look_at_device(self, name: str) -> None:
        """The same for every session that a device has proved itself in. What cannot be kept ends."""
        for live in self._state.sessions.named(f"device:{name}"):
            if any(proof.kind == "device" and proof.name == name for proof in live.session.proofs):
                try:
                    self.look_again(live, detail=f"device:{name}")
                except CapacityError:
                    self.end(live, SessionEvent.CHANGED, f"device:{name}")

    # its end

    def end_session(self, number: int, reason: SessionEvent) -> bool:
        """End one session; False if there is none."""
        live = self._state.sessions.by_number.get(number)
        if live is None:
            return False
        self.end(live, reason)
        return True

    def end(self, live: Live, reason: SessionEvent, detail: str = "") -> None:
        """End a session: no packet of it passes any switch from here on."""
        self.end_each((live,), reason, detail)

    def end_each(self, lives: Collection[Live], reason: SessionEvent, detail: str = "") -> None:
        """End sessions: no packet of any of them passes any switch from here on."""
        state = self._state
        for live in lives:
            self._ended(live)
            # First of all, and written at once: what there is to do for ten thousand flows can wait, the switches not.
            self._enforcement.session_barred(live)
        for live in lives:
            flows = close_flows(state, live, f"session-{reason.value}")
            self._enforcement.session_ended(live, flows)
            state.sessions.remove(live)
            state.counters["sessions_ended"] += 1
            state.journal.session(reason, live.session, detail, state.clock())
            self._store.end(live.session.number)

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
        close_flows(self._state, live, SessionEvent.ADDRESS_RELEASED.value, lease.address)
        self._enforcement.address_released(live, lease.address)
        self._state.sessions.remove_address(live, lease.address)
        self._store.save(live.session)
        self._state.journal.session(SessionEvent.ADDRESS_RELEASED, live.session, why.value, self._state.clock())

    # time

    def tick(self, now: float) -> None:
        """End what has come to its end, and renew leases that run out before their session."""
        for live in self._state.sessions.due(now):
            self._look(live, now)
        for _ in range(RENEWED_AT_ONCE):
            leased = self._state.sessions.to_renew(now)
            if leased is None:
                break
            self._lease(leased)
            self._enforcement.session_changed(leased)

    def _look(self, live: Live, now: float) -> None:
        """A session is due: its proofs end, or one of several does, or a condition lapses."""
        session = live.session
        ended = tuple(proof for proof in session.proofs if proof.ends <= session.ends)
        if now >= session.ends or (len(ended) < len(session.proofs) and now >= session.ends - LEAD):
            self.leave(live, ended, SessionEvent.EXPIRED)
            return
        if not self._change(live, session.proofs, SessionEvent.CHANGED, "a condition has lapsed", live.until):
            self.end(live, SessionEvent.NO_SEGMENT)
