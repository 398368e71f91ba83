"""The portal: whatever one host does to it, others can log in."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from attack.evidence import observations
from attack.scenario import ATTACKS, Group
from attack.trial import Trial
from attack.website import Answer, ask, log_in, password_user
from lab.network import PORTAL

group = Group("portal", ATTACKS, late=True)
_NO_PORTAL = "a network without Zethane has no portal"
_ATTEMPTS = 40
_SLOW = 100
_PATIENCE = 5.0
"""Seconds in which a login of somebody else has to be done."""


def _kept_out(trial: Trial, secret: str = "") -> str:
    """How the login of an honest host goes wrong; empty if it does not."""
    host, who = password_user(trial)
    started = time.monotonic()
    answer = log_in(trial, host, who, secret=secret)
    taken = time.monotonic() - started
    if answer.status != 200:
        return f"{host} could not log in: {answer.status} {answer.text[:80]}"
    return f"{host} needed {taken:.1f} s to log in" if taken > _PATIENCE else ""


def _wrong_password(trial: Trial) -> None:
    trial.note("another host's login", _kept_out(trial, "not the password"))


@contextmanager
def _slow_connections(trial: Trial, begin: bytes) -> Iterator[None]:
    """Many connections from the stranger that have said this and say no more."""
    server, port = trial.ip(PORTAL), trial.arena.portal_port

    def connect() -> list[socket.socket]:
        made = []
        for _ in range(_SLOW):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex((server, port))
            made.append(one)
        return made

    connections = trial.arena.inside(trial.cast.stranger, connect)
    try:
        time.sleep(0.5)
        for one in connections:
            with suppress(OSError):  # not connected, or closed by the portal: its bounds at work
                one.send(begin)
        yield
    finally:
        for one in connections:
            one.close()


@group.scenario(
    "portal-slow-requests",
    reference="CVE-2007-6750 (Slowloris); RFC 9112 §9.5",
    tried=f"{_SLOW} connections of a stranger that begin a request and never end it: headers, body",
    success="another host cannot log in, or not soon",
    covers=("slow-requests",),
    judge=observations,
    unprotected=_NO_PORTAL,
    control=_wrong_password,
)
def slow(trial: Trial) -> None:
    """Places are counted per address."""
    host = f"{trial.ip(PORTAL)}:{trial.arena.portal_port}"
    head = f"POST /v1/login HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 500\r\n"
    for label, begin in (("headers", head.encode()), ("body", head.encode() + b'\r\n{"user": "')):
        with _slow_connections(trial, begin):
            trial.note(f"another host's login, {label}", _kept_out(trial))


def _too_much(answer: Answer) -> str:
    """An answer to what should be refused: success or a failure of the portal itself are both wrong."""
    refused = answer.status == 0 or 400 <= answer.status < 500
    return "" if refused else f"answered {answer.status}"


def _just_right(trial: Trial) -> None:
    trial.note("a proper request", _too_much(ask(trial, trial.cast.stranger, "GET", "/v1/session")))


@group.scenario(
    "portal-oversized-requests",
    reference="CWE-770; RFC 9112 §6, RFC 9110 §15.5",
    tried="a megabyte as body, 100 kB as header, 50 kB as path, 5000 headers, nested JSON, two framings at once",
    success="one is answered as if it were right, the portal fails, or another host cannot log in",
    covers=("oversized",),
    judge=observations,
    unprotected=_NO_PORTAL,
    control=_just_right,
)
def oversized(trial: Trial) -> None:
    """Refused with 4xx, or cut off."""
    stranger, kind = trial.cast.stranger, {"Content-Type": "application/json"}
    big = b'{"user": "' + b"a" * 1_000_000 + b'", "secret": "x"}'
    nested = b'{"user": ' + b"[" * 3000 + b"]" * 3000 + b', "secret": "x"}'
    framings = {"Transfer-Encoding": "chunked", "Content-Length": "5"}
    requests: dict[str, tuple[str, str, bytes | None, dict[str, str]]] = {
        "a megabyte": ("POST", "/v1/login", big, kind),
        "nested": ("POST", "/v1/login", nested, kind),
        "long header": ("GET", "/v1/session", None, {"X-Long": "a" * 100_000}),
        "many headers": ("GET", "/v1/session", None, {f"X-{number}": "a" for number in range(5000)}),
        "long path": ("GET", "/" + "a" * 50_000, None, {}),
        "wrong length": ("POST", "/v1/login", b"{}", {**kind, "Content-Length": "-1"}),
        "two framings": ("POST", "/v1/login", b"0\r\n\r\n", {**kind, **framings}),
    }
    for label, (method, path, body, headers) in requests.items():
        trial.note(label, _too_much(ask(trial, stranger, method, path, body, headers)))
    trial.note("another host's login", _kept_out(trial))


@group.scenario(
    "portal-login-flood",
    reference="CWE-307, CWE-400; RFC 9106 §4",
    tried=f"{_ATTEMPTS} logins with wrong passwords at once, by a stranger, for an account that is there",
    success="one is answered with a session, or another host cannot log in, or not soon",
    covers=("login-flood",),
    judge=observations,
    unprotected=_NO_PORTAL,
    control=_wrong_password,
)
def flood(trial: Trial) -> None:
    """A password takes long to check, by design: the attempts of one port must not use up all that time."""
    stranger = trial.cast.stranger
    _, who = password_user(trial)
    with ThreadPoolExecutor(16) as pool:
        attempts = [pool.submit(log_in, trial, stranger, who, secret=f"guess {number}") for number in range(_ATTEMPTS)]
        time.sleep(0.2)
        kept_out = _kept_out(trial)
        answers = [attempt.result() for attempt in attempts]
    sessions = sum(answer.status == 200 for answer in answers)
    trial.note("guesses", f"{sessions} sessions" if sessions else "")
    trial.note("another host's login", kept_out)
