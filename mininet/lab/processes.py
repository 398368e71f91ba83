"""The programs beside the network: the controller, and the portal in a namespace of its own."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx

from lab.errors import LabError
from zethane.pipeline.fabric import MAX_SWITCH
from zethane.pipeline.grants import MAX_ZONE

T = TypeVar("T")

START_TIMEOUT = 30.0
"""Seconds until a program must answer."""


def zethane(*arguments: str) -> list[str]:
    """The command line of a zethane command, with the interpreter that runs the lab."""
    program = "import sys; from zethane.cli.main import main; sys.exit(main())"
    return [sys.executable, "-c", program, *arguments]


def wait_for(what: str, ready: Callable[[], T | None], timeout: float, tell: Callable[[], str]) -> T:
    """What `ready` returns, once that is not None. Raises LabError with `tell()` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while (result := ready()) is None:
        if time.monotonic() > deadline:
            raise LabError(f"{what} within {timeout:g} s. {tell()}")
        time.sleep(0.05)
    return result


def tail(log: Path, lines: int = 20) -> str:
    """The end of a log for an error message."""
    if not log.exists():
        return "It wrote no log."
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return "Its log ends:\n" + "\n".join(text) if text else "It logged nothing."


def stop(process: subprocess.Popen[Any], patience: float = 10.0) -> None:
    """End a process: politely, then not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


class Controller:
    """`zethane run` as a process. It keeps its OpenFlow port when it is started again."""

    def __init__(self, topology: Path, directory: Path, environment: Mapping[str, str]) -> None:
        self.socket = directory / "api.sock"
        self.portal_socket = directory / "portal.sock"
        self.decisions = directory / "decisions.jsonl"
        self.log = directory / "controller.log"
        self.openflow = "127.0.0.1:0"
        self.sources: Path | None = None
        """The sources.yaml to use in the place of the topology's."""
        self.nice: int | None = None
        """What it is to ask for, if not for what it asks by itself."""
        self.zones = secrets.randbelow(MAX_ZONE - MAX_SWITCH)
        """Connections tracked for one lab are not those of another on this machine."""
        self._topology = topology
        self._directory = directory
        self._environment = dict(environment)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, extra: Sequence[str] = ()) -> None:
        """Start the process. `wait_listening` tells when it can be used."""
        if self.process is not None and self.process.poll() is None:
            raise LabError("the controller is already running")
        (self._directory / "run.json").unlink(missing_ok=True)
        command = zethane("run", str(self._topology), "--state-dir", str(self._directory), "--openflow", self.openflow)
        command += ["--conntrack-zones", str(self.zones)]
        if self.sources is not None:
            command += ["--sources", str(self.sources)]
        if self.nice is not None:
            command += ["--nice", str(self.nice)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *extra],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def wait_listening(self, timeout: float = START_TIMEOUT) -> str:
        """Wait for the OpenFlow channel: `ADDRESS:PORT`. Raises LabError."""
        self.openflow = wait_for("The controller did not listen", self._listening, timeout, lambda: tail(self.log))
        return self.openflow

    def _listening(self) -> str | None:
        self.require_alive()
        file = self._directory / "run.json"
        if self.process is None or not file.exists():
            return None
        told = json.loads(file.read_text(encoding="utf-8"))
        return str(told["openflow"]) if told["pid"] == self.process.pid else None

    def require_alive(self) -> None:
        """Raises LabError with the end of its log if the controller has ended."""
        if self.process is None or self.process.poll() is not None:
            status = None if self.process is None else self.process.returncode
            raise LabError(f"The controller ended with status {status}. {tail(self.log)}")

    def get(self, path: str) -> Any:
        """The JSON answer of the API, `/v1` being understood. Raises LabError."""
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), timeout=10) as client:
            try:
                return client.get(f"http://controller/v1{path}").raise_for_status().json()
            except httpx.HTTPError as error:
                raise LabError(f"the controller's API did not answer {path}: {error}") from None

    def wait_switches(self, names: Sequence[str], timeout: float = START_TIMEOUT) -> None:
        """Wait until every switch is connected and has its tables. Raises LabError."""

        def ready() -> bool | None:
            self.require_alive()
            if not self.socket.exists():
                return None
            try:
                told = {entry["name"]: entry for entry in self.get("/switches")["switches"]}
            except LabError:
                return None  # not yet: the file may be there before, or since a crash without, a listener
            return all(told.get(name, {}).get("ready") for name in names) or None

        wait_for("Not every switch was ready", ready, timeout, lambda: tail(self.log))

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL: as if it had crashed."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """End it properly."""
        if self.process is not None:
            stop(self.process)
