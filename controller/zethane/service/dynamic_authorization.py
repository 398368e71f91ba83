"""Dynamic authorization (RFC 5176): which sessions a request means, and what it does to them.

The operator's RADIUS server is trusted for every session, whoever vouched for it: it may end and narrow what it did
not begin. All that a request names has to fit; what fits several sessions is done to each of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from operator import attrgetter
from typing import Protocol

from zethane.audit.reason import SessionEvent
from zethane.identity.proof import Proof
from zethane.identity.session import Session
from zethane.identity.sources.radius import Radius
from zethane.service.radius import (
    ISSUER,
    TerminationAction,
    classes_of,
    groups_of,
    with_classes,
)
from zethane.service.state import Clock


class ErrorCause(IntEnum):
    """Why a request was refused (RFC 5176 §3.5)."""

    UNSUPPORTED_ATTRIBUTE = 401
    MISSING_ATTRIBUTE = 402
    NAS_IDENTIFICATION_MISMATCH = 403
    INVALID_REQUEST = 404
    UNSUPPORTED_SERVICE = 405
    INVALID_ATTRIBUTE_VALUE = 407
    SESSION_NOT_FOUND = 503
    RESOURCES_UNAVAILABLE = 506


class Refused(Exception):  # noqa: N818  # an answer, and nobody's error
    """The request is answered with a NAK."""

    def __init__(self, cause: ErrorCause) -> None:
        self.cause = cause
        super().__init__(cause.name)


@dataclass(frozen=True, slots=True)
class Target:
    """What a request says about the session that it means; None and empty say nothing.

    `session_id` is an Acct-Session-Id, `port_name` a NAS-Port-Id, `station` and `bridge` are MAC addresses.
    """

    session_id: str | None = None
    user_name: str | None = None
    station: int | None = None
    bridge: int | None = None
    port: int | None = None
    port_name: str | None = None
    addresses: tuple[bytes, ...] = ()
    classes: tuple[bytes, ...] = ()

    @property
    def of_a_proof(self) -> bool:
        """Whether it names a principal or its authentication, and not only a place."""
        return self.session_id is not None or self.user_name is not None or bool(self.classes)

    def __bool__(self) -> bool:
        """Whether it says anything."""
        return self != Target()


@dataclass(frozen=True, slots=True)
class Change:
    """What a CoA-Request wants to be different; None: as it is. Times are lengths in seconds, from now on."""

    session_timeout: float | None = None
    termination_action: TerminationAction | None = None
    idle_timeout: float | None = None
    filter_ids: tuple[str, ...] | None = None
    classes: tuple[bytes, ...] | None = None

    def __bool__(self) -> bool:
        """Whether anything is to change."""
        return self != Change()


class Sessions(Protocol):
    """Of the controller: what this needs."""

    def sessions(self) -> Sequence[Session]:
        """All live sessions."""

    def sessions_known_as(self, *words: str) -> Iterable[Session]:
        """Those of which a proof has one of these words as its name, subject or reference, and maybe others."""

    def sessions_of_mac(self, mac: int) -> Sequence[Session]:
        """Those of a card, wherever they are."""

    def session_holding(self, address: bytes) -> Session | None:
        """The one that has an address."""

    def change_proof(
        self, number: int, proof: Proof, changed: Proof | None, reason: SessionEvent, detail: str = ""
    ) -> bool:
        """Change or end one proof of a session."""


class DynamicAuthorization:
    """Carries out Disconnect-Request and CoA-Request. `switch_name` names a switch by its datapath id."""

    def __init__(self, sessions: Sessions, switch_name: Callable[[int], str], settings: Radius, clock: Clock) -> None:
        self._sessions = sessions
        self._switch_name = switch_name
        self._settings = settings
        self._clock = clock

    def disconnect(self, target: Target, client: str) -> int:
        """End what is meant; the number of proofs ended. Raises Refused."""
        return self._apply(target, client, SessionEvent.DISCONNECTED, lambda _: None)

    def change(self, target: Target, change: Change, client: str) -> int:
        """Change what is meant; the number of proofs changed. Raises Refused."""
        if not change:
            raise Refused(ErrorCause.MISSING_ATTRIBUTE)
        now = self._clock()
        groups = None if change.filter_ids is None else groups_of(change.filter_ids, self._settings)
        if groups is not None and not groups:
            # A value that means nothing here is no wish for no groups at all.
            raise Refused(ErrorCause.INVALID_ATTRIBUTE_VALUE)
        return self._apply(
            target, client, SessionEvent.CHANGED, lambda proof: changed_proof(proof, change, groups, now)
        )

    def _apply(self, target: Target, client: str, reason: SessionEvent, change: Callable[[Proof], Proof | None]) -> int:
        if not target:
            raise Refused(ErrorCause.MISSING_ATTRIBUTE)
        detail = f"radius client {client}"
        done = 0
        for session in sorted(self._candidates(target), key=attrgetter("number")):
            for proof in self._meant(target, session, every=reason is SessionEvent.DISCONNECTED):
                done += self._sessions.change_proof(session.number, proof, change(proof), reason, detail)
        if not done:
            raise Refused(ErrorCause.SESSION_NOT_FOUND)
        return done

    def _candidates(self, target: Target) -> Iterable[Session]:
        """Sessions among which are all that a request is about: all there are, if it names only groups of them."""
        word = target.session_id or target.user_name
        if word:
            return self._sessions.sessions_known_as(word)
        if target.addresses:
            holder = self._sessions.session_holding(target.addresses[0])
            return (holder,) if holder is not None else ()
        if target.station is not None:
            return self._sessions.sessions_of_mac(target.station)
        return self._sessions.sessions()

    def _meant(self, target: Target, session: Session, *, every: bool) -> Iterator[Proof]:
        """The proofs of a session that a request is about; none if it is about another session.

        Where only the place is named, all of them end, and what changes is what RADIUS gave, or else who acts.
        """
        if not self._is_at(target, session):
            return
        if target.of_a_proof:
            yield from (proof for proof in session.proofs if _names(target, proof))
        elif every:
            yield from session.proofs
        else:
            given = [proof for proof in session.proofs if proof.issuer.startswith(ISSUER)]
            yield from given or session.proofs[:1]

    def _is_at(self, target: Target, session: Session) -> bool:
        place = session.attachment
        wanted = (
            (target.station, place.mac),
            (target.bridge, place.dpid & 0xFFFFFFFFFFFF),
            (target.port, place.port),
            (target.port_name, f"{self._switch_name(place.dpid)}:{place.port}"),
        )
        fits = all(want is None or want == have for want, have in wanted)
        return fits and all(address in session.addresses for address in target.addresses)


def _names(target: Target, proof: Proof) -> bool:
    of_radius = proof.issuer.startswith(ISSUER)
    if target.session_id is not None and not (of_radius and target.session_id == proof.reference):
        return False
    if target.user_name is not None and target.user_name not in (proof.name, proof.subject):
        return False
    return set(target.classes) <= set(classes_of(proof))


def changed_proof(proof: Proof, change: Change, groups: frozenset[str] | None, now: float) -> Proof:
    """The proof as a CoA-Request wants it. A new Session-Timeout begins now (RFC 5176 §3)."""
    if groups is not None:
        proof = replace(proof, groups=groups)
    if change.classes is not None:
        proof = with_classes(proof, change.classes)
    if change.idle_timeout is not None:
        proof = replace(proof, idle=change.idle_timeout)
    if change.session_timeout is None and change.termination_action is None:
        return proof
    end = proof.ends if change.session_timeout is None else now + change.session_timeout
    action = change.termination_action
    again = proof.expires == math.inf > proof.reauthenticate if action is None else action == "radius-request"
    return replace(proof, expires=math.inf if again else end, reauthenticate=end if again else math.inf)
