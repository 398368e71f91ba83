"""Refresh tokens: a login at an OpenID provider is asked after for as long as its session lives.

They are kept in memory and nowhere else. After a restart a session lives until its proof ends, unrenewed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from zethane.audit.reason import SessionEvent
from zethane.document.duration import seconds
from zethane.identity.directory import Directory
from zethane.identity.openid import Claims, InvalidTokenError, completed, proof_of
from zethane.identity.proof import Proof
from zethane.identity.session import Session
from zethane.service.facade import ControllerFacade
from zethane.service.openid import GrantRefusedError, OpenIdSource, ProviderError, Tokens
from zethane.service.state import Clock

TICK = 0.5
"""Seconds between looks at what is due."""

RETRY = 15.0
"""Seconds after which a provider that did not answer is asked again, or the interval itself if that is less."""

MAX_AT_ONCE = 8
"""Refreshes under way at a time."""

Spawn = Callable[[Coroutine[Any, Any, None]], object]

_log = structlog.get_logger("zethane.oidc")


@dataclass(slots=True, eq=False)
class _Held:
    """A refresh token, and whose it is. `period` is how long a proof holds after it was renewed, in seconds."""

    source: OpenIdSource
    number: int
    claims: Claims = field(repr=False)
    token: str = field(repr=False)
    due: float
    period: float
    busy: bool = False


class Renewals:
    """Refreshes what is due: a refusal ends the proof, other claims change it, silence is asked again.

    `directory` gives what identities.yaml says now.
    """

    def __init__(
        self, facade: ControllerFacade, directory: Callable[[], Directory], clock: Clock, spawn: Spawn
    ) -> None:
        self._facade = facade
        self._directory = directory
        self._clock = clock
        self._spawn = spawn
        self._held: dict[tuple[int, str, str], _Held] = {}
        self._busy = 0

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, session: Session, proof: Proof, source: OpenIdSource, tokens: Tokens) -> None:
        """Take the refresh token that a login brought, if it did; one of the same login before is dropped."""
        key = (session.number, proof.issuer, proof.subject)
        self._held.pop(key, None)
        if tokens.refresh_token is None:
            return
        now = self._clock()
        period = next((one.reauthenticate for one in session.proofs if one.account == proof.account), math.inf) - now
        due = now + seconds(source.settings.refresh)
        self._held[key] = _Held(source, session.number, tokens.claims, tokens.refresh_token, due, period)

    def session_event(self, event: SessionEvent, session: Session, detail: str, now: float) -> None:  # noqa: ARG002
        """Forget the tokens of a session that has ended (the journal tells)."""
        for proof in session.proofs:
            key = (session.number, proof.issuer, proof.subject)
            if key in self._held and self._proof(key) is None:
                del self._held[key]

    async def run(self) -> None:
        """Refresh for ever."""
        while True:
            await asyncio.sleep(TICK)
            self.tick()

    def tick(self) -> None:
        """Start what is due, and forget the tokens of proofs that have ended."""
        now = self._clock()
        due = [(held.due, key) for key, held in self._held.items() if held.due <= now and not held.busy]
        for _, key in sorted(due):
            if self._proof(key) is None:
                del self._held[key]
                continue
            if self._busy >= MAX_AT_ONCE:
                return
            self._held[key].busy = True
            self._busy += 1
            self._spawn(self._renew(key, self._held[key]))

    def _proof(self, key: tuple[int, str, str]) -> Proof | None:
        number, issuer, subject = key
        session = self._facade.session(number)
        proofs = session.proofs if session is not None else ()
        return next((one for one in proofs if (one.method, one.issuer, one.subject) == ("oidc", issuer, subject)), None)

    async def _renew(self, key: tuple[int, str, str], held: _Held) -> None:
        try:
            tokens = await held.source.refresh(held.token, held.claims)
        except (GrantRefusedError, InvalidTokenError, ProviderError) as error:
            self._failed(key, held, error)
            return
        finally:
            held.busy = False
            self._busy -= 1
        if self._held.get(key) is not held:
            return  # there was a new login meanwhile
        held.token, held.claims = tokens.refresh_token or held.token, tokens.claims
        held.due = self._clock() + seconds(held.source.settings.refresh)
        self._renewed(key, held)

    def _failed(self, key: tuple[int, str, str], held: _Held, error: Exception) -> None:
        """What the provider refuses ends the proof; what it does not answer is asked again until the proof ends."""
        final = isinstance(error, InvalidTokenError) or getattr(error, "code", "") == "invalid_grant"
        _log.warning("not-refreshed", provider=held.source.name, session=held.number, reason=str(error), final=final)
        if not final:
            held.due = self._clock() + min(RETRY, seconds(held.source.settings.refresh))
        elif self._held.get(key) is held:
            self._end(key, held, str(error))

    def _renewed(self, key: tuple[int, str, str], held: _Held) -> None:
        """Put what the provider says now in force."""
        before = self._proof(key)
        if before is None:
            return
        now = self._clock()
        try:
            said = completed(proof_of(held.source.name, held.source.settings, held.claims, now), self._directory())
        except InvalidTokenError as error:
            self._end(key, held, str(error))
            return
        if said is None or said.name != before.name:
            why = "identities.yaml disables the name" if said is None else "the provider gives the person another name"
            self._end(key, held, why)
            return
        changed = replace(
            before,
            groups=said.groups,
            labels=said.labels,
            amr=said.amr,
            aal=said.aal,
            mfa_at=said.mfa_at if "auth_time" in held.claims or said.mfa_at is None else before.mfa_at,
            attributes=said.attributes,
        )
        event = SessionEvent.CHANGED if changed != before else None
        if event is not None or now + held.period / 2 > before.reauthenticate:
            after = replace(changed, at=now, reauthenticate=max(before.reauthenticate, now + held.period))
            self._facade.change_proof(key[0], before, after, event, f"refreshed at {held.source.name}")

    def _end(self, key: tuple[int, str, str], held: _Held, detail: str) -> None:
        self._held.pop(key, None)
        proof = self._proof(key)
        if proof is not None:
            self._facade.change_proof(key[0], proof, None, SessionEvent.NOT_RENEWED, f"{held.source.name}: {detail}")
