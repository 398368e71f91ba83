"""Accounting (RFC 2866) for sessions whose proofs RADIUS gave: when a record is due, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from zethane.audit.reason import SessionEvent
from zethane.identity.proof import Proof
from zethane.identity.session import Attachment, Session
from zethane.service.counts import Counts
from zethane.service.radius import INTERIM, ISSUER, NAS_PORT_ID, classes_of
from zethane.service.state import State
from zethane.service.usage import Usage

MIN_INTERIM = 60.0
"""Seconds: a server may not want interim records more often (RFC 2869 §2.1)."""

MIN_BETWEEN = 5.0
"""Seconds between two records of a session, whatever its addresses do."""

LAST_COUNTERS = 10.0
"""Seconds that a session's last record waits for the counters of its flows."""

_CAUSES = {
    SessionEvent.LOGOUT: 1,  # User Request
    SessionEvent.MOVED: 2,  # Lost Carrier: the host is somewhere else
    SessionEvent.PORT_DOWN: 2,
    SessionEvent.DETACHED: 2,
    SessionEvent.LEASE_ENDED: 3,  # Lost Service
    SessionEvent.IDLE: 4,  # Idle Timeout
    SessionEvent.EXPIRED: 5,  # Session Timeout
    SessionEvent.REVOKED: 6,  # Admin Reset
    SessionEvent.DISABLED: 6,
    SessionEvent.BLOCKED: 6,
    SessionEvent.DISCONNECTED: 6,
    SessionEvent.SIGNALLED: 6,
    SessionEvent.CREDENTIAL_REVOKED: 6,
    SessionEvent.REPLACED: 13,  # Port Preempted
    SessionEvent.NOT_RENEWED: 20,  # Reauthentication Failure (RFC 3580 §2.3)
}
_NAS_REQUEST = 10

_ADDRESSES = frozenset({SessionEvent.ADDRESS_BOUND, SessionEvent.ADDRESS_CLAIMED, SessionEvent.ADDRESS_RELEASED})

Status = Literal["start", "stop", "interim"]


@dataclass(frozen=True, slots=True)
class AccountingRecord:
    """One record. `at` is when what it tells of happened, in seconds since the epoch; `session_time` a length."""

    status: Status
    session_id: str
    user_name: str
    attachment: Attachment
    port_name: str
    addresses: tuple[bytes, ...]
    classes: tuple[bytes, ...]
    at: float
    session_time: float
    counts: Counts
    cause: int | None = None
    """Acct-Terminate-Cause (RFC 2866 §5.10)."""


@dataclass(slots=True)
class _Followed:
    """One authentication of a session that is accounted for."""

    session: Session
    proof: Proof
    started: float
    told: float
    due: float


@dataclass(frozen=True, slots=True, eq=False)
class _Stopped:
    followed: _Followed
    at: float
    cause: int


class RadiusAccounting:
    """Watches sessions, and hands records to `send`. `interim` is the interval in seconds unless the server says."""

    def __init__(self, state: State, usage: Usage, send: Callable[[AccountingRecord], None], interim: float) -> None:
        self._state = state
        self._usage = usage
        self._send = send
        self._interim = interim
        self._followed: dict[tuple[int, str], _Followed] = {}
        self._by_number: dict[int, set[str]] = {}
        self._stopped: list[_Stopped] = []

    def resume(self, session: Session) -> None:
        """A session of the controller's last run: its start was told then."""
        for proof in _given(session):
            self._follow(session, proof, session.started)

    def session_event(self, event: SessionEvent, session: Session, detail: str, now: float) -> None:  # noqa: ARG002
        """Something has happened to a session."""
        number = session.number
        lives = number in self._state.sessions.by_number
        given = {proof.reference: proof for proof in _given(session)} if lives else {}
        for reference in self._by_number.get(number, set()) - given.keys():
            self._stop(number, reference, event, now)
        for reference, proof in given.items():
            followed = self._followed.get((number, reference))
            if followed is None:
                followed = self._follow(session, proof, now)
                self._send(self._record(followed, "start", now, Counts()))
            else:
                followed.session, followed.proof = session, proof
                if event in _ADDRESSES:
                    followed.due = min(followed.due, max(now, followed.told + MIN_BETWEEN))

    def _follow(self, session: Session, proof: Proof, started: float) -> _Followed:
        now = self._state.clock()
        followed = _Followed(session, proof, started, now, now + self._interval(proof))
        self._followed[session.number, proof.reference] = followed
        self._by_number.setdefault(session.number, set()).add(proof.reference)
        self._usage.follow(session.number)
        return followed

    def _stop(self, number: int, reference: str, event: SessionEvent, now: float) -> None:
        followed = self._followed.pop((number, reference))
        self._by_number[number].discard(reference)
        if not self._by_number[number]:
            del self._by_number[number]
        self._stopped.append(_Stopped(followed, now, _CAUSES.get(event, _NAS_REQUEST)))

    async def finish(self) -> None:
        """Send the last records of what has ended, with what is known: there will be no other moment."""
        await self._send_stops(self._state.clock(), patience=0.0)

    async def tick(self) -> None:
        """Send the records that are due."""
        now = self._state.clock()
        for key, followed in tuple(self._followed.items()):
            if followed.due <= now:
                counts = await self._usage.read(key[0])
                followed.told, followed.due = now, now + self._interval(followed.proof)
                if self._followed.get(key) is followed:
                    self._send(self._record(followed, "interim", now, counts))
        await self._send_stops(now, LAST_COUNTERS)

    async def _send_stops(self, now: float, patience: float) -> None:
        for stopped in tuple(self._stopped):
            number = stopped.followed.session.number
            if self._usage.is_final(number) or now - stopped.at >= patience:
                counts = await self._usage.read(number)
                if stopped not in self._stopped:
                    continue
                self._stopped.remove(stopped)
                record = self._record(stopped.followed, "stop", stopped.at, counts)
                self._send(replace(record, cause=stopped.cause))
                self._forget(number)

    def _forget(self, number: int) -> None:
        waiting = (stopped.followed.session.number for stopped in self._stopped)
        if number not in self._by_number and number not in waiting:
            self._usage.forget(number)

    def _interval(self, proof: Proof) -> float:
        wanted = dict(proof.attributes).get(INTERIM)
        return self._interim if wanted is None else max(MIN_INTERIM, float(wanted))

    @staticmethod
    def _record(followed: _Followed, status: Status, at: float, counts: Counts) -> AccountingRecord:
        session, proof = followed.session, followed.proof
        return AccountingRecord(
            status,
            proof.reference,
            proof.subject or proof.name,
            session.attachment,
            dict(proof.attributes).get(NAS_PORT_ID, ""),
            session.addresses,
            classes_of(proof),
            at,
            max(0.0, at - followed.started),
            counts,
        )


def _given(session: Session) -> Iterator[Proof]:
    """The proofs that a RADIUS server gave."""
    return (proof for proof in session.proofs if proof.issuer.startswith(ISSUER))
