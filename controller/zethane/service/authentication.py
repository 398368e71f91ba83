"""Logins: from a credential or a passkey at an endpoint to a session, or to a refusal that tells the client nothing.

Only the slow check of the password leaves the event loop. The codes' time steps are checked and recorded on
it, in one go, so that two logins at once cannot both use a code.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal, NoReturn

from zethane.audit.reason import FactorEvent, LoginRefusal, SessionEvent
from zethane.errors import AddressInUse, AuthenticationError, CapacityError, Refusal, SessionError
from zethane.identity.attempts import Attempts
from zethane.identity.credential import Credential
from zethane.identity.directory import Directory, secret_bytes
from zethane.identity.factor import RECOVERY
from zethane.identity.proof import Proof
from zethane.identity.provider import Expected, Provider, matches
from zethane.identity.session import Endpoint, Session
from zethane.service.facade import ControllerFacade
from zethane.service.passkey import PasskeyRefusedError, RelyingParty, Response
from zethane.service.second_factors import (
    FILE_TOTP,
    FactorRefusedError,
    Proved,
    SecondFactors,
    Told,
    portal_proof,
    stepped_up,
    take_back,
)
from zethane.service.store import AuthenticationStore

MAX_PENDING = 32
"""Passwords waiting to be checked, or being checked."""

MAX_PENDING_PER_PORT = 4
"""Those that may come from one switch port, so that one host cannot keep the others waiting."""

REFUSED = "the name, the secret or the code is wrong"
"""All that a client learns about credentials that do not hold."""

NOBODY = "nobody is logged in here with a password or a passkey of this portal"

UNKNOWN = "user:(unknown)"
"""The account in the record of an attempt for nobody who is known."""

Refused = Callable[..., None]
"""Called as `refused(endpoint, account, why, explanation)`: the record of a login that was refused."""


class LoginLimitError(CapacityError):
    """A limit was reached; `retry_after` is in whole seconds, 1 or more."""

    def __init__(self, message: str, retry_after: float) -> None:
        self.retry_after = max(1, ceil(retry_after))
        super().__init__(f"{message}; try again in {self.retry_after} s")


class Authenticator:
    """Checks credentials and starts sessions."""

    def __init__(
        self,
        facade: ControllerFacade,
        directory: Directory,
        store: AuthenticationStore,
        clock: Callable[[], float],
        executor: Executor,
        refused: Refused,
        *,
        told: Told | None = None,
        attempts: Attempts | None = None,
        matches: Callable[[str, str], bool] = matches,
    ) -> None:
        self._facade = facade
        self._provider = Provider(directory)
        self.factors = SecondFactors(store, clock)
        self._clock = clock
        self._executor = executor
        self._refused = refused
        self._told = told
        self._attempts = Attempts() if attempts is None else attempts
        self._matches = matches
        self._pending: Counter[tuple[int, int]] = Counter()

    @property
    def directory(self) -> Directory:
        """Who may log in. Replace it to put a new version of the file in force for every login that is not over."""
        return self._provider.directory

    @directory.setter
    def directory(self, directory: Directory) -> None:
        before = self._provider.directory.users
        self._provider = Provider(directory)
        kept = {name for name, user in directory.users.items() if name in before and before[name].totp == user.totp}
        take_back(self._facade, FILE_TOTP, before.keys() - kept)

    @property
    def pending(self) -> int:
        """Passwords waiting to be checked, or being checked."""
        return sum(self._pending.values())

    async def login(self, endpoint: Endpoint, credential: Credential) -> Session:
        """Start a session, or renew the one that the principal has there.

        Raises AuthenticationError with the same words whatever was wrong, LoginLimitError (a CapacityError) where
        there were too many attempts, and what `ControllerFacade.start_session` raises.
        """
        self._admit(endpoint, credential.account, self._named(credential))
        self._admit_check(endpoint, credential)
        provider = self._provider
        expected = provider.expected(credential)
        matched = await self._check(endpoint, expected, credential)
        if provider is not self._provider and self._provider.expected(credential) != expected:
            self._refuse(endpoint, self._named(credential), LoginRefusal.CHANGED)
        proved = self._check_factors(endpoint, credential, expected, matched)
        if proved is None:
            return self._start(endpoint, credential, ("pwd",), 1, "")  # RFC 8176 §2; SP 800-63B §2.1: level 1
        return self._start(endpoint, credential, ("pwd", *proved.amr), proved.aal, proved.factor)

    async def login_by_passkey(self, endpoint: Endpoint, response: Response) -> Session:
        """Start or renew the session of whoever the passkey is of, that has verified its user.

        Raises as `login`.
        """
        owner = self.factors.passkeys.owner(response)
        account = UNKNOWN if owner is None else f"user:{owner}"
        self._admit(endpoint, account, account)
        try:
            user, proved = self.factors.passkey_alone(endpoint, response)
        except PasskeyRefusedError as refused:
            self._refuse(endpoint, account, refused.reason, refused.explanation)
        credential = _Account("user", user)
        self._check_known(endpoint, user)
        return self._start(endpoint, credential, proved.amr, proved.aal, proved.factor)

    def prove_options(self, endpoint: Endpoint, party: RelyingParty) -> dict[str, Any]:
        """What a browser needs to prove a passkey of who is logged in there. Raises SessionError."""
        proof = portal_proof(self._facade.session_at(endpoint))
        if proof is None:
            raise SessionError(NOBODY)
        return self.factors.passkeys.prove_options(endpoint, party, proof.name)

    async def prove(self, endpoint: Endpoint, factor: str | Response) -> Session:
        """Add a second factor to the session there, or renew it: a code, or a passkey's answer.

        The password, or what else was proved first, stays as old as it is. Raises SessionError where nobody is who
        has second factors here, and as `login`.
        """
        session = self._facade.session_at(endpoint)
        proof = portal_proof(session)
        if session is None or proof is None:
            raise SessionError(NOBODY)
        self._admit(endpoint, proof.account, proof.account)
        file_key = self._check_known(endpoint, proof.name)
        try:
            if isinstance(factor, str):
                proved = self._use_code(endpoint, proof.name, file_key, factor)
            else:
                proved = self.factors.passkey(endpoint, proof.name, factor)
        except PasskeyRefusedError as refused:
            self._refuse(endpoint, proof.account, refused.reason, refused.explanation)
        except FactorRefusedError as refused:
            self._refuse(endpoint, proof.account, refused.reason)
        now = self._clock()
        self._attempts.succeeded(endpoint.attachment, proof.account, now)
        changed = stepped_up(proof, proved, now)
        self._facade.change_proof(session.number, proof, changed, SessionEvent.REAUTHENTICATED, proved.factor)
        renewed = self._facade.session_at(endpoint)
        if renewed is None:
            raise SessionError("the session has ended")
        return renewed

    def _use_code(self, endpoint: Endpoint, user: str | None, file_key: bytes | None, code: str) -> Proved:
        proved = self.factors.code(user, file_key, code)
        if proved.factor == RECOVERY and self._told is not None:
            self._told(FactorEvent.USED, f"user:{user}", RECOVERY, endpoint)
        return proved

    def _check_known(self, endpoint: Endpoint, user: str) -> bytes | None:
        """Refuse who may not, or no longer, log in here; the TOTP key that identities.yaml has for who may."""
        found = self.directory.users.get(user)
        if found is None or found.disabled:
            self._refuse(endpoint, f"user:{user}", LoginRefusal.UNKNOWN if found is None else LoginRefusal.DISABLED)
        if found.password is None:  # who proves herself to another source only
            self._refuse(endpoint, f"user:{user}", LoginRefusal.METHOD_NOT_ALLOWED)
        return secret_bytes(found.totp) if found.totp is not None else None

    def _admit(self, endpoint: Endpoint, account: str, named: str) -> None:
        """Count an attempt, or refuse it. `named` is the account as the log may have it."""
        limited = self._attempts.admit(endpoint.attachment, account, self._clock())
        if limited is not None:
            self._refused(endpoint, named, LoginRefusal(f"too-many-attempts-{limited.limit}"), "")
            raise LoginLimitError("too many attempts", limited.wait)

    def _admit_check(self, endpoint: Endpoint, credential: Credential) -> None:
        """Refuse a password for which there is no room to check it."""
        port = (endpoint.attachment.dpid, endpoint.attachment.port)
        if self.pending >= MAX_PENDING or self._pending[port] >= MAX_PENDING_PER_PORT:
            self._attempts.forgive(endpoint.attachment, credential.account, self._clock())
            self._refused(endpoint, self._named(credential), LoginRefusal.BUSY, "")
            raise LoginLimitError("too many logins at once", 1)

    async def _check(self, endpoint: Endpoint, expected: Expected, credential: Credential) -> bool:
        port = (endpoint.attachment.dpid, endpoint.attachment.port)
        work = asyncio.get_running_loop().run_in_executor(
            self._executor, self._matches, expected.hash, credential.secret
        )
        self._pending[port] += 1
        work.add_done_callback(lambda _: self._checked(port))
        # A client that hangs up does not stop the thread: shielded, the check counts until it is really over.
        return await asyncio.shield(work)

    def _checked(self, port: tuple[int, int]) -> None:
        self._pending[port] -= 1
        if not self._pending[port]:
            del self._pending[port]

    def _check_factors(
        self, endpoint: Endpoint, credential: Credential, expected: Expected, matched: bool
    ) -> Proved | None:
        """The second factor that was proved. Refuses the login if anything that was offered does not hold."""
        named = self._named(credential)
        if expected.reason:
            self._refuse(endpoint, named, LoginRefusal(expected.reason))
        if not matched:
            self._refuse(endpoint, named, LoginRefusal.WRONG_SECRET)
        if credential.code is None:
            return None
        user = credential.name if credential.kind == "user" else None
        try:
            return self._use_code(endpoint, user, expected.totp, credential.code)
        except FactorRefusedError as refused:
            self._refuse(endpoint, named, refused.reason)

    def _start(
        self, endpoint: Endpoint, account: Credential | _Account, amr: tuple[str, ...], aal: int, factor: str
    ) -> Session:
        now = self._clock()
        self._attempts.succeeded(endpoint.attachment, account.account, now)
        mfa = aal > 1
        try:
            principal = self.directory.principal(account.kind, account.name, mfa)
            proof = Proof(
                principal.kind,
                principal.name,
                "portal",
                now,
                amr,
                aal,
                now if mfa else None,
                principal.groups,
                principal.labels,
                reference=factor,
            )
            return self._facade.start_session(endpoint.attachment, proof, endpoint.address)
        except AddressInUse:
            self._refused(endpoint, account.account, LoginRefusal.ADDRESS_IN_USE, "")
            raise
        except Refusal as refusal:
            self._refused(endpoint, account.account, LoginRefusal(refusal.reason), str(refusal))
            raise
        except SessionError as error:
            self._refused(endpoint, account.account, LoginRefusal.NO_SESSION, str(error))
            raise
        except CapacityError:
            self._refused(endpoint, account.account, LoginRefusal.CAPACITY, "")
            raise

    def _refuse(self, endpoint: Endpoint, named: str, reason: LoginRefusal, explanation: str = "") -> NoReturn:
        self._refused(endpoint, named, reason, explanation)
        raise AuthenticationError(REFUSED)

    def _named(self, credential: Credential) -> str:
        """The account as the log may have it. A name that nobody has is not written down: people type passwords
        into the wrong field."""
        known = self._provider.expected(credential).reason != "unknown"
        return credential.account if known else f"{credential.kind}:(unknown)"


@dataclass(frozen=True, slots=True)
class _Account:
    """Who has proved to be who without a credential of ours."""

    kind: Literal["user"]
    name: str

    @property
    def account(self) -> str:
        return f"{self.kind}:{self.name}"
