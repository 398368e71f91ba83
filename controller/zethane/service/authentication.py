"""Logins: from a credential at an endpoint to a session, or to a refusal that tells the client nothing.

Only the slow check of the password leaves the event loop. The codes' time steps are checked and recorded on
it, in one go, so that two logins at once cannot both use a code.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from math import ceil
from typing import NoReturn

from zethane.audit.reason import LoginRefusal
from zethane.errors import AddressInUse, AuthenticationError, CapacityError, PortRefusal, SessionError
from zethane.identity.attempts import Attempts
from zethane.identity.credential import Credential
from zethane.identity.directory import Directory
from zethane.identity.proof import Proof
from zethane.identity.provider import Expected, Provider, matches
from zethane.identity.session import Endpoint, Session
from zethane.identity.totp import accepted_step
from zethane.service.facade import ControllerFacade
from zethane.service.store import SessionStore

MAX_PENDING = 32
"""Passwords waiting to be checked, or being checked."""

MAX_PENDING_PER_PORT = 4
"""Those that may come from one switch port, so that one host cannot keep the others waiting."""

REFUSED = "the name, the secret or the code is wrong"
"""All that a client learns about credentials that do not hold."""

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
        store: SessionStore,
        clock: Callable[[], float],
        executor: Executor,
        refused: Refused,
        *,
        attempts: Attempts | None = None,
        matches: Callable[[str, str], bool] = matches,
    ) -> None:
        self._facade = facade
        self._provider = Provider(directory)
        self._store = store
        self._clock = clock
        self._executor = executor
        self._refused = refused
        self._attempts = Attempts() if attempts is None else attempts
        self._matches = matches
        self._pending: Counter[tuple[int, int]] = Counter()

    @property
    def directory(self) -> Directory:
        """Who may log in. Replace it to put a new version of the file in force for every login that is not over."""
        return self._provider.directory

    @directory.setter
    def directory(self, directory: Directory) -> None:
        self._provider = Provider(directory)

    @property
    def pending(self) -> int:
        """Passwords waiting to be checked, or being checked."""
        return sum(self._pending.values())

    async def login(self, endpoint: Endpoint, credential: Credential) -> Session:
        """Start a session, or renew the one that the principal has there.

        Raises AuthenticationError with the same words whatever was wrong, LoginLimitError (a CapacityError) where
        there were too many attempts, and what `ControllerFacade.start_session` raises.
        """
        self._admit(endpoint, credential)
        provider = self._provider
        expected = provider.expected(credential)
        matched = await self._check(endpoint, expected, credential)
        if provider is not self._provider and self._provider.expected(credential) != expected:
            self._refuse(endpoint, credential, LoginRefusal.CHANGED)
        mfa = self._check_factors(endpoint, credential, expected, matched)
        return self._start(endpoint, credential, mfa)

    def _admit(self, endpoint: Endpoint, credential: Credential) -> None:
        attachment, now = endpoint.attachment, self._clock()
        limited = self._attempts.admit(attachment, credential.account, now)
        if limited is not None:
            self._record(endpoint, credential, LoginRefusal(f"too-many-attempts-{limited.limit}"))
            raise LoginLimitError("too many attempts", limited.wait)
        port = (attachment.dpid, attachment.port)
        if self.pending >= MAX_PENDING or self._pending[port] >= MAX_PENDING_PER_PORT:
            self._attempts.forgive(attachment, credential.account, now)
            self._record(endpoint, credential, LoginRefusal.BUSY)
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

    def _check_factors(self, endpoint: Endpoint, credential: Credential, expected: Expected, matched: bool) -> bool:
        """Whether a second factor was proved. Refuses the login if anything that was offered does not hold."""
        if expected.reason:
            self._refuse(endpoint, credential, LoginRefusal(expected.reason))
        if not matched:
            self._refuse(endpoint, credential, LoginRefusal.WRONG_SECRET)
        if credential.code is None:
            return False
        step = accepted_step(expected.totp, credential.code, self._clock()) if expected.totp else None
        if step is None:
            self._refuse(endpoint, credential, LoginRefusal.WRONG_CODE)
        if not self._store.use_totp_step(credential.name, step):
            self._refuse(endpoint, credential, LoginRefusal.CODE_USED)
        return True

    def _start(self, endpoint: Endpoint, credential: Credential, mfa: bool) -> Session:
        self._attempts.succeeded(endpoint.attachment, credential.account, self._clock())
        now = self._clock()
        amr = ("pwd", "otp") if mfa else ("pwd",)  # RFC 8176 §2
        try:
            principal = self.directory.principal(credential.kind, credential.name, mfa)
            proof = Proof(
                principal.kind,
                principal.name,
                "portal",
                now,
                amr,
                2 if mfa else 1,  # NIST SP 800-63B: a password alone, or with a one-time code
                now if mfa else None,
                principal.groups,
                principal.labels,
            )
            return self._facade.start_session(endpoint.attachment, proof, endpoint.address)
        except AddressInUse:
            self._record(endpoint, credential, LoginRefusal.ADDRESS_IN_USE)
            raise
        except PortRefusal as refusal:
            self._record(endpoint, credential, LoginRefusal(refusal.reason), str(refusal))
            raise
        except SessionError as error:
            self._record(endpoint, credential, LoginRefusal.NO_SESSION, str(error))
            raise
        except CapacityError:
            self._record(endpoint, credential, LoginRefusal.CAPACITY)
            raise

    def _refuse(self, endpoint: Endpoint, credential: Credential, reason: LoginRefusal) -> NoReturn:
        self._record(endpoint, credential, reason)
        raise AuthenticationError(REFUSED)

    def _record(self, endpoint: Endpoint, credential: Credential, why: LoginRefusal, explanation: str = "") -> None:
        """Tell the log. A name that nobody has is not written down: people type passwords into the wrong field."""
        known = self._provider.expected(credential).reason != "unknown"
        self._refused(endpoint, credential.account if known else f"{credential.kind}:(unknown)", why, explanation)
