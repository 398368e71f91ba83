"""Logins on hosts without a browser: a person lets them in at a provider, from elsewhere (RFC 8628)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from zethane.audit.reason import LoginRefusal
from zethane.errors import AuthenticationError, InputError, Problem
from zethane.identity.session import Endpoint, Session
from zethane.service.openid import Tokens
from zethane.service.sign_on_desk import LIFETIME, Desk, NotAnsweredError, Pending, StillPendingError

SLOW_DOWN = 5.0
"""Seconds that are added to a device's interval when its provider says slow_down (RFC 8628 §3.5)."""


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
class _PendingDevice(Pending):
    """A grant that has begun. `due` is when its provider may be asked again; times in seconds."""

    device_code: str
    interval: float
    due: float
    busy: bool = False


class DeviceGrants:
    """Device grants that have begun and are not over."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._devices: dict[str, _PendingDevice] = {}

    async def begin(self, endpoint: Endpoint, name: str | None) -> Device:
        """Ask a provider, or the only one, to let a device in (RFC 8628). Raises as `SignOn.begin`."""
        if name is None and len(self._desk.sources) != 1:
            known = ", ".join(self._desk.sources)
            raise InputError([Problem("login", f"expected a provider, one of: {known}", key="provider")])
        source = self._desk.source(name or next(iter(self._desk.sources)))
        self._desk.admit(endpoint)
        with self._desk.request(endpoint), self._desk.answers(endpoint, source):
            code = await source.device()
        now = self._desk.clock()
        lifetime = min(code.expires_in, 3 * LIFETIME)
        pending = _PendingDevice(source, endpoint, now + lifetime, code.device_code, code.interval, now + code.interval)
        handle = secrets.token_urlsafe(32)
        self._desk.keep(self._devices, handle, pending)
        return Device(
            handle, code.user_code, code.verification_uri, code.verification_uri_complete, lifetime, code.interval
        )

    async def poll(self, endpoint: Endpoint, handle: str) -> Session | float:
        """The session of a device that was let in, or the seconds after which to ask again. Raises as `SignOn.finish`.

        The provider is asked no more often than it wants to be, however often the device asks.
        """
        self._desk.may_answer(endpoint)
        pending = self._devices.get(handle)
        now = self._desk.clock()
        if pending is None or pending.endpoint != endpoint or pending.expires <= now:
            self._desk.refuse(
                endpoint, None, LoginRefusal.INVALID_ANSWER, "no such device grant has begun, or too long ago"
            )
        if pending.busy or now < pending.due:
            return max(1.0, pending.due - now)
        tokens = await self._tokens(endpoint, handle, pending)
        if tokens is None:
            return max(1.0, pending.due - self._desk.clock())
        if self._devices.pop(handle, None) is None:
            self._desk.refuse(
                endpoint, pending.source, LoginRefusal.INVALID_ANSWER, "the device grant was used already"
            )
        return self._desk.start(endpoint, pending.source, tokens)

    async def _tokens(self, endpoint: Endpoint, handle: str, pending: _PendingDevice) -> Tokens | None:
        """Ask the provider once; None if it is to be asked again. Whatever else it says, the grant is over."""
        pending.busy, pending.due = True, self._desk.clock() + pending.interval
        try:
            with self._desk.request(endpoint), self._desk.answers(endpoint, pending.source):
                return await pending.source.device_tokens(pending.device_code)
        except StillPendingError as waiting:
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
