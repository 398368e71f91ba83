"""What logins at OpenID providers have in common: bounds, the record of what was refused, and how a session begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from zethane.audit.reason import LoginRefusal
from zethane.errors import (
    AddressInUse,
    AuthenticationError,
    CapacityError,
    InputError,
    Problem,
    Refusal,
    SessionError,
)
from zethane.identity.attempts import Buckets, Rate
from zethane.identity.directory import Directory
from zethane.identity.openid import InvalidTokenError, completed, proof_of
from zethane.identity.proof import Proof
from zethane.identity.session import Endpoint, Session
from zethane.service.authentication import LoginLimitError
from zethane.service.facade import ControllerFacade
from zethane.service.openid import GrantRefusedError, OpenIdSource, ProviderError, Tokens
from zethane.service.renewal import Renewals
from zethane.service.state import Clock

LIFETIME = 600.0
"""Seconds in which a person has to come back from the provider."""

MAX_PENDING = 2048
"""Logins that have begun and are not over."""

MAX_PORTS = 8192
"""Ports whose rates are remembered."""

MAX_PENDING_PER_PORT = 8
"""Those that may come from one switch port: with more, its oldest are forgotten."""

MAX_REQUESTS = 32
MAX_REQUESTS_PER_PORT = 4
"""Logins that wait for a provider's answer, in all and from one switch port."""

BEGIN_RATE = Rate(10, 3.0)
"""Logins that one switch port may begin."""

ANSWER_RATE = Rate(20, 1.0)
"""Answers, and questions of devices, that one switch port may send: each that is refused is a record in the log."""

REFUSED = "the login was refused"
"""All that a client learns about an answer that does not hold."""

NOT_ANSWERED = "the identity provider does not answer; try again in a minute"

Refused = Callable[..., None]
"""Called as `refused(endpoint, account, why, explanation)`: the record of a login that was refused."""


@dataclass(slots=True, eq=False, repr=False)
class Pending:
    """A login that has begun. `expires` in seconds since the epoch."""

    source: OpenIdSource
    endpoint: Endpoint
    expires: float


P = TypeVar("P", bound=Pending)


class Desk:
    """The providers, and who is waiting for them. `directory` gives what identities.yaml says now."""

    def __init__(
        self,
        facade: ControllerFacade,
        sources: Mapping[str, OpenIdSource],
        directory: Callable[[], Directory],
        clock: Clock,
        refused: Refused,
        renewals: Renewals,
    ) -> None:
        self.facade = facade
        self.sources = dict(sources)
        self.clock = clock
        self._directory = directory
        self._refused = refused
        self._renewals = renewals
        self._requests: Counter[tuple[int, int]] = Counter()
        self._rate = Buckets(BEGIN_RATE, MAX_PORTS)
        self._answer_rate = Buckets(ANSWER_RATE, MAX_PORTS)

    def source(self, name: str) -> OpenIdSource:
        """A provider by its name. Raises InputError."""
        source = self.sources.get(name)
        if source is None:
            raise InputError([Problem("login", "there is no such provider", key="provider")])
        return source

    def admit(self, endpoint: Endpoint) -> None:
        """Count a login that begins. Raises LoginLimitError."""
        port, now = port_of(endpoint), self.clock()
        wait = self._rate.wait(port, now)
        if wait > 0:
            self.record(endpoint, None, LoginRefusal.TOO_MANY_ATTEMPTS_PORT)
            raise LoginLimitError("too many attempts", wait)
        self._rate.take(port, now)

    def may_answer(self, endpoint: Endpoint) -> None:
        """Raises LoginLimitError for too many answers. Without a record: the log is what this is for."""
        port, now = port_of(endpoint), self.clock()
        wait = self._answer_rate.wait(port, now)
        if wait > 0:
            raise LoginLimitError("too many attempts", wait)
        self._answer_rate.take(port, now)

    def keep(self, table: dict[str, P], key: str, pending: P) -> None:
        """Remember a login that has begun. A port pays with its own oldest for those that it leaves open."""
        now = self.clock()
        for known in [known for known, one in table.items() if one.expires <= now]:
            del table[known]
        own = [known for known, one in table.items() if port_of(one.endpoint) == port_of(pending.endpoint)]
        for known in own[: max(0, len(own) + 1 - MAX_PENDING_PER_PORT)]:
            del table[known]
        if len(table) >= MAX_PENDING:
            self.record(pending.endpoint, pending.source, LoginRefusal.BUSY)
            raise LoginLimitError("too many logins at once", 5)
        table[key] = pending

    @contextmanager
    def request(self, endpoint: Endpoint) -> Iterator[None]:
        """Count a request to a provider. Raises LoginLimitError."""
        port = port_of(endpoint)
        if self._requests.total() >= MAX_REQUESTS or self._requests[port] >= MAX_REQUESTS_PER_PORT:
            self.record(endpoint, None, LoginRefusal.BUSY)
            raise LoginLimitError("too many logins at once", 1)
        self._requests[port] += 1
        try:
            yield
        finally:
            self._requests[port] -= 1
            if not self._requests[port]:
                del self._requests[port]

    @contextmanager
    def answers(self, endpoint: Endpoint, source: OpenIdSource) -> Iterator[None]:
        """Turn what a provider does wrong, or refuses, into a refusal that is logged."""
        try:
            yield
        except ProviderError as error:
            self.record(endpoint, source, LoginRefusal.NOT_ANSWERED, str(error))
            raise NotAnsweredError(NOT_ANSWERED) from None
        except InvalidTokenError as error:
            self.refuse(endpoint, source, LoginRefusal.INVALID_TOKEN, str(error))
        except GrantRefusedError as error:
            if error.code in ("authorization_pending", "slow_down"):
                raise StillPendingError(slow_down=error.code == "slow_down") from None
            self.refuse(endpoint, source, LoginRefusal.REJECTED, str(error))

    def start(self, endpoint: Endpoint, source: OpenIdSource, tokens: Tokens) -> Session:
        """Start a session with what a provider has told. Raises AuthenticationError, SessionError, CapacityError."""
        try:
            proof = proof_of(source.name, source.settings, tokens.claims, self.clock())
        except InvalidTokenError as error:
            self.refuse(endpoint, source, LoginRefusal.INVALID_TOKEN, str(error))
        known = completed(proof, self._directory())
        if known is None:
            self.refuse(endpoint, source, LoginRefusal.DISABLED, "identities.yaml disables this name")
        session = self._session(endpoint, source, known)
        self._renewals.keep(session, known, source, tokens)
        return session

    def _session(self, endpoint: Endpoint, source: OpenIdSource, proof: Proof) -> Session:
        try:
            return self.facade.start_session(endpoint.attachment, proof, endpoint.address)
        except AddressInUse:
            self.record(endpoint, source, LoginRefusal.ADDRESS_IN_USE, account=proof.account)
            raise
        except Refusal as refusal:
            self.record(endpoint, source, LoginRefusal(refusal.reason), str(refusal), proof.account)
            raise
        except SessionError as error:
            self.record(endpoint, source, LoginRefusal.NO_SESSION, str(error), proof.account)
            raise
        except CapacityError:
            self.record(endpoint, source, LoginRefusal.CAPACITY, account=proof.account)
            raise

    def refuse(
        self, endpoint: Endpoint, source: OpenIdSource | None, reason: LoginRefusal, explanation: str
    ) -> NoReturn:
        """Record a refusal, of which the client learns nothing. Raises AuthenticationError."""
        self.record(endpoint, source, reason, explanation)
        raise AuthenticationError(REFUSED)

    def record(
        self,
        endpoint: Endpoint,
        source: OpenIdSource | None,
        why: LoginRefusal,
        explanation: str = "",
        account: str | None = None,
    ) -> None:
        """Tell the log of a login that was refused."""
        who = account or (f"user:(unknown)@{source.name}" if source is not None else "user:(unknown)")
        self._refused(endpoint, who, why, explanation)


class NotAnsweredError(AuthenticationError):
    """The provider did not answer, or not in a way that makes sense."""


class StillPendingError(Exception):
    """Nobody has said yes or no to a device grant."""

    def __init__(self, *, slow_down: bool) -> None:
        self.slow_down = slow_down
        super().__init__()


def port_of(endpoint: Endpoint) -> tuple[int, int]:
    """The switch port of an endpoint."""
    return endpoint.attachment.dpid, endpoint.attachment.port
