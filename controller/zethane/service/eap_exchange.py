"""One host's authentication, as a state machine: IEEE 802.1X-2020 §8, with EAP passed through (RFC 3579, RFC 4137).

Pure: events and the time go in, effects come out. What is asked of a server has a token; an answer without the token
of the question that is open says nothing.

      IDENTITY ──response──▶ SERVER ◀──response── METHOD        QUIET    a server has said no, or none has spoken
          │                    │ └───challenge───────▲  │       SILENT   the host has said nothing
          └─ no answer ─▶ SILENT └─ reject ─▶ QUIET     └─ no answer ─▶ SILENT
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from zethane.audit.reason import LoginRefusal
from zethane.net.eapol import Code, Eap, Method, failure, identity_request, parse_eap
from zethane.service.radius import AccessReply

MAX_ROUNDS = 64
"""Responses in one exchange: EAP-TLS with long chains of certificates needs about twenty."""

SERVER_TIMEOUT = 30.0
"""Seconds until a server that has not answered will not (IEEE 802.1X-2004 §8.2.2.1 serverTimeout): the client has
asked all of them by then, or given up before."""

MAX_WAIT = 60.0
"""Seconds that a server may let the authenticator wait for a response (RFC 3579 §2.5)."""

RESTART = 1.0
"""Seconds in which one EAPOL-Start is as good as several."""

_NO_METHODS = frozenset((Method.IDENTITY, 2, Method.NAK))
"""Types that authenticate nobody; 2 is Notification (RFC 3748 §5.2)."""


class Phase(Enum):
    """What is waited for."""

    IDENTITY = "identity"
    SERVER = "server"
    METHOD = "method"
    QUIET = "quiet"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Timers:
    """Seconds, and how often a request is sent in all (IEEE 802.1X-2020 §8)."""

    tx_period: float = 30.0
    quiet_period: float = 60.0
    max_requests: int = 2


@dataclass(frozen=True, slots=True)
class Send:
    """Send an EAP packet to the host."""

    packet: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the server: about a response (None: about the MAC address)."""

    token: object
    eap: bytes | None = None
    state: bytes | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A server has said yes: `admitted` or `refused` goes on."""

    reply: AccessReply


@dataclass(frozen=True, slots=True)
class Failed:
    """Nobody was authenticated."""

    why: LoginRefusal


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The host has not answered; `spoke`: it had before, in this exchange."""

    spoke: bool


@dataclass(frozen=True, slots=True)
class Over:
    """There is nothing left to remember."""


Effect = Send | Ask | Accepted | Failed | Unanswered | Over
Effects = Sequence[Effect]


@dataclass(slots=True)
class Exchange:
    """One host's authentication. `due` is the moment at which `tick` has something to do.

    `method` is the EAP type that was last spoken. `renewing`: there is a session, which an exchange without a result
    does not end; it is tried again until its time is over.
    """

    timers: Timers
    renewing: bool = False
    phase: Phase = Phase.SILENT
    due: float = math.inf
    identity: str | None = None
    method: int | None = None
    bypass: bool = False
    _identifier: int = 0
    _packet: bytes = b""
    _sent: int = 0
    _rounds: int = 0
    _wait: float = 0.0
    _began: float = -math.inf
    _token: object = field(default_factory=object)
    _state: bytes | None = None
    _server: str | None = None
    _wanted: bool = False

    # what begins one

    def begin(self, now: float) -> Effects:
        """Ask who is there; whatever was under way is void."""
        self._reset(now, bypass=False)
        self._identifier = (self._identifier + 1) & 0xFF
        self._wait = self.timers.tx_period
        return self._request(identity_request(self._identifier), Phase.IDENTITY, now)

    def start(self, now: float) -> Effects | None:
        """The host wants to authenticate (EAPOL-Start); None if it has to wait: then it is asked when that is over."""
        if self.bypass:  # what its MAC is worth no longer matters
            return self.begin(now)
        if self.phase == Phase.QUIET and 0 < self.due - now <= self.timers.quiet_period:
            self._wanted = True
            return None
        if self.phase == Phase.IDENTITY:
            return [Send(self._packet)]
        # A clock that was set back keeps nobody out.
        return None if 0 <= now - self._began < RESTART else self.begin(now)

    def use_mac(self, now: float) -> Effects:
        """Ask the server about the MAC address alone."""
        self._reset(now, bypass=True)
        return self._ask(None, now)

    def _reset(self, now: float, *, bypass: bool) -> None:
        self.identity, self.method, self.bypass = None, None, bypass
        self._rounds, self._began, self._wanted = 0, now, False
        self._state = self._server = None
        self._token = object()

    # what the host says

    def response(self, eap: Eap, now: float) -> Effects | None:
        """Pass a response on; None for one that nobody waits for, or that begins without an identity."""
        waits = self.phase in (Phase.IDENTITY, Phase.METHOD)
        if not waits or eap.code != Code.RESPONSE or eap.identifier != self._identifier:
            return None
        if self.phase == Phase.IDENTITY:
            if eap.identity is None:
                return None
            self.identity = eap.identity
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            return self._fail(LoginRefusal.INVALID_ANSWER, now)
        return self._ask(eap.packet, now)

    def _ask(self, eap: bytes | None, now: float) -> Effects:
        self.phase, self.due = Phase.SERVER, now + SERVER_TIMEOUT
        self._token = object()
        return [Ask(self._token, eap, self._state, self._server)]

    # what the server says

    def is_open(self, token: object) -> bool:
        """Whether the question with this token waits for its answer."""
        return self.phase == Phase.SERVER and token is self._token

    def answer(self, token: object, reply: AccessReply, now: float) -> Effects:
        """An answer to a question; nothing happens if that is not the one that is open."""
        if not self.is_open(token):
            return []
        eap = None if reply.eap is None else parse_eap(reply.eap)
        if reply.code == "reject":
            return self._reject(eap, now)
        if self.bypass:
            accepted = reply.code == "accept"
            return [Accepted(reply)] if accepted else self._fail(LoginRefusal.INVALID_ANSWER, now)
        # RFC 3579 §2.6.3: what the EAP packet says and what the RADIUS packet says have to agree.
        wanted = Code.SUCCESS if reply.code == "accept" else Code.REQUEST
        if eap is None or eap.code != wanted:
            return self._fail(LoginRefusal.INVALID_ANSWER, now)
        if reply.code == "accept":
            self._packet = eap.packet
            return [Accepted(reply)]
        return self._challenge(eap, reply, now)

    def _challenge(self, eap: Eap, reply: AccessReply, now: float) -> Effects:
        self._identifier, self._state, self._server = eap.identifier, reply.state, reply.server
        if eap.method not in _NO_METHODS:
            self.method = eap.method
        wait = self.timers.tx_period if reply.session_timeout is None else reply.session_timeout
        self._wait = min(max(wait, 1.0), MAX_WAIT)
        return self._request(eap.packet, Phase.METHOD, now)

    def _reject(self, eap: Eap | None, now: float) -> Effects:
        packet = eap.packet if eap is not None and eap.code == Code.FAILURE else failure(self._identifier)
        return self._fail(LoginRefusal.REJECTED, now, packet)

    def unavailable(self, token: object, why: LoginRefusal, now: float) -> Effects:
        """No server has given an answer that can be believed."""
        return self._unanswered_by_server(why, now) if self.is_open(token) else []

    # what follows

    def admitted(self) -> Effects:
        """The session is there."""
        return [Over()] if self.bypass else [Send(self._packet), Over()]

    def refused(self, why: LoginRefusal, now: float) -> Effects:
        """There is no session, whatever the server says."""
        return self._fail(why, now)

    def _fail(self, why: LoginRefusal, now: float, packet: bytes | None = None, wait: float | None = None) -> Effects:
        """Tell the host, and hear nothing of it for a while."""
        self.phase, self.due = Phase.QUIET, now + (self.timers.quiet_period if wait is None else wait)
        self._token = object()
        failed: Effects = [Failed(why)]
        return failed if self.bypass else [Send(packet or failure(self._identifier)), *failed]

    def _unanswered_by_server(self, why: LoginRefusal, now: float) -> Effects:
        """Try again soon; who has a session hears nothing of it."""
        effects = self._fail(why, now, wait=self.timers.tx_period)
        return [effect for effect in effects if not (self.renewing and isinstance(effect, Send))]

    # time

    def tick(self, now: float) -> Effects:
        """Send again, give up, or begin again: what is due."""
        if now < self.due:
            return []
        if self.phase == Phase.SERVER:
            return self._unanswered_by_server(LoginRefusal.NOT_ANSWERED, now)
        if self.phase in (Phase.QUIET, Phase.SILENT):
            return self._after_waiting(now)
        if self._sent < self.timers.max_requests:
            return self._request(self._packet, self.phase, now, again=True)
        spoke = self.phase == Phase.METHOD
        self.phase, self.due = Phase.SILENT, now + self.timers.quiet_period
        return [Unanswered(spoke)]

    def _after_waiting(self, now: float) -> Effects:
        if self._wanted:
            return self.begin(now)
        if self.renewing:
            return self.use_mac(now) if self.bypass else self.begin(now)
        return [Over()]

    def _request(self, packet: bytes, phase: Phase, now: float, *, again: bool = False) -> Effects:
        self.phase, self.due, self._packet = phase, now + self._wait, packet
        self._sent = self._sent + 1 if again else 1
        return [Send(packet)]
