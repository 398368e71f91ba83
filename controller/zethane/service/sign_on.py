"""Single sign-on: from a host's wish to log in at an OpenID provider to its session.

What is begun is bound to the endpoint that began it (attachment and address) and to its browser. Only the portal's
back end calls this, with endpoints that the switches have named; the portal itself learns no code verifier, no
nonce and no token, and cannot say who somebody is.
"""

from __future__ import annotations

import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import NoReturn

from zethane.audit.reason import LoginRefusal, SessionEvent
from zethane.errors import (
    AddressInUse,
    AuthenticationError,
    CapacityError,
    InputError,
    PortRefusal,
    Problem,
    SessionError,
)
from zethane.identity.attempts import Buckets, Rate
from zethane.identity.directory import Directory
from zethane.identity.openid import InvalidTokenError, LogoutToken, completed, proof_of
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

SLOW_DOWN = 5.0
"""Seconds that are added to a device's interval when its provider says slow_down (RFC 8628 §3.5)."""

REFUSED = "the login was refused"
"""All that a client learns about an answer that does not hold."""

NOT_ANSWERED = "the identity provider does not answer; try again in a minute"

Refused = Callable[..., None]
"""Called as `refused(endpoint, account, why, explanation)`: the record of a login that was refused."""


TakeOnce = Callable[[str, str, float, float], bool]
"""Called as `take_once(issuer, id, until, now)`: whether a token was not taken before (`SqliteStore.take_once`)."""


@dataclass(frozen=True, slots=True)
class Callback:
    """What a browser brought back from the provider (RFC 6749 §4.1.2, RFC 9207)."""

    state: str
    code: str | None = None
    issuer: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """What a person needs to allow a device: a page, a code to type there, and how long it holds. Seconds."""

    handle: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_in: float
    interval: float


@dataclass(slots=True, eq=False, repr=False)
class _Pending:
    """A login that has begun: in a browser with nonce and code verifier, or on a device with its code."""

    source: OpenIdSource
    endpoint: Endpoint
    expires: float
    browser: bytes = b""
    redirect_uri: str = ""
    nonce: str = ""
    verifier: str = ""
    fresh: bool = False
    device_code: str = ""
    interval: float = 0.0
    due: float = 0.0
    busy: bool = False


class SignOn:
    """Logins at OpenID providers. `directory` gives what identities.yaml says now."""

    def __init__(
        self,
        facade: ControllerFacade,
        sources: Mapping[str, OpenIdSource],
        directory: Callable[[], Directory],
        clock: Clock,
        refused: Refused,
        renewals: Renewals,
        take_once: TakeOnce,
    ) -> None:
        self._facade = facade
        self._sources = dict(sources)
        self._directory = directory
        self._clock = clock
        self._refused = refused
        self._renewals = renewals
        self._take_once = take_once
        self._logins: dict[str, _Pending] = {}
        self._devices: dict[str, _Pending] = {}
        self._requests: Counter[tuple[int, int]] = Counter()
        self._rate = Buckets(BEGIN_RATE, MAX_PORTS)
        self._answer_rate = Buckets(ANSWER_RATE, MAX_PORTS)

    def labels(self) -> list[dict[str, str]]:
        """The providers, for people: name and label."""
        return [{"name": name, "label": source.settings.label or name} for name, source in self._sources.items()]

    # In a browser

    async def begin(
        self, endpoint: Endpoint, name: str, browser: str, redirect_uri: str, *, fresh: bool = False
    ) -> str:
        """Where to send a browser to. `browser` is the secret of its cookie; `redirect_uri` where it comes back.

        Raises InputError for an unknown provider, AuthenticationError, LoginLimitError.
        """
        source = self._source(name)
        self._admit(endpoint)
        pending = _Pending(
            source,
            endpoint,
            self._clock() + LIFETIME,
            _digest(browser),
            source.settings.redirect_uri or redirect_uri,
            secrets.token_urlsafe(24),
            secrets.token_urlsafe(48),
            fresh,
        )
        state = secrets.token_urlsafe(32)
        with self._request(endpoint), self._answers(endpoint, source):
            url = await source.authorization(
                pending.redirect_uri, state, pending.nonce, pending.verifier, fresh=pending.fresh
            )
        self._keep(self._logins, state, pending)
        return url

    async def finish(self, endpoint: Endpoint, browser: str, callback: Callback) -> Session:
        """Start a session with what a browser brought back, or renew the one that is there.

        Raises AuthenticationError, LoginLimitError, and what `ControllerFacade.start_session` raises.
        """
        self._may_answer(endpoint)
        # Whatever comes of it, the state has been used.
        pending = self._logins.pop(callback.state, None)
        if pending is None or pending.expires <= self._clock():
            self._refuse(endpoint, None, LoginRefusal.INVALID_ANSWER, "no such login has begun, or too long ago")
        source = pending.source
        if not hmac.compare_digest(pending.browser, _digest(browser)):
            self._refuse(endpoint, source, LoginRefusal.INVALID_ANSWER, "another browser began this login")
        if pending.endpoint != endpoint:
            self._refuse(endpoint, source, LoginRefusal.INVALID_ANSWER, "another endpoint began this login")
        with self._request(endpoint), self._answers(endpoint, source):
            says_issuer = await source.says_issuer()
            if callback.issuer != source.settings.issuer and (says_issuer or callback.issuer is not None):
                self._refuse(endpoint, source, LoginRefusal.INVALID_ANSWER, "iss in the answer is not the provider")
            if callback.error is not None or not callback.code:
                self._refuse(endpoint, source, LoginRefusal.REJECTED, "the provider gave no code")
            tokens = await source.exchange(
                callback.code, pending.redirect_uri, pending.nonce, pending.verifier, fresh=pending.fresh
            )
        return self._start(endpoint, source, tokens)

    # On a host without one

    async def begin_device(self, endpoint: Endpoint, name: str | None) -> Device:
        """Ask a provider, or the only one, to let a device in (RFC 8628). Raises as `begin`."""
        if name is None and len(self._sources) != 1:
            known = ", ".join(self._sources)
            raise InputError([Problem("login", f"expected a provider, one of: {known}", key="provider")])
        source = self._source(name or next(iter(self._sources)))
        self._admit(endpoint)
        with self._request(endpoint), self._answers(endpoint, source):
            code = await source.device()
        now = self._clock()
        lifetime = min(code.expires_in, 3 * LIFETIME)
        pending = _Pending(source, endpoint, now + lifetime, device_code=code.device_code, interval=code.interval)
        pending.due = now + code.interval
        handle = secrets.token_urlsafe(32)
        self._keep(self._devices, handle, pending)
        return Device(
            handle, code.user_code, code.verification_uri, code.verification_uri_complete, lifetime, code.interval
        )

    async def poll_device(self, endpoint: Endpoint, handle: str) -> Session | float:
        """The session of a device that was let in, or the seconds after which to ask again. Raises as `finish`.

        The provider is asked no more often than it wants to be, however often the device asks.
        """
        self._may_answer(endpoint)
        pending = self._devices.get(handle)
        now = self._clock()
        if pending is None or pending.endpoint != endpoint or pending.expires <= now:
            self._refuse(endpoint, None, LoginRefusal.INVALID_ANSWER, "no such device grant has begun, or too long ago")
        if pending.busy or now < pending.due:
            return max(1.0, pending.due - now)
        tokens = await self._device_tokens(endpoint, handle, pending)
        if tokens is None:
            return max(1.0, pending.due - self._clock())
        if self._devices.pop(handle, None) is None:
            self._refuse(endpoint, pending.source, LoginRefusal.INVALID_ANSWER, "the device grant was used already")
        return self._start(endpoint, pending.source, tokens)

    async def _device_tokens(self, endpoint: Endpoint, handle: str, pending: _Pending) -> Tokens | None:
        """Ask the provider once; None if it is to be asked again. Whatever else it says, the grant is over."""
        pending.busy, pending.due = True, self._clock() + pending.interval
        try:
            with self._request(endpoint), self._answers(endpoint, pending.source):
                return await pending.source.device_tokens(pending.device_code)
        except _StillPendingError as waiting:
            if waiting.slow_down:
                pending.interval += SLOW_DOWN
                pending.due += SLOW_DOWN
        except NotAnsweredError:
            pending.interval *= 2  # RFC 8628 §3.5
        except AuthenticationError:
            self._devices.pop(handle, None)
            raise
        finally:
            pending.busy = False
        return None

    # Told by the provider

    async def logout(self, name: str, token: str) -> int:
        """End what rests on a login that has ended at its provider; how many sessions that were.

        Raises InputError for an unknown provider, InvalidTokenError, ProviderError, CapacityError.
        """
        logout = await self._source(name).logout(token)
        if not self._take_once(logout.issuer, logout.jti, logout.until, self._clock()):
            raise InvalidTokenError("the token was taken before")
        return self._end_sessions(name, logout)

    def _end_sessions(self, name: str, logout: LogoutToken) -> int:
        sessions = self._facade.sessions()
        found = [(session.number, proof) for session in sessions for proof in session.proofs if logout.fits(proof)]
        detail = f"back-channel logout by {name}"
        return sum(
            self._facade.change_proof(number, proof, None, SessionEvent.SIGNALLED, detail) for number, proof in found
        )

    # Common

    def _source(self, name: str) -> OpenIdSource:
        source = self._sources.get(name)
        if source is None:
            raise InputError([Problem("login", "there is no such provider", key="provider")])
        return source

    def _admit(self, endpoint: Endpoint) -> None:
        port, now = _port(endpoint), self._clock()
        wait = self._rate.wait(port, now)
        if wait > 0:
            self._record(endpoint, None, LoginRefusal.TOO_MANY_ATTEMPTS_PORT)
            raise LoginLimitError("too many attempts", wait)
        self._rate.take(port, now)

    def _may_answer(self, endpoint: Endpoint) -> None:
        """Raises LoginLimitError for too many answers. Without a record: the log is what this is for."""
        port, now = _port(endpoint), self._clock()
        wait = self._answer_rate.wait(port, now)
        if wait > 0:
            raise LoginLimitError("too many attempts", wait)
        self._answer_rate.take(port, now)

    def _keep(self, table: dict[str, _Pending], key: str, pending: _Pending) -> None:
        """Remember a login that has begun. A port pays with its own oldest for those that it leaves open."""
        now = self._clock()
        for known in [known for known, one in table.items() if one.expires <= now]:
            del table[known]
        own = [known for known, one in table.items() if _port(one.endpoint) == _port(pending.endpoint)]
        for known in own[: max(0, len(own) + 1 - MAX_PENDING_PER_PORT)]:
            del table[known]
        if len(table) >= MAX_PENDING:
            self._record(pending.endpoint, pending.source, LoginRefusal.BUSY)
            raise LoginLimitError("too many logins at once", 5)
        table[key] = pending

    @contextmanager
    def _request(self, endpoint: Endpoint) -> Iterator[None]:
        """Count a request to a provider. Raises LoginLimitError."""
        port = _port(endpoint)
        if self._requests.total() >= MAX_REQUESTS or self._requests[port] >= MAX_REQUESTS_PER_PORT:
            self._record(endpoint, None, LoginRefusal.BUSY)
            raise LoginLimitError("too many logins at once", 1)
        self._requests[port] += 1
        try:
            yield
        finally:
            self._requests[port] -= 1
            if not self._requests[port]:
                del self._requests[port]

    @contextmanager
    def _answers(self, endpoint: Endpoint, source: OpenIdSource) -> Iterator[None]:
        """Turn what a provider does wrong, or refuses, into a refusal that is logged."""
        try:
            yield
        except ProviderError as error:
            self._record(endpoint, source, LoginRefusal.NOT_ANSWERED, str(error))
            raise NotAnsweredError(NOT_ANSWERED) from None
        except InvalidTokenError as error:
            self._refuse(endpoint, source, LoginRefusal.INVALID_TOKEN, str(error))
        except GrantRefusedError as error:
            if error.code in ("authorization_pending", "slow_down"):
                raise _StillPendingError(slow_down=error.code == "slow_down") from None
            self._refuse(endpoint, source, LoginRefusal.REJECTED, str(error))

    def _start(self, endpoint: Endpoint, source: OpenIdSource, tokens: Tokens) -> Session:
        try:
            proof = proof_of(source.name, source.settings, tokens.claims, self._clock())
        except InvalidTokenError as error:
            self._refuse(endpoint, source, LoginRefusal.INVALID_TOKEN, str(error))
        known = completed(proof, self._directory())
        if known is None:
            self._refuse(endpoint, source, LoginRefusal.DISABLED, "identities.yaml disables this name")
        session = self._session(endpoint, source, known)
        self._renewals.keep(session, known, source, tokens)
        return session

    def _session(self, endpoint: Endpoint, source: OpenIdSource, proof: Proof) -> Session:
        try:
            return self._facade.start_session(endpoint.attachment, proof, endpoint.address)
        except AddressInUse:
            self._record(endpoint, source, LoginRefusal.ADDRESS_IN_USE, account=proof.account)
            raise
        except PortRefusal as refusal:
            self._record(endpoint, source, LoginRefusal(refusal.reason), str(refusal), proof.account)
            raise
        except SessionError as error:
            self._record(endpoint, source, LoginRefusal.NO_SESSION, str(error), proof.account)
            raise
        except CapacityError:
            self._record(endpoint, source, LoginRefusal.CAPACITY, account=proof.account)
            raise

    def _refuse(
        self, endpoint: Endpoint, source: OpenIdSource | None, reason: LoginRefusal, explanation: str
    ) -> NoReturn:
        self._record(endpoint, source, reason, explanation)
        raise AuthenticationError(REFUSED)

    def _record(
        self,
        endpoint: Endpoint,
        source: OpenIdSource | None,
        why: LoginRefusal,
        explanation: str = "",
        account: str | None = None,
    ) -> None:
        who = account or (f"user:(unknown)@{source.name}" if source is not None else "user:(unknown)")
        self._refused(endpoint, who, why, explanation)


class NotAnsweredError(AuthenticationError):
    """The provider did not answer, or not in a way that makes sense."""


class _StillPendingError(Exception):
    """Nobody has said yes or no to a device grant."""

    def __init__(self, *, slow_down: bool) -> None:
        self.slow_down = slow_down
        super().__init__()


def _digest(browser: str) -> bytes:
    return sha256(browser.encode("utf-8", "replace")).digest()


def _port(endpoint: Endpoint) -> tuple[int, int]:
    return endpoint.attachment.dpid, endpoint.attachment.port
