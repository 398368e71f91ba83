"""Logins of workloads and devices by client certificate, and the sessions that rest on one.

The TLS connection at the portal proved that the client has the key. What the certificate is worth is decided here,
by what is trusted at this moment, and decided again whenever that changes: a session lasts only while its
certificate would be accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NoReturn

from zethane.audit.reason import LoginRefusal, SessionEvent
from zethane.errors import AddressInUse, AuthenticationError, CapacityError, Refusal, SessionError
from zethane.identity.attempts import Attempts
from zethane.identity.certificates import Accepted, CertificateError, Link, Trust, accept, check_links, quoted
from zethane.identity.directory import Directory
from zethane.identity.proof import Proof
from zethane.identity.session import Endpoint, Session
from zethane.service.authentication import LoginLimitError, Refused
from zethane.service.facade import ControllerFacade
from zethane.service.slices import in_slices

AMR = ("pop", "swk")
"""RFC 8176 §2: proof of possession of a key, and one that software keeps."""

AAL = 2
"""A key that never leaves its owner, proved in the handshake itself: nothing is sent that could be guessed, replayed
or passed on (NIST SP 800-63B §5.2.5, §5.2.8). A program has no second factor to add: this is all it can prove."""

REFUSED = "the certificate is not accepted"
"""All that a client learns."""

NOBODY = "certificate:(unknown)"
"""The account in the log for a certificate that names nobody."""


class CertificateLogin:
    """Holds certificates against what is trusted, and starts and ends the sessions that rest on them."""

    def __init__(
        self,
        facade: ControllerFacade,
        directory: Callable[[], Directory],
        clock: Callable[[], float],
        refused: Refused,
        trust: Trust,
        *,
        attempts: Attempts | None = None,
    ) -> None:
        self._facade = facade
        self._directory = directory
        self._clock = clock
        self._refused = refused
        self._trust = trust
        self._seen: Directory | None = directory()
        self._attempts = Attempts() if attempts is None else attempts

    @property
    def trust(self) -> Trust:
        """What certificates are held against."""
        return self._trust

    async def use_trust(self, trust: Trust) -> None:
        """Hold certificates against this from now on, and end every session whose certificate no longer holds."""
        self._trust = trust
        await self.recheck()

    def login(self, endpoint: Endpoint, chain: Sequence[bytes]) -> Session:
        """Start a session for whom the certificate names, or renew the one that is there.

        `chain` is what the client presented in its TLS handshake (DER, its own certificate first).
        Raises AuthenticationError with the same words whatever was wrong, LoginLimitError where there were too many
        attempts, and what `ControllerFacade.start_session` raises.
        """
        tried = f"certificate:{sha256(chain[0] if chain else b'').hexdigest()[:16]}"
        now = self._clock()
        limited = self._attempts.admit(endpoint.attachment, tried, now)
        if limited is not None:
            self._refused(endpoint, NOBODY, LoginRefusal(f"too-many-attempts-{limited.limit}"))
            raise LoginLimitError("too many attempts", limited.wait)
        try:
            accepted = accept(chain, self._trust, now)
        except CertificateError as error:
            self._refuse(endpoint, NOBODY, LoginRefusal.INVALID_CERTIFICATE, str(error))
        proof = self._proof(endpoint, accepted, now)
        self._attempts.succeeded(endpoint.attachment, tried, now)
        return self._start(endpoint, proof)

    def _proof(self, endpoint: Endpoint, accepted: Accepted, now: float) -> Proof:
        """The proof of whom the names name, if they all name the same one. Refuses the login otherwise."""
        directory = self._directory()
        named = {found: name for name in accepted.names if (found := directory.certified(name)) is not None}
        if len(named) != 1:
            said = ", ".join(quoted(name) for name in accepted.names[:4])
            why = f"{'several accounts are' if named else 'nobody is'} named by {said}"
            self._refuse(endpoint, NOBODY, LoginRefusal.INVALID_CERTIFICATE, why)
        ((kind, account), subject) = next(iter(named.items()))
        try:
            principal = directory.principal(kind, account, mfa=False)
        except SessionError as error:
            self._refuse(endpoint, f"{kind}:{account}", LoginRefusal.DISABLED, str(error))
        return Proof(
            kind,
            account,
            "certificate",
            now,
            AMR,
            AAL,
            None,
            principal.groups,
            principal.labels,
            expires=accepted.ends,
            issuer=f"ca:{accepted.authority}",
            subject=subject,
            reference=str(accepted.path[0]),
            attributes=(("path", " ".join(map(str, accepted.path))),),
        )

    def _start(self, endpoint: Endpoint, proof: Proof) -> Session:
        try:
            return self._facade.start_session(endpoint.attachment, proof, endpoint.address)
        except AddressInUse:
            self._refused(endpoint, proof.account, LoginRefusal.ADDRESS_IN_USE)
            raise
        except Refusal as refusal:
            self._refused(endpoint, proof.account, LoginRefusal(refusal.reason), str(refusal))
            raise
        except SessionError as error:
            self._refused(endpoint, proof.account, LoginRefusal.NO_SESSION, str(error))
            raise
        except CapacityError:
            self._refused(endpoint, proof.account, LoginRefusal.CAPACITY)
            raise

    def _refuse(self, endpoint: Endpoint, account: str, why: LoginRefusal, explanation: str) -> NoReturn:
        self._refused(endpoint, account, why, explanation)
        raise AuthenticationError(REFUSED)

    async def look(self) -> None:
        """Hold all sessions against identities that have changed: names may mean somebody else now."""
        if self._directory() is not self._seen:
            await self.recheck()

    async def recheck(self) -> None:
        """End what rests on a certificate that would not be accepted any more, a few sessions at a time."""
        now, directory = self._clock(), self._directory()
        self._seen = None  # if it does not come to its end it is done again
        async for listed in in_slices(self._facade.sessions()):
            session = self._facade.session(listed.number)  # as it is by now
            for proof in session.proofs if session is not None else ():
                if proof.method == "certificate" and (why := self._lapsed(proof, now)):
                    self._facade.change_proof(listed.number, proof, None, SessionEvent.CREDENTIAL_REVOKED, why)
        self._seen = directory

    def _lapsed(self, proof: Proof, now: float) -> str:
        """Why a proof does not hold any more; empty if it does."""
        if self._directory().certified(proof.subject) != (proof.kind, proof.name):
            return "its name means somebody else, or nobody"
        try:
            path = dict(proof.attributes)["path"].split()
            check_links([Link.parse(link) for link in path], self._trust, now)
        except CertificateError as error:
            return str(error)
        except (KeyError, ValueError, IndexError):
            return "its path is not known"
        return ""

    @property
    def next_end(self) -> float | None:
        """When the first of the revocation lists is not current any more, if nothing renews it before."""
        now = self._clock()
        return min((one.ends for one in self._trust.revocations.values() if one.ends > now), default=None)
