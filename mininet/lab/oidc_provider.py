"""A real OpenID provider for labs and tests: oidc-provider on Node.js, in a directory of its own.

Several may run at once. It runs beside the controller, which reaches it on loopback; a host of a lab reaches it in
another namespace, by a socket that was opened there and that it was given.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.certificates import Authority
from lab.errors import LabError
from lab.host import RunningHost
from lab.processes import stop, tail, wait_for

START_TIMEOUT = 20.0
"""Seconds until it must be ready."""

CLIENT = "zethane"

_HERE = Path(__file__).resolve().parent
_MODULE = _HERE.parents[1] / ".node" / "node_modules" / "oidc-provider" / "lib" / "index.js"
"""Where `./run` installs it."""

_ENTER = """
import ctypes, os, socket, sys
home, address, port, *command = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
listening = socket.create_server((address, int(port)), family=family, backlog=64)
os.dup2(listening.fileno(), 3, inheritable=True)
libc = ctypes.CDLL(None, use_errno=True)
if libc.setns(os.open(home, os.O_RDONLY | os.O_CLOEXEC), 0x40000000) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(command[0], command)
"""
"""Listens in this namespace as descriptor 3, and runs the command in the one of a file like /proc/1/ns/net."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who can sign in. `claims` beside `sub` and `preferred_username`, which are the name."""

    password: str = field(repr=False)
    groups: Sequence[str] = ()
    mfa: bool = False
    disabled: bool = False
    acr: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)

    def value(self) -> dict[str, Any]:
        """As the server's file has it."""
        claims = {"groups": list(self.groups), **self.claims}
        value = {"password": self.password, "mfa": self.mfa, "disabled": self.disabled, "claims": claims}
        return value | ({"acr": self.acr} if self.acr is not None else {})


class OidcProvider:
    """One provider: `with OidcProvider(directory, accounts, redirect_uri) as provider:`.

    Without `place` its issuer is `http://127.0.0.1:PORT`. With one (the portal's, as a rule) it is
    `https://ADDRESS:PORT` there, and the controller reaches it on loopback (`connect`); `authority` signs its
    certificate. `skew` are the seconds that its clock is ahead.
    """

    def __init__(
        self,
        directory: Path,
        accounts: Mapping[str, Account],
        redirect_uri: str,
        *,
        place: RunningHost | None = None,
        port: int = 9443,
        authority: Authority | None = None,
        logout_uri: str | None = None,
        skew: float = 0.0,
        userinfo_only: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self._accounts = dict(accounts)
        self._place, self._port = place, port
        self._redirect_uri, self._logout_uri = redirect_uri, logout_uri
        self._skew, self._userinfo_only = skew, userinfo_only
        self._environment = dict(os.environ) | dict(environment or {})
        self._secret = secrets.token_urlsafe(24)
        self._loopback = 0
        self._ready: dict[str, Any] = {}
        self.authority = authority
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OidcProvider:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def log(self) -> Path:
        """What it says."""
        return self._directory / "provider.log"

    @property
    def issuer(self) -> str:
        """Its issuer identifier."""
        if self._place is None:
            return f"http://127.0.0.1:{self._loopback}"
        address = self._place.address()
        return f"https://[{address}]:{self._port}" if address.version == 6 else f"https://{address}:{self._port}"

    def sources(self, **more: Any) -> dict[str, Any]:
        """Its entry in sources.yaml."""
        settings: dict[str, Any] = {"issuer": self.issuer, "client_id": CLIENT, "client_secret": self._secret}
        if self._place is not None:
            assert self.authority is not None  # noqa: S101 - `start` has made sure
            settings |= {"connect": f"127.0.0.1:{self._loopback}", "ca": str(self.authority.certificate)}
        return settings | more

    def start(self) -> None:
        """Start it, on the same ports as before if it ran before. Raises LabError."""
        if not _MODULE.exists():
            raise LabError("the OpenID provider is not installed: ./run lab and ./run test do that")
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._loopback == 0:
            self._loopback = _free_port()
        self._write_accounts()
        file = self._directory / "provider.json"
        _write(file, json.dumps(self._settings()))
        ready = self._directory / "ready.json"
        ready.unlink(missing_ok=True)
        command = ["node", str(_HERE / "oidc" / "server.mjs"), str(file)]
        with self.log.open("ab") as log:
            options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            if self._place is None:
                self.process = subprocess.Popen(command, env=self._environment, start_new_session=True, **options)
            else:
                home = f"/proc/{os.getpid()}/ns/net"
                place = (home, str(self._place.address()), str(self._port))
                self.process = self._place.popen(
                    [sys.executable, "-I", "-S", "-c", _ENTER, *place, *command], **options
                )
        self._wait_ready(None)

    def _settings(self) -> dict[str, Any]:
        client: dict[str, Any] = {
            "client_id": CLIENT,
            "client_secret": self._secret,
            "redirect_uris": [self._redirect_uri],
        }
        if self._logout_uri is not None:
            client["backchannel_logout_uri"] = self._logout_uri
        settings: dict[str, Any] = {
            "module": str(_MODULE),
            "issuer": self.issuer,
            "listen": [{"host": "127.0.0.1", "port": self._loopback}],
            "ready": str(self._directory / "ready.json"),
            "accounts": str(self._directory / "accounts.json"),
            "clients": [client],
            "skew": self._skew,
            "userinfoOnly": self._userinfo_only,
        }
        if self._place is not None:
            self.authority = self.authority or Authority(self._directory / "certificates")
            issued = self.authority.server("provider", [str(self._place.address())])
            settings["listen"].append({"fd": 3})
            settings |= {"certificate": str(issued.certificate), "key": str(issued.key)}
        return settings

    def _write_accounts(self) -> None:
        values = {name: account.value() for name, account in self._accounts.items()}
        _write(self._directory / "accounts.json", json.dumps(values))

    def change(self, name: str, account: Account) -> None:
        """Put somebody in the place of who had the name; at once, and for refreshes as well."""
        self._accounts[name] = account
        self._write_accounts()

    def rotate_keys(self) -> None:
        """Sign with a new key, and publish the old one no more. Raises LabError."""
        assert self.process is not None  # noqa: S101 - it runs
        os.kill(int(self._ready["pid"]), signal.SIGUSR2)
        self._wait_ready(str(self._ready["kid"]))

    def pause(self) -> None:
        """Let it take connections and answer nothing."""
        os.kill(int(self._ready["pid"]), signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(int(self._ready["pid"]), signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            if self.process.poll() is None and self._ready:
                self.resume()  # what is stopped cannot end
            stop(self.process)

    def _wait_ready(self, before: str | None) -> None:
        """Wait until it listens, and signs with another key than that of before."""
        file = self._directory / "ready.json"
        assert self.process is not None  # noqa: S101 - it was started
        process = self.process

        def ready() -> dict[str, Any] | None:
            if process.poll() is not None:
                raise LabError(f"the OpenID provider ended with status {process.returncode}. {tail(self.log)}")
            told = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
            return told if told is not None and told["kid"] != before else None

        self._ready = wait_for("the OpenID provider did not start", ready, START_TIMEOUT, lambda: tail(self.log))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write(file: Path, text: str) -> None:
    """Whole or not at all, for its owner alone: it holds secrets."""
    fresh = file.with_name(file.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)
