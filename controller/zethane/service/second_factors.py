"""Second factors: what the file says of them and what users have enrolled, checked and used up.

All of it runs on the event loop in one go, so that no code and no answer is taken twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from zethane.audit.reason import FactorEvent, LoginRefusal, SessionEvent
from zethane.errors import AuthenticationError
from zethane.identity.credential import is_recovery_code
from zethane.identity.factor import TotpFactor, recovery_id, reference
from zethane.identity.proof import Proof
from zethane.identity.session import Endpoint, Session
from zethane.identity.totp import accepted_step
from zethane.service.facade import ControllerFacade
from zethane.service.passkey import Asserted, Response
from zethane.service.store import AuthenticationStore

if TYPE_CHECKING:
    from zethane.service.passkeys import Passkeys

FILE_TOTP = "totp:file"
"""The reference of the second factor in identities.yaml."""


class Told(Protocol):
    """Writes a record of what happened to a factor."""

    def __call__(self, event: FactorEvent, account: str, factor: str, endpoint: Endpoint | None) -> None:
        """`endpoint` is None for an operator's."""


class FactorRefusedError(AuthenticationError):
    """A second factor does not hold; `reason` is for the log."""

    def __init__(self, reason: LoginRefusal) -> None:
        self.reason = reason
        super().__init__("the second factor does not hold")


@dataclass(frozen=True, slots=True)
class Proved:
    """A second factor that holds: its reference, its authentication methods (RFC 8176 §2), and what it is worth.

    `aal` is the assurance level (SP 800-63B) that it makes together with a password.
    """

    factor: str
    amr: tuple[str, ...]
    aal: int = 2


class SecondFactors:
    """Checks what users offer as second factors, and passkeys that stand alone."""

    def __init__(self, store: AuthenticationStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    @cached_property
    def passkeys(self) -> Passkeys:
        """The ceremonies of passkeys."""
        from zethane.service.passkeys import Passkeys

        return Passkeys(self._store, self._clock)

    def code(self, user: str | None, file_key: bytes | None, code: str) -> Proved:
        """Use a one-time code or a recovery code of a user. Nobody (None) has one.

        `file_key` is the TOTP key that identities.yaml has for the user. Raises FactorRefusedError, CapacityError.
        """
        if user is None:
            raise FactorRefusedError(LoginRefusal.WRONG_CODE)
        return self._recovery(user, code) if is_recovery_code(code) else self._one_time(user, file_key, code)

    def _one_time(self, user: str, file_key: bytes | None, code: str) -> Proved:
        keys = {reference(one): one.key for one in self._store.factors_of(user) if isinstance(one, TotpFactor)}
        if file_key is not None:
            keys[FILE_TOTP] = file_key
        steps = {name: accepted_step(key, code, self._clock()) for name, key in keys.items()}
        fits = [(step, name) for name, step in steps.items() if step is not None]
        if not fits:
            raise FactorRefusedError(LoginRefusal.WRONG_CODE)
        step, name = max(fits)
        # One last step for a user, whichever app the code is from: a code that both make works once.
        if not self._store.use_totp_step(user, step):
            raise FactorRefusedError(LoginRefusal.CODE_USED)
        return Proved(name, ("otp",))

    def _recovery(self, user: str, code: str) -> Proved:
        found = self._store.factor(recovery_id(user, code))
        # If the store cannot be written it raises: a code that may work again is not taken.
        if found is None or found.user != user or not self._store.end_factor(found.id):
            raise FactorRefusedError(LoginRefusal.WRONG_CODE)
        return Proved(reference(found), ("otp",))

    def passkey(self, endpoint: Endpoint, user: str, response: Response) -> Proved:
        """Use a passkey of a user who has proved more already. Raises PasskeyRefusedError, CapacityError."""
        found = self.passkeys.asserted(endpoint, response, user)
        return Proved(reference(found.passkey), _amr(found), _level(found) if found.verified else 2)

    def passkey_alone(self, endpoint: Endpoint, response: Response) -> tuple[str, Proved]:
        """Use a passkey in the place of everything else; whose it is. Raises PasskeyRefusedError, CapacityError."""
        found = self.passkeys.asserted(endpoint, response, None)
        return found.passkey.user, Proved(reference(found.passkey), _amr(found), _level(found))


def _amr(found: Asserted) -> tuple[str, ...]:
    """RFC 8176 §2: a key in software or hardware, the user's presence, and more than one factor if it checked those."""
    key = "swk" if found.passkey.synced else "hwk"
    return (key, "user", "mfa") if found.verified else (key, "user")


def _level(found: Asserted) -> int:
    """SP 800-63B-4 §2.3: level 3 asks for a key that cannot be exported; synced ones can (appendix B)."""
    return 2 if found.passkey.synced else 3


def stepped_up(proof: Proof, proved: Proved, now: float) -> Proof:
    """A proof after a second factor: fresh in that, and as old in everything else."""
    amr = tuple(dict.fromkeys((*proof.amr, *proved.amr)))
    factors = " ".join(dict.fromkeys((*proof.reference.split(), proved.factor)))
    return replace(proof, amr=amr, aal=max(proof.aal, proved.aal), mfa_at=now, reference=factors)


def without_factors(proof: Proof) -> Proof | None:
    """A proof after its second factors were taken back: what the password alone makes; None if there was none."""
    if "pwd" not in proof.amr:
        return None
    return replace(proof, amr=("pwd",), aal=1, mfa_at=None, reference="")


def portal_proof(session: Session | None) -> Proof | None:
    """The proof of a session's user that was made here: the one that second factors of this portal go with."""
    proofs = session.proofs if session is not None else ()
    return next((one for one in proofs if one.kind == "user" and one.method == "portal" and not one.issuer), None)


def take_back(facade: ControllerFacade, factor: str, users: Collection[str]) -> None:
    """End what rests on a factor that is gone, in every session of these users."""
    for session in tuple(facade.sessions_known_as(*users)):
        proof = portal_proof(session)
        if proof is not None and proof.name in users and factor in proof.reference.split():
            left = without_factors(proof)
            facade.change_proof(session.number, proof, left, SessionEvent.CREDENTIAL_REVOKED, factor)
