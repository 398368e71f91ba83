"""Single sign-on: from a host's wish to log in at an OpenID provider to its session.

What is begun is bound to the endpoint that began it (attachment and address) and to its browser. Only the portal's
back end calls this, with endpoints that the switches have named; the portal itself learns no code verifier, no
nonce and no token, and cannot say who somebody is.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from zethane.audit.reason import LoginRefusal, SessionEvent
from zethane.identity.openid import InvalidTokenError, LogoutToken
from zethane.identity.session import Endpoint, Session
from zethane.service.device_grant import DeviceGrants
from zethane.service.sign_on_desk import LIFETIME, Desk, Pending

TakeOnce = Callable[[str, str, float, float], bool]
"""Called as `take_once(issuer, id, until, now)`: whether a token was not taken before (`SqliteStore.take_once`)."""


@dataclass(frozen=True, slots=True)
class Callback:
    """What a browser brought back from the provider (RFC 6749 §4.1.2, RFC 9207)."""

    state: str
    code: str | None = None
    issuer: str | None = None
    error: str | None = None


@dataclass(slots=True, eq=False, repr=False)
class _PendingLogin(Pending):
    """A login that has begun in a browser. `browser` is the hash of its cookie's secret."""

    browser: bytes
    redirect_uri: str
    nonce: str
    verifier: str
    fresh: bool


class SignOn:
    """Logins at OpenID providers, in browsers and, as `devices`, on hosts without one.

    `tls_port` is where the portal speaks HTTPS, if it does.
    """

    def __init__(self, desk: Desk, take_once: TakeOnce, tls_port: int | None = None) -> None:
        self.devices = DeviceGrants(desk)
        self._desk = desk
        self._take_once = take_once
        self._tls_port = tls_port
        self._logins: dict[str, _PendingLogin] = {}

    def labels(self) -> list[dict[str, str]]:
        """The providers, for people: name and label."""
        return [{"name": name, "label": source.settings.label or name} for name, source in self._desk.sources.items()]

    def callback_uri(self, address: str, port: int) -> str:
        """Where a browser comes back to that has reached the portal there, unless sources.yaml says otherwise."""
        scheme = "https" if port == self._tls_port else "http"
        return f"{scheme}://{f'[{address}]' if ':' in address else address}:{port}/oidc/callback"

    async def begin(
        self, endpoint: Endpoint, name: str, browser: str, redirect_uri: str, *, fresh: bool = False
    ) -> str:
        """Where to send a browser to. `browser` is the secret of its cookie; `redirect_uri` where it comes back.

        Raises InputError for an unknown provider, AuthenticationError, LoginLimitError.
        """
        source = self._desk.source(name)
        self._desk.admit(endpoint)
        pending = _PendingLogin(
            source,
            endpoint,
            self._desk.clock() + LIFETIME,
            _digest(browser),
            source.settings.redirect_uri or redirect_uri,
            secrets.token_urlsafe(24),
            secrets.token_urlsafe(48),
            fresh,
        )
        state = secrets.token_urlsafe(32)
        with self._desk.request(endpoint), self._desk.answers(endpoint, source):
            url = await source.authorization(
                pending.redirect_uri, state, pending.nonce, pending.verifier, fresh=pending.fresh
            )
        self._desk.keep(self._logins, state, pending)
        return url

    async def finish(self, endpoint: Endpoint, browser: str, callback: Callback) -> Session:
        """Start a session with what a browser brought back, or renew the one that is there.

        Raises AuthenticationError, LoginLimitError, and what `ControllerFacade.start_session` raises.
        """
        self._desk.may_answer(endpoint)
        # Whatever comes of it, the state has been used.
        pending = self._logins.pop(callback.state, None)
        if pending is None or pending.expires <= self._desk.clock():
            self._desk.refuse(endpoint, None, LoginRefusal.INVALID_ANSWER, "no such login has begun, or too long ago")
        source = pending.source
        if not hmac.compare_digest(pending.browser, _digest(browser)):
            self._desk.refuse(endpoint, source, LoginRefusal.INVALID_ANSWER, "another browser began this login")
        if pending.endpoint != endpoint:
            self._desk.refuse(endpoint, source, LoginRefusal.INVALID_ANSWER, "another endpoint began this login")
        with self._desk.request(endpoint), self._desk.answers(endpoint, source):
            says_issuer = await source.says_issuer()
            if callback.issuer != source.settings.issuer and (says_issuer or callback.issuer is not None):
                self._desk.refuse(
                    endpoint, source, LoginRefusal.INVALID_ANSWER, "iss in the answer is not the provider"
                )
            if callback.error is not None or not callback.code:
                self._desk.refuse(endpoint, source, LoginRefusal.REJECTED, "the provider gave no code")
            tokens = await source.exchange(
                callback.code, pending.redirect_uri, pending.nonce, pending.verifier, fresh=pending.fresh
            )
        return self._desk.start(endpoint, source, tokens)

    async def logout(self, name: str, token: str) -> int:
        """End what rests on a login that has ended at its provider; how many sessions that were.

        Raises InputError for an unknown provider, InvalidTokenError, ProviderError, CapacityError.
        """
        logout = await self._desk.source(name).logout(token)
        if not self._take_once(logout.issuer, logout.jti, logout.until, self._desk.clock()):
            raise InvalidTokenError("the token was taken before")
        return self._end_sessions(name, logout)

    def _end_sessions(self, name: str, logout: LogoutToken) -> int:
        words = [word for word in (logout.subject, logout.sid) if word is not None]
        sessions = self._desk.facade.sessions_known_as(*words)
        found = [(session.number, proof) for session in sessions for proof in session.proofs if logout.fits(proof)]
        detail = f"back-channel logout by {name}"
        return sum(
            self._desk.facade.change_proof(number, proof, None, SessionEvent.SIGNALLED, detail)
            for number, proof in found
        )


def _digest(browser: str) -> bytes:
    return sha256(browser.encode("utf-8", "replace")).digest()
