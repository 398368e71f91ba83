"""Enrolment: users add, rename and remove their own second factors, at the place where they are logged in.

Who has no second factor yet adds the first with a password that was proved a moment ago. Who has one proves that
first: a password alone, found on a note, must not be enough to take a second factor away or add one's own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from zethane.audit.reason import FactorEvent
from zethane.errors import AuthenticationError, CapacityError, InputError, Problem, SessionError
from zethane.identity.factor import (
    MAX_FACTOR_NAME,
    MAX_PASSKEYS,
    RECOVERY_BYTES,
    RECOVERY_CODES,
    TOTP_BYTES,
    Factor,
    Passkey,
    RecoveryCode,
    TotpFactor,
    recovery_code,
    recovery_id,
    reference,
)
from zethane.identity.proof import Proof
from zethane.identity.session import Endpoint, Session
from zethane.identity.totp import accepted_step
from zethane.service.authentication import NOBODY, Authenticator
from zethane.service.facade import ControllerFacade
from zethane.service.passkey import PasskeyRefusedError, RelyingParty, Response
from zethane.service.second_factors import Told, portal_proof, take_back
from zethane.service.store import AuthenticationStore

FRESH = 300.0
"""Seconds within which the proof that a change of factors needs has to have been made."""

MAX_OFFERS = 1024
"""TOTP secrets that were shown and not confirmed; one more takes the place of the oldest."""

Needs = Literal["password", "factor"]


class NotFreshError(AuthenticationError):
    """A change of factors needs a proof that is not there, or too old; `needs` says which."""

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        what = "your password" if needs == "password" else "a second factor"
        super().__init__(f"prove {what} first: that is not older than {int(FRESH / 60)} minutes")


@dataclass(frozen=True, slots=True)
class Overview:
    """What a user has enrolled, and what a change of it needs first (None: nothing more)."""

    user: str
    factors: tuple[Factor, ...]
    in_file: bool
    needs: Needs | None


@dataclass(frozen=True, slots=True)
class _Offer:
    user: str
    until: float
    key: bytes = field(repr=False)


class Enrolment:
    """The changes that users make, and operators' look at them. Raises SessionError where no user of ours is."""

    def __init__(
        self,
        facade: ControllerFacade,
        authenticator: Authenticator,
        store: AuthenticationStore,
        clock: Callable[[], float],
        told: Told,
    ) -> None:
        self._facade = facade
        self._authenticator = authenticator
        self._store = store
        self._clock = clock
        self._told = told
        self._offers: dict[int, _Offer] = {}

    def overview(self, endpoint: Endpoint) -> Overview:
        """The factors of who is logged in there."""
        _, proof = self._here(endpoint)
        return self._overview(proof)

    def offer_totp(self, endpoint: Endpoint) -> bytes:
        """A new TOTP key to show. It counts when a code of it has come back. Raises NotFreshError."""
        session, proof = self._fresh(endpoint)
        if len(self._offers) >= MAX_OFFERS:
            del self._offers[next(iter(self._offers))]
        offer = _Offer(proof.name, self._clock() + FRESH, secrets.token_bytes(TOTP_BYTES))
        self._offers.pop(session.number, None)
        self._offers[session.number] = offer
        return offer.key

    def offered_totp(self, endpoint: Endpoint) -> bytes | None:
        """The key that was offered last and can still be confirmed."""
        session, proof = self._here(endpoint)
        offer = self._offers.get(session.number)
        return offer.key if offer is not None and offer.user == proof.name and offer.until > self._clock() else None

    def confirm_totp(self, endpoint: Endpoint, code: str) -> None:
        """Enrol the key that was offered, in the place of the last one, if this is a code of it.

        Raises AuthenticationError, CapacityError.
        """
        session, proof = self._here(endpoint)
        key = self.offered_totp(endpoint)
        if key is None:
            raise AuthenticationError("the secret was shown too long ago; begin again")
        step = accepted_step(key, code, self._clock())
        if step is None:
            raise AuthenticationError("the code is not one of this secret; look at the clock of your device")
        if not self._store.use_totp_step(proof.name, step):
            raise AuthenticationError("a code of this time was used already; wait for the next one")
        before = [one for one in self._of(proof.name) if isinstance(one, TotpFactor)]
        made = TotpFactor(f"totp:{secrets.token_hex(16)}", proof.name, self._clock(), key)
        self._store.replace_factors(proof.name, "totp", [made])
        del self._offers[session.number]
        self._told(FactorEvent.ADDED, proof.account, reference(made), endpoint)
        for old in before:
            take_back(self._facade, reference(old), {proof.name})

    def passkey_options(self, endpoint: Endpoint, party: RelyingParty) -> dict[str, Any]:
        """What a browser needs to make a passkey. Raises NotFreshError, CapacityError."""
        _, proof = self._fresh(endpoint)
        self._check_room(proof.name)
        return self._authenticator.factors.passkeys.enrol_options(endpoint, party, proof.name)

    def add_passkey(self, endpoint: Endpoint, response: Response, name: str) -> Passkey:
        """Enrol the passkey that a browser has made. Raises NotFreshError, AuthenticationError, CapacityError."""
        _, proof = self._fresh(endpoint)
        self._check_room(proof.name)
        try:
            made = self._authenticator.factors.passkeys.enrolled(endpoint, proof.name, response, _name(name))
        except PasskeyRefusedError as refused:
            raise AuthenticationError(f"the passkey cannot be taken: {refused.explanation}") from None
        self._store.save_factor(made)
        self._told(FactorEvent.ADDED, proof.account, reference(made), endpoint)
        return made

    def _check_room(self, user: str) -> None:
        if sum(isinstance(one, Passkey) for one in self._of(user)) >= MAX_PASSKEYS:
            raise CapacityError(f"there are {MAX_PASSKEYS} passkeys already; remove one first")

    def rename(self, endpoint: Endpoint, factor: str, name: str) -> None:
        """Give a passkey another name. Raises NotFreshError, InputError."""
        _, proof = self._fresh(endpoint)
        found = self._find(proof.name, factor)
        if isinstance(found, Passkey):
            self._store.save_factor(replace(found, name=_name(name)))
            self._told(FactorEvent.RENAMED, proof.account, factor, endpoint)

    def remove(self, endpoint: Endpoint, factor: str) -> None:
        """Remove a factor by its short name; what rests on it ends. Raises NotFreshError, CapacityError."""
        _, proof = self._fresh(endpoint)
        found = self._find(proof.name, factor)
        self._store.end_factor(found.id)
        self._told(FactorEvent.REMOVED, proof.account, factor, endpoint)
        take_back(self._facade, factor, {proof.name})

    def new_recovery_codes(self, endpoint: Endpoint) -> list[str]:
        """Recovery codes in the place of all that there were: shown now and never again. Raises NotFreshError."""
        _, proof = self._fresh(endpoint)
        now = self._clock()
        codes = [recovery_code(secrets.token_bytes(RECOVERY_BYTES)) for _ in range(RECOVERY_CODES)]
        made = [RecoveryCode(recovery_id(proof.name, code), proof.name, now) for code in codes]
        self._store.replace_factors(proof.name, "recovery", made)
        self._told(FactorEvent.ADDED, proof.account, "recovery", endpoint)
        return codes

    # operators

    def factors_of(self, user: str) -> Overview:
        """What a user has enrolled. Raises SessionError for a name that nobody has."""
        known = self._authenticator.directory.users.get(user)
        factors = tuple(self._of(user))
        if known is None and not factors:
            raise SessionError("nobody has this name, or any factor")
        return Overview(user, factors, known is not None and known.totp is not None, None)

    def reset(self, user: str) -> int:
        """Delete all factors of a user; their number. What rests on them ends. Raises SessionError, CapacityError."""
        factors = self.factors_of(user).factors
        self._store.end_factors(user)
        if factors:
            self._told(FactorEvent.RESET, f"user:{user}", f"{len(factors)} factors", None)
        for name in {"recovery", *map(reference, factors)}:
            take_back(self._facade, name, {user})
        return len(factors)

    # what both need

    def _of(self, user: str) -> list[Factor]:
        return self._store.factors_of(user)

    def _overview(self, proof: Proof) -> Overview:
        known = self._authenticator.directory.users.get(proof.name)
        factors = tuple(self._of(proof.name))
        in_file = known is not None and known.totp is not None
        fresh = self._clock() - FRESH
        if factors or in_file:
            needs: Needs | None = "factor" if proof.mfa_at is None or proof.mfa_at <= fresh else None
        else:
            needs = "password" if proof.at <= fresh else None
        return Overview(proof.name, factors, in_file, needs)

    def _here(self, endpoint: Endpoint) -> tuple[Session, Proof]:
        session = self._facade.session_at(endpoint)
        proof = portal_proof(session)
        if session is None or proof is None:
            raise SessionError(NOBODY)
        return session, proof

    def _fresh(self, endpoint: Endpoint) -> tuple[Session, Proof]:
        session, proof = self._here(endpoint)
        needs = self._overview(proof).needs
        if needs is not None:
            raise NotFreshError(needs)
        return session, proof

    def _find(self, user: str, factor: str) -> Factor:
        found = next((one for one in self._of(user) if reference(one) == factor), None)
        if found is None:
            raise SessionError("there is no such factor any more")
        return found


def _name(text: str) -> str:
    """A name for a passkey. Raises InputError."""
    name = " ".join(text.split())
    if not 0 < len(name) <= MAX_FACTOR_NAME or not name.isprintable():
        raise InputError([Problem("factor", f"expected 1 to {MAX_FACTOR_NAME} characters", key="name")])
    return name
