"""Shared signals: events of transmitters come in, proofs end or change, and devices are judged.

An event whose subject is just logging in is not lost: what may end a proof is remembered for a while, and held
against every proof that is made meanwhile.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Protocol

import structlog

from zethane.audit.reason import SessionEvent
from zethane.errors import CapacityError, ZethaneError
from zethane.identity.attempts import Buckets, Rate
from zethane.identity.posture import Report
from zethane.identity.session import Session
from zethane.identity.signals.effect import Change, changes, compliance, concerns_proofs, content_text, is_known, told
from zethane.identity.signals.keys import keys_of_session, keys_of_subject
from zethane.identity.signals.scope import Scope
from zethane.identity.signals.token import SSF, SecurityEvent
from zethane.identity.sources.file import MAX_SOURCES
from zethane.service.posture import Outcome
from zethane.service.session_index import SessionIndex

RECENT = 600.0
"""Seconds for which an event is held against proofs that are made after it has come."""

MAX_RECENT = 10_000

REFUSALS = Rate(50, 1.0)
"""Refused tokens of one transmitter, or of strangers, in the log."""

Later = Callable[[Callable[[], None]], object]
"""Calls a function soon, when what is under way has ended."""

_VERIFICATION = SSF + "verification"
_STREAM_UPDATED = SSF + "stream-updated"

_PROVED = frozenset((SessionEvent.STARTED, SessionEvent.REAUTHENTICATED, SessionEvent.JOINED))

_log = structlog.get_logger("zethane.signals")


class SeenStore(Protocol):
    """The tokens that must not be taken twice."""

    def was_seen(self, issuer: str, token: str, until: float, now: float) -> bool:
        """Whether a token was taken before, or may have been."""

    def see(self, issuer: str, token: str, until: float, now: float) -> None:
        """Remember a token until then. Raises CapacityError."""


CarryOut = Callable[[Change, SessionEvent, str], bool]
"""Carries one change out; False if the proof is not there any more."""


class Signals:
    """Takes events whose tokens have been checked."""

    def __init__(
        self,
        index: SessionIndex,
        change: CarryOut,
        judge: Callable[[Report], Outcome],
        seen: SeenStore,
        counters: Counter[str],
        clock: Callable[[], float],
        later: Later,
    ) -> None:
        self._index = index
        self._change = change
        self._judge = judge
        self._seen = seen
        self._counters = counters
        self._clock = clock
        self._later = later
        self._recent = _Recent()
        self._refusals = Buckets(REFUSALS, MAX_SOURCES + 1)

    def take(self, event: SecurityEvent, scope: Scope) -> int:
        """Put in force what follows from an event; the number of proofs that it has ended or changed.

        One that was taken before changes nothing (RFC 8935 §2: it is acknowledged all the same).
        """
        now = self._clock()
        if self._seen.was_seen(event.issuer, event.jti, event.until, now):
            self._counters["signals_repeated"] += 1
            _log.info("signal-repeated", transmitter=scope.transmitter, type=event.name, jti=event.jti)
            return 0
        self._counters["signals"] += 1
        found = tuple(self._index.sessions(keys_of_subject(event.subject)))
        changed = sum(self._carry_out(change, event, scope) for change in changes(event, found, scope))
        judged = self._judged(event, scope, now)
        if concerns_proofs(event):
            self._recent.add(event, scope, now)
        self._remember(event, now)
        self._tell(event, scope, changed, judged)
        return changed

    def refused(self, transmitter: str, code: str, reason: str) -> None:
        """A token was not taken. Anybody can bring that about: it is counted, and logged at a bounded rate."""
        self._counters["signals_refused"] += 1
        now = self._clock()
        if self._refusals.wait(transmitter, now) <= 0:
            self._refusals.take(transmitter, now)
            _log.warning("signal-refused", transmitter=transmitter or None, err=code, reason=reason)

    def note(self, what: SessionEvent, session: Session, _: str, __: float) -> None:
        """Something has happened to a session. Where somebody has just proved who they are, recent events count."""
        if what in _PROVED and self._recent:
            self._later(lambda: self._hold_against(session.number))

    def _hold_against(self, number: int) -> None:
        now = self._clock()
        session = self._index.find(number)
        if session is None:
            return
        for event, scope in self._recent.about(keys_of_session(session), now):
            session = self._index.find(number)
            for change in changes(event, (session,) if session is not None else (), scope):
                self._carry_out(change, event, scope)

    def _carry_out(self, change: Change, event: SecurityEvent, scope: Scope) -> bool:
        reason = SessionEvent.SIGNALLED if change.changed is None else SessionEvent.CHANGED
        return self._change(change, reason, told(event, scope.transmitter))

    def _judged(self, event: SecurityEvent, scope: Scope, now: float) -> str | None:
        """The device that a verdict was about, if there was one and it was taken."""
        verdict = compliance(event, scope)
        if verdict is None:
            return None
        attributes = (("compliant", verdict.compliant),)
        try:
            outcome = self._judge(Report(verdict.device, f"signals:{scope.transmitter}", verdict.at, now, attributes))
        except CapacityError:
            raise
        except ZethaneError as error:
            _log.warning("verdict-refused", transmitter=scope.transmitter, device=verdict.device, reason=str(error))
            return None
        return verdict.device if outcome.taken else None

    def _remember(self, event: SecurityEvent, now: float) -> None:
        try:
            self._seen.see(event.issuer, event.jti, event.until, now)
        except CapacityError as error:
            # It has had its effect, which a repetition would only have again.
            _log.error("signal-unwritten", jti=event.jti, reason=str(error))

    def _tell(self, event: SecurityEvent, scope: Scope, changed: int, judged: str | None) -> None:
        said = {"transmitter": scope.transmitter, "type": event.name, "jti": event.jti}
        if event.type == _VERIFICATION:
            self._counters["signals_verified"] += 1
            _log.info("stream-verified", **said, state=content_text(event.content, "state"))
        elif event.type == _STREAM_UPDATED:
            _log.warning("stream-updated", **said, status=content_text(event.content, "status"))
        elif not is_known(event):
            self._counters["signals_unknown"] += 1
            _log.info("signal-unknown", **said, uri=event.type)
        else:
            if not changed and judged is None:
                self._counters["signals_without_effect"] += 1
            _log.info("signal-taken", **said, proofs=changed, device=judged)


class _Recent:
    """The events of the last minutes that may end a proof, by the words for their subjects."""

    def __init__(self) -> None:
        self._events: OrderedDict[tuple[str, str], tuple[float, SecurityEvent, Scope]] = OrderedDict()
        self._by_key: defaultdict[str, dict[tuple[str, str], None]] = defaultdict(dict)

    def __bool__(self) -> bool:
        return bool(self._events)

    def add(self, event: SecurityEvent, scope: Scope, now: float) -> None:
        """Remember one; the oldest are forgotten."""
        self._forget(now)
        name = (event.issuer, event.jti)
        self._events[name] = (now + RECENT, event, scope)
        for key in keys_of_subject(event.subject):
            self._by_key[key][name] = None

    def about(self, keys: frozenset[str], now: float) -> list[tuple[SecurityEvent, Scope]]:
        """The events about any of these, in the order in which they came."""
        self._forget(now)
        wanted = {name for key in keys for name in self._by_key.get(key, ())}
        return [(event, scope) for name, (_, event, scope) in self._events.items() if name in wanted] if wanted else []

    def _forget(self, now: float) -> None:
        while self._events:
            name, (until, event, _) = next(iter(self._events.items()))
            if until > now and len(self._events) < MAX_RECENT:
                return
            del self._events[name]
            for key in keys_of_subject(event.subject):
                self._by_key[key].pop(name, None)
                if not self._by_key[key]:
                    del self._by_key[key]
