"""Logging hosts in as their people and workloads would: `zethane login`, from inside their namespace."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lab.certificates import Issued
from lab.errors import LabError
from lab.host import RunningHost
from lab.processes import zethane
from zethane.network.model import Login

PARALLEL = 4
"""Logins at a time: a command takes a core for about half a second to start."""


@dataclass(frozen=True, slots=True)
class LoginResult:
    """What a login brought. `expires` is as the portal gives it."""

    host: str
    principal: str
    session: int
    segment: str
    expires: str


def _silent(notice: str) -> None:
    """A notice that nobody reads."""


def portal_login(
    host: RunningHost, who: Login, portals: Sequence[str], notice: Callable[[str], None] = _silent
) -> LoginResult:
    """Log a host in at the portal, with all of its addresses. Raises LabError with what the command said."""
    arguments = [*_portals(host, portals), f"--{who.kind}", who.name, "--json"]
    if who.totp:
        arguments.append("--totp")
    return result_of(host, _run(host, ["login", *arguments], secrets=_secrets(host, who, notice)))


def certificate_login(host: RunningHost, issued: Issued, portals: Sequence[str], ca: Path) -> LoginResult:
    """Log a host in by its certificate, with all of its addresses. Raises LabError with what the command said."""
    pair = ["--cert", str(issued.certificate), "--key", str(issued.key)]
    arguments = [*_portals(host, portals), *pair, "--ca", str(ca), "--json"]
    return result_of(host, _run(host, ["login", *arguments], secrets=""))


def person_login(host: RunningHost, who: Login, portal: str) -> None:
    """Let the person at a host follow the portal's link to her provider, and sign in there. Raises LabError."""
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from lab.oidc_person import main; main()"
    folder = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-c", program, str(folder), "login", portal, who.provider or ""]
    done = host.run(command, text_in=f"{who.name}\n{who.secret}\n", timeout=60)
    if done.returncode:
        raise LabError(f"{host.name}: single sign-on failed: {done.stderr.strip()[-500:]}")


def result_of(host: RunningHost, session: Mapping[str, object]) -> LoginResult:
    """What a login has brought, from a session as the portal or the API shows it."""
    return LoginResult(
        host.name,
        str(session["principal"]),
        int(str(session["session"])),
        str(session["segment"]),
        str(session["expires"]),
    )


def logout(host: RunningHost, portals: Sequence[str]) -> None:
    """Log a host out. Raises LabError with what the command said."""
    _run(host, ["logout", *_portals(host, portals)[:2]], secrets="")


def login_all(
    hosts: Iterable[RunningHost],
    login: Callable[[RunningHost], LoginResult],
    done: Callable[[RunningHost, LoginResult | LabError], None],
) -> list[LoginResult]:
    """Log all in, some at a time, and tell each result as it comes. Returns them in the order of the hosts."""
    listed = [host for host in hosts if host.login]
    results: dict[str, LoginResult] = {}
    pool = ThreadPoolExecutor(PARALLEL)
    try:
        futures = {pool.submit(_attempt, host, login): host for host in listed}
        for future in as_completed(futures):
            host, result = futures[future], future.result()
            done(host, result)
            if isinstance(result, LoginResult):
                results[host.name] = result
    finally:
        # After an interrupt nobody waits for logins: the clean-up ends those that have begun.
        pool.shutdown(wait=False, cancel_futures=True)
    return [results[host.name] for host in listed if host.name in results]


def _attempt(host: RunningHost, login: Callable[[RunningHost], LoginResult]) -> LoginResult | LabError:
    try:
        return login(host)
    except LabError as error:
        return error


def _portals(host: RunningHost, portals: Sequence[str]) -> list[str]:
    """`--portal URL` for each family that the host has; each address shows in its connection."""
    families = {address.version for address in host.addresses}
    wanted = [url for url in portals if (6 if "[" in urlsplit(url).netloc else 4) in families]
    return [part for url in wanted for part in ("--portal", url)]


def _secrets(host: RunningHost, who: Login, notice: Callable[[str], None]) -> str:
    """One a line, on standard input: a command line is for everyone to read."""
    lines = [who.secret]
    if who.totp:
        code, wait = host.codes.take(who.name, who.totp)
        if wait:
            notice(f"{host.name}: {who.name}'s one-time codes are used up; the next is good in {wait:.0f} s …")
            host.codes.wait(wait)
        lines.append(code)
    return "\n".join(lines) + "\n"


def _run(host: RunningHost, arguments: list[str], secrets: str) -> dict[str, object]:
    try:
        done = host.run(zethane(*arguments), text_in=secrets, timeout=30)
    except subprocess.TimeoutExpired:
        raise LabError(f"{host.name}: zethane {arguments[0]} did not finish within 30 s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise LabError(f"{host.name}: zethane {arguments[0]} failed: {said}")
    if "--json" not in arguments:
        return {}
    try:
        answer: dict[str, object] = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise LabError(f"{host.name}: zethane {arguments[0]} answered {done.stdout[:200]!r}; expected JSON") from None
    return answer
