"""Sessions: whose they are, and the instant in which they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attack.cast import Permit
from attack.evidence import everything, observations
from attack.frames import Packet, ether, tcp
from attack.scenario import ATTACKS, Group
from attack.trial import Trial
from attack.website import ask, form_of, log_in, log_in_by_form, password_user, post_json, session_seen
from lab.errors import LabError

group = Group("sessions", ATTACKS)
_NO_SESSIONS = "a network without Zethane has no sessions"
_ROUNDS = 3
_CACHED = 0.25
"""Seconds after an acknowledged change in which Open vSwitch may still forward by what it had cached."""


# Addresses


def _claim(trial: Trial, source: str) -> str:
    """What a stranger with a valid account gets from an address; it logs out again."""
    stranger = trial.cast.stranger
    _, who = password_user(trial)
    answer = log_in(trial, stranger, who, source=source)
    if answer.status != 200:
        return ""
    post_json(trial, stranger, "/v1/logout", {}, source=source)
    return f"session {answer.json.get('session')} at {source}"


def _claim_own(trial: Trial) -> None:
    trial.note("login from the client's address", _claim(trial, trial.ip(trial.cast.stranger)))
    trial.note("login from the server's address", _claim(trial, trial.ip(trial.cast.stranger)))


@group.scenario(
    "login-from-a-held-address",
    reference="RFC 7039 (SAVI), CVE-2014-5035",
    tried="a stranger with a valid account takes the client's and the server's address and logs in from there",
    success="it is given a session at that address",
    covers=("address-held",),
    judge=observations,
    quick=True,
    unprotected=_NO_SESSIONS,
    control=_claim_own,
)
def held_address(trial: Trial) -> None:
    """The address is its kernel's own: the packets are as good as the owner's but for card and port."""
    for whose, name in (("client", trial.cast.client), ("server", trial.cast.server)):
        with trial.arena.borrowing(trial.cast.stranger, trial.ip(name)):
            trial.note(f"login from the {whose}'s address", _claim(trial, trial.ip(name)))


# Fixation


def _fixate(trial: Trial, owner: str, thief: str) -> None:
    """The owner logs in with what the thief was given by the portal; then the thief asks who it is."""
    _, who = password_user(trial, kind="user")
    cookie, token = form_of(trial, thief)
    log_in_by_form(trial, owner, who, cookie, token)
    trial.note("session by a cookie", session_seen(trial, thief, cookie))
    answer = log_in(trial, owner, who)
    if answer.status != 200:
        raise LabError(f"{owner} cannot log in: {answer.status} {answer.text[:200]}")
    claimed = post_json(trial, thief, "/v1/addresses", {"token": answer.json["token"]})
    trial.note("address by another's token", "the address was added" if claimed.status == 200 else "")


def _fixate_itself(trial: Trial) -> None:
    owner, _ = password_user(trial, kind="user")
    _fixate(trial, owner, owner)


@group.scenario(
    "session-fixation",
    reference="CWE-384; OWASP WSTG-SESS-03",
    tried="a host logs in with the stranger's cookie and form; the stranger then shows the cookie, and a stolen token",
    success="the stranger is taken for the host, or adds its address to the host's session",
    covers=("fixation",),
    judge=observations,
    quick=True,
    unprotected=_NO_SESSIONS,
    control=_fixate_itself,
)
def fixation(trial: Trial) -> None:
    """A session is where its packets come from, not what somebody knows."""
    owner, _ = password_user(trial, kind="user")
    _fixate(trial, owner, trial.cast.stranger)


# The end of a session


class _Opener:
    """Opens connections as fast as it can in a thread: SYNs from ever new ports."""

    def __init__(self, trial: Trial, permit: Permit) -> None:
        self._trial, self._permit = trial, permit
        self._port = 20_000
        self._stop = threading.Event()

    def segment(self, token: bytes = b"") -> Packet:
        """The next SYN."""
        self._port += 1
        trial, permit = self._trial, self._permit
        head = ether(trial.mac(permit.source), trial.mac(permit.target))
        source, target = trial.ip(permit.source), trial.ip(permit.target)
        return head / tcp(source, target, self._port, permit.port, "S", token)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Open connections while the block runs."""
        frames = [bytes(self.segment()) for _ in range(2000)]

        def run() -> None:
            for frame in frames:
                if self._stop.is_set():
                    return
                self._trial.send(self._permit.source, [frame], gap=0.0005)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()


def _race(trial: Trial, end: Callable[[str], None]) -> None:
    """End a session while it opens connections; what it sends when its end is acknowledged is marked."""
    permit = trial.permit("tcp", password_only=True)
    for number in range(_ROUNDS):
        opener = _Opener(trial, permit)
        token = trial.mark(permit.source, f"after its end, round {number + 1}")
        with opener.opening():
            time.sleep(0.05 + 0.03 * number)
            end(permit.source)
        time.sleep(_CACHED)
        live = trial.arena.api("GET", f"/flows?session={trial.arena.sessions[permit.source].session}")["flows"]
        trial.note(f"flows of the ended session, round {number + 1}", f"{len(live)} flows" if live else "")
        trial.send(permit.source, [opener.segment(token) for _ in range(100)], gap=0.001)
        trial.arena.settle()
        trial.arena.log_in(permit.source)


def _still_open(trial: Trial) -> None:
    """The same without an end."""
    permit = trial.permit("tcp", password_only=True)
    opener = _Opener(trial, permit)
    token = trial.mark(permit.source, "while it lives")
    trial.send(permit.source, [opener.segment(token) for _ in range(5)], gap=0.01)
    trial.arena.settle()
    if trial.arena.granted:
        return  # the controller has no flow that could be counted: what arrives has to show it
    live = trial.arena.api("GET", f"/flows?session={trial.arena.sessions[permit.source].session}")["flows"]
    trial.note("flows of the living session", f"{len(live)} flows" if live else "")


@group.scenario(
    "logout-race",
    reference="CWE-362, CWE-613",
    tried=f"a host logs out while it opens hundreds of connections, {_ROUNDS} times",
    success="a connection opened after the acknowledged logout reaches the server, or a flow of it is left",
    covers=("logout-race",),
    judge=everything,
    unprotected=_NO_SESSIONS,
    control=_still_open,
)
def logout_race(trial: Trial) -> None:
    """At the portal, by the host itself."""

    def end(host: str) -> None:
        answer = post_json(trial, host, "/v1/logout", {})
        if answer.status != 200:
            raise LabError(f"{host} cannot log out: {answer.status} {answer.text[:200]}")

    _race(trial, end)


@group.scenario(
    "revocation-instant",
    reference="CWE-613; Calico 6399, OpenZiti 4322",
    tried=f"an operator revokes a session while it opens hundreds of connections, {_ROUNDS} times",
    success="a connection opened after the acknowledged revocation reaches the server, or a flow of it is left",
    covers=("revocation-instant",),
    judge=everything,
    unprotected=_NO_SESSIONS,
    control=_still_open,
)
def revocation(trial: Trial) -> None:
    """By its number, at the API."""
    _race(trial, lambda host: trial.arena.api("DELETE", f"/sessions/{trial.arena.sessions[host].session}"))


def _see_own(trial: Trial) -> None:
    trial.note("by headers", session_seen(trial, trial.cast.client))


@group.scenario(
    "session-by-headers",
    reference="CWE-290, CWE-348",
    tried="a stranger says in headers that it is the client: X-Forwarded-For, Forwarded, X-Real-IP and others",
    success="it is taken for the client",
    covers=("fixation", "address-held"),
    judge=observations,
    quick=True,
    unprotected=_NO_SESSIONS,
    control=_see_own,
)
def headers(trial: Trial) -> None:
    """No header has a say."""
    client = trial.ip(trial.cast.client)
    names = ("X-Forwarded-For", "X-Real-IP", "X-Client-IP", "True-Client-IP", "Forwarded", "Via")
    forged = {name: f"for={client}" if name == "Forwarded" else client for name in names}
    answer = ask(trial, trial.cast.stranger, "GET", "/v1/session", headers=forged)
    trial.note("by headers", str(answer.json.get("session") or ""))
