"""FreeRADIUS for labs and tests: its own configuration, users, certificates and ports, in a directory of its own.

Several may run at once, each with a directory; none touches /etc/freeradius. Accounting is written as JSON lines.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.certificates import Authority, Issued
from lab.errors import LabError
from lab.freeradius_settings import DICTIONARY, RadiusUser, ServerSettings, users_file
from lab.processes import stop, tail, wait_for

START_TIMEOUT = 20.0
"""Seconds until the server must be ready."""


class FreeRadius:
    """One server on 127.0.0.1 with ports that were free. `with FreeRadius(directory, users) as server:`.

    `authority` signs the certificate of the server; clients of EAP-TLS get theirs from it too.
    """

    def __init__(
        self,
        directory: Path,
        users: Sequence[RadiusUser],
        *,
        secret: str | None = None,
        authority: Authority | None = None,
        delay: float = 0.0,
        auth_port: int | None = None,
        acct_port: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.secret = secret or secrets.token_urlsafe(24)
        self.authority = authority or Authority(directory / "certificates")
        self.auth_port, self.acct_port, self._inner_port = (auth_port or 0, acct_port or 0, 0)
        self.log = directory / "freeradius.log"
        self.accounting_log = directory / "accounting.jsonl"
        self.secret_file = directory / "secret"
        self._users = tuple(users)
        self._delay = delay
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self._server: Issued | None = None

    def __enter__(self) -> FreeRadius:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Write the configuration, start the server, and wait until it is ready. It keeps ports that it has had.

        Raises LabError.
        """
        if self.process is not None:
            raise LabError("FreeRADIUS is already running")
        program = shutil.which("freeradius") or shutil.which("radiusd") or shutil.which("freeradius", path="/usr/sbin")
        if program is None:
            raise LabError("freeradius is not installed: it comes with the Debian package freeradius")
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        server = self._server = self._server or self.authority.server("radius", ["radius.lab", "127.0.0.1"])
        if not self.auth_port or not self.acct_port:
            self.auth_port, self.acct_port = free_udp_ports(2)
        self._write(server)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [program, "-f", "-l", "stdout", "-x", "-d", str(self.directory), "-n", "radiusd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=None if self._environment is None else dict(self._environment),
                start_new_session=True,
            )
        try:
            wait_for("FreeRADIUS did not start", self._ready, START_TIMEOUT, lambda: tail(self.log))
        except LabError:
            self.stop()
            raise

    def _ready(self) -> bool | None:
        if self.process is None or self.process.poll() is not None:
            raise LabError(f"FreeRADIUS ended. {tail(self.log)}")
        return "Ready to process requests" in self.log.read_text(encoding="utf-8", errors="replace") or None

    def stop(self) -> None:
        """End the server; it may be started again."""
        process, self.process = self.process, None
        if process is not None:
            stop(process)

    def accounting(self) -> list[dict[str, Any]]:
        """The Accounting-Requests that the server has taken, in their order: attribute names with their text."""
        if not self.accounting_log.exists():
            return []
        lines = self.accounting_log.read_text(encoding="utf-8").splitlines(keepends=True)
        records = [json.loads(line) for line in lines if line.endswith("\n")]
        return [{name: attribute["value"] for name, attribute in record.items()} for record in records]

    def wait_accounting(self, fits: Callable[[dict[str, Any]], bool], timeout: float = 20.0) -> dict[str, Any]:
        """The first Accounting-Request that fits. Raises LabError if none has come in time."""
        return wait_for(
            "no such Accounting-Request came",
            lambda: next((record for record in self.accounting() if fits(record)), None),
            timeout,
            lambda: str(self.accounting()[-5:]),
        )

    def sources(self, name: str = "lab") -> dict[str, Any]:
        """The entry of this server in `radius.servers` of sources.yaml."""
        return {
            name: {
                "host": "127.0.0.1",
                "auth_port": self.auth_port,
                "acct_port": self.acct_port,
                "secret_file": str(self.secret_file),
            }
        }

    def _write(self, server: Issued) -> None:
        settings = ServerSettings(
            directory=self.directory,
            secret=self.secret,
            auth_port=self.auth_port,
            acct_port=self.acct_port,
            ca=self.authority.certificate,
            certificate=server.certificate,
            key=server.key,
            accounting=self.accounting_log,
            delay=self._delay,
        )
        files = {
            "secret": self.secret,
            "dictionary": f"$INCLUDE {DICTIONARY}\n",
            "users": users_file(self._users),
            "radiusd.conf": settings.text(),
        }
        for name, text in files.items():
            file = self.directory / name
            file.touch(mode=0o600)
            file.write_text(text, encoding="utf-8")


def free_udp_ports(number: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing uses now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
