"""Sessions on the word of the platform: which ports it vouches for, and for how long that holds.

A session is there while the platform says so, and says it again in time: each sign of life of its OVSDB is good for a
lease. When it falls silent, leases run out and the sessions with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from zethane.audit.reason import SessionEvent
from zethane.errors import CapacityError, SessionError
from zethane.identity.directory import Directory
from zethane.identity.platform import Attested, Said, VirtualInterface, attest
from zethane.identity.proof import Method, Proof
from zethane.identity.session import Attachment, Endpoint, Session
from zethane.service.facade import ControllerFacade
from zethane.service.sources import SourceState, SourceView

METHOD: Method = "attestation"
AAL = 1
"""What the platform vouches for holds at that port; the workload itself has proved nothing more."""

SPACING = 0.05
"""Seconds between two looks at what the platform says, however fast it changes its mind."""

FIRST_RETRY, LAST_RETRY = 0.5, 5.0
"""Seconds until a session that was refused is tried again: its port may come up, or another session there end."""

MAX_LOGGED = 16
"""Findings that are logged after a change."""

_ENDED_BY_WILL = frozenset(
    (
        SessionEvent.REVOKED,
        SessionEvent.LOGOUT,
        SessionEvent.BLOCKED,
        SessionEvent.SIGNALLED,
        SessionEvent.DISCONNECTED,
    )
)
"""Ends that somebody wanted: the platform's word does not bring such a session back, until it has another word."""

_log = structlog.get_logger("zethane.ovsdb")


@dataclass(frozen=True, slots=True)
class _Refused:
    """A session that could not begin: why, how long it was to wait, and when it is tried again."""

    why: str
    wait: float
    again: float


class Vouching:
    """What one OVSDB says, and the sessions that rest on it. `switches` are those that it may vouch for."""

    def __init__(
        self,
        name: str,
        lease: float,
        facade: ControllerFacade,
        directory: Callable[[], Directory],
        clock: Callable[[], float],
        switches: Set[int],
        others: Set[int],
    ) -> None:
        self._name = name
        self._lease = lease
        self._facade = facade
        self._directory = directory
        self._clock = clock
        self._switches = switches
        self._others = others
        self._interfaces: Callable[[], Iterable[VirtualInterface]] = tuple
        self._said = Said()
        self._held: dict[Attachment, Attested] = {}
        self._addresses: dict[Attachment, tuple[bytes, ...]] = {}
        self._granted: dict[Attachment, float] = {}
        self._refused: dict[Attachment, _Refused] = {}
        self._alive: float | None = None
        self._seen: object = None
        self._dirty = False
        self._due = 0.0
        self._problem = "not connected yet"
        self._since = clock()

    @property
    def issuer(self) -> str:
        """Who vouches, as proofs have it."""
        return f"ovsdb:{self._name}"

    # what the OVSDB says

    def changed(self, interfaces: Callable[[], Iterable[VirtualInterface]]) -> None:
        """The platform says something new; it is looked at at once, or when `SPACING` is over."""
        self._interfaces = interfaces
        self._dirty = True
        self.alive()
        self.tick()

    def alive(self) -> None:
        """A sign of life: what was said last holds for another lease."""
        self._alive = self._clock()
        if self._problem:
            self._problem, self._since = "", self._alive

    def lost(self, why: str) -> None:
        """The connection is gone. What is there stays until its lease runs out."""
        if not self._problem:
            self._since = self._clock()
        self._problem = why

    # sessions

    def ended(self, event: SessionEvent, session: Session, _detail: str, _now: float) -> None:
        """Something happened to a session (`LogJournal.watch`)."""
        attested = self._said.attested.get(session.attachment)
        if attested is None or not any(self._is_ours(proof) for proof in session.proofs):
            return
        if session.addresses:
            self._addresses[session.attachment] = session.addresses
        if event in _ENDED_BY_WILL:
            self._held[session.attachment] = attested

    def tick(self) -> None:
        """Look at what is said if there is something new; let begin, go on and end what follows from it."""
        now = self._clock()
        directory = self._directory()
        if (self._dirty or directory is not self._seen) and now >= self._due:
            self._dirty, self._seen, self._due = False, directory, now + SPACING
            self._look(directory)
            self._end()
        if self._alive is not None:
            for attested in self._said.attested.values():
                self._keep(attested, now)

    def _look(self, directory: Directory) -> None:
        before, said = self._said, attest(self._interfaces(), directory, self._switches, self._others)
        self._said = said
        same = {place for place, attested in said.attested.items() if before.attested.get(place) == attested}
        self._held = {place: held for place, held in self._held.items() if place in same}
        self._addresses = {place: known for place, known in self._addresses.items() if place in same}
        self._refused = {place: why for place, why in self._refused.items() if place in said.attested}
        self._granted = {place: span for place, span in self._granted.items() if place in said.attested}
        for finding in [one for one in said.findings if one not in before.findings][:MAX_LOGGED]:
            _log.warning("not-attested", ovsdb=self._name, interface=finding.interface, reason=finding.what)

    def _end(self) -> None:
        """End what the platform no longer says: the interface is gone, is another's, or somewhere else."""
        if self._alive is None:
            return  # nothing has been said since the start: leases count
        for session in self._facade.sessions_vouched_by(self.issuer):
            for proof in session.proofs:
                if self._is_ours(proof) and not self._is_said(session.attachment, proof):
                    self._facade.change_proof(session.number, proof, None, SessionEvent.DETACHED, self._name)

    def _is_said(self, attachment: Attachment, proof: Proof) -> bool:
        said = self._said.attested.get(attachment)
        if said is None:
            # Where it is may be unknown for a moment: that is nothing else, and no lease either.
            return (attachment.mac, proof.reference, proof.subject) in self._said.unplaced
        return (said.workload, said.reference, said.subject) == (proof.name, proof.reference, proof.subject)

    def _is_ours(self, proof: Proof) -> bool:
        return proof.method == METHOD and proof.issuer == self.issuer

    def _keep(self, attested: Attested, now: float) -> None:
        """Let the session at a place begin, or go on for another lease."""
        place = attested.attachment
        session = self._facade.session_of(place)
        proof = next((one for one in session.proofs if self._is_ours(one)), None) if session is not None else None
        if session is None or proof is None:
            if session is not None and any(one.aal > 0 for one in session.proofs):
                return  # somebody has proved more there than a platform can say
            if place not in self._held:
                self._begin(attested, now)
            return
        self._renew(attested, session.number, proof, now)

    def _renew(self, attested: Attested, number: int, proof: Proof, now: float) -> None:
        """Give another lease when half of the last one is over, and a whole new proof before its lifetime is."""
        place, until = attested.attachment, self._until(now)
        span = self._granted.get(place)
        if span is None or proof.expires - now < span:
            self._begin(attested, now)
        elif proof.reauthenticate - now <= span / 2 and until > proof.reauthenticate:
            # Only the lease moves: that is no event worth a record, every half a minute for every port.
            longer = replace(proof, reauthenticate=min(until, now + span))
            self._facade.change_proof(number, proof, longer, None)

    def _until(self, now: float) -> float:
        return (now if self._alive is None else self._alive) + self._lease

    def _begin(self, attested: Attested, now: float) -> None:
        """Start the session, or renew it whole. What refuses it is logged once, and tried again."""
        place, until = attested.attachment, self._until(now)
        refused = self._refused.get(place)
        if until <= now or (refused is not None and now < refused.again):
            return
        try:
            session = self._facade.start_session(place, self._proof(attested, now, until))
        except (SessionError, CapacityError) as error:
            if refused is None or refused.why != str(error):
                _log.warning("not-attested", ovsdb=self._name, workload=attested.workload, reason=str(error))
            wait = FIRST_RETRY if refused is None else min(LAST_RETRY, 2 * refused.wait)
            self._refused[place] = _Refused(str(error), wait, now + wait)
            return
        self._refused.pop(place, None)
        self._granted[place] = min(session.reauthenticate - now, self._lease)
        self._give_back(session)

    def _give_back(self, session: Session) -> None:
        """Bind what the same machine had there before: it has no reason to ask its neighbours again."""
        for address in self._addresses.get(session.attachment, ()):
            if address not in session.addresses:
                with suppress(SessionError, CapacityError):
                    self._facade.claim_address(Endpoint(session.attachment, address), session.number)

    def _proof(self, attested: Attested, now: float, until: float) -> Proof:
        """Raises SessionError for a workload that is disabled, or not known any more."""
        principal = self._directory().principal("workload", attested.workload, mfa=False)
        return Proof(
            "workload",
            attested.workload,
            METHOD,
            now,
            (),  # RFC 8176 has no name for somebody else's word
            AAL,
            None,
            principal.groups,
            principal.labels,
            reauthenticate=until,
            issuer=self.issuer,
            subject=attested.subject,
            reference=attested.reference,
        )

    # seeing

    def view(self) -> list[SourceView]:
        """How this OVSDB does."""
        vouched = f"vouches for {len(self._said.attested)} ports"
        state: SourceState = "up"
        detail = vouched
        if self._problem:
            expired = self._alive is None or self._clock() >= self._alive + self._lease
            state, detail = ("down" if expired else "degraded"), self._problem
        elif self._said.findings or self._refused:
            others = len(self._said.findings) + len(self._refused)
            state, detail = "degraded", f"{vouched}, and not for {others} others"
        return [SourceView(self._name, "ovsdb", state, self._since, detail)]
