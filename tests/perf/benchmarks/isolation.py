"""`isolation`: how long a new flow takes while the controller does something large besides."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from typing import ClassVar

from lab.errors import LabError
from lab.processes import Controller
from perf import wire
from perf.benchmark import Benchmark, Measure, Run, Turn, registered
from perf.controllers import environment, pinned, python, zethane
from perf.goals import TIMES, at_most, ratio
from perf.load import reflector
from perf.topology import POLICY, places

TIMEOUT = 120.0
"""Seconds that a turn may take."""

LOOK_AGAIN = 0.5
"""Seconds between questions whether a policy is in force: each is a request that the controller answers besides."""

_REPORTS = ("flows?limit=1000000", "sessions", "counters", "metrics", "metrics", "metrics")


@dataclass(frozen=True, slots=True)
class IsolationLoad:
    """Flows that are timed and the seconds between them; new flows of a burst and the seconds between bursts; flows
    that live already; rules and segments of the large policy."""

    flows: int = 4000
    interval: float = 0.002
    burst: int = 500
    every: float = 0.1
    live: int = 20_000
    rules: int = 10_000
    segments: int = 1_000


QUICK = IsolationLoad(flows=50, burst=50, live=100, rules=100, segments=10)


@registered
class Isolation(Benchmark):
    """Turns of the benchmark, each with a controller of its own, all with the same flows.

    `done` in the JSON file is how many changes of the policy were in force, or reports answered, meanwhile.
    """

    name = "isolation"
    title = "Flow set-ups of some ports while the controller does something else, with a fake switch"
    sides: ClassVar = {
        "idle": "nothing else",
        "flood": "one port floods",
        "policy": "10,000 rules are put in force",
        "report": "reports and scrapes",
        "alone": "generator alone, one port floods",
    }
    pairs = (("flood", "idle"), ("policy", "idle"), ("report", "idle"))
    measures = (
        Measure("p50", "set-up, p50", "µs"),
        Measure("p99", "set-up, p99", "µs"),
        Measure("p999", "set-up, p99.9", "µs"),
        Measure("most", "set-up, at the most", "µs"),
    )
    goals = (
        at_most("p99 of other ports while one floods / idle", ratio("p99", "flood", "idle"), 2, TIMES),
        at_most("p99 while a large policy is put in force / idle", ratio("p99", "policy", "idle"), 2, TIMES),
        at_most("p99 while reports run / idle", ratio("p99", "report", "idle"), 2, TIMES),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._load = QUICK if run.is_quick else IsolationLoad()
        self.parameters = asdict(self._load)

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # no axis
        """Measure one side once. Raises LabError."""
        if side == "alone":
            return self._alone()
        folder = self.run.folder / f"isolation-{side}-{number}"
        room = ("--flows-per-session", str(self._load.live + 100_000))
        with (
            pinned(first=True),
            zethane(folder, self.run.tagged, wire.DPID, places(), room) as controller,
            pinned(first=False),
            self._bystanders(controller.openflow.rpartition(":")[2], side) as load,
        ):
            beside = {"policy": self._change_policies, "report": self._report}.get(side, _nothing)
            done = _beside(partial(beside, controller, folder), load)
            told: Turn = json.loads(_output(load))
            return {**told, "done": done}

    def _alone(self) -> Turn:
        """The flood against a program that answers from templates: what the load adds by itself. Raises LabError."""
        with (
            pinned(first=True),
            reflector(self.run.tagged) as (port, _),
            pinned(first=False),
            self._bystanders(port, "alone") as load,
        ):
            told: Turn = json.loads(_output(load))
            return {**told, "done": 0}

    @contextmanager
    def _bystanders(self, port: str | int, side: str) -> Iterator[subprocess.Popen[str]]:
        """The generator, when it begins to measure. Raises LabError."""
        load = self._load
        options = {
            "--port": port,
            "--flows": load.flows,
            "--interval": load.interval,
            "--burst": load.burst if side in ("flood", "alone") else 0,
            "--every": load.every,
            "--live": 0 if side == "alone" else load.live,
            "--alone": int(side == "alone"),
        }
        command = python("perf.bystander", *(part for option in options.items() for part in option))
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(self.run.tagged),
            start_new_session=True,
        )
        try:
            if process.stdout is None or process.stdout.readline() != "begun\n":
                raise LabError(f"the load did not begin: {process.communicate(timeout=TIMEOUT)[1][-2000:]}")
            yield process
        finally:
            process.kill()
            process.wait()

    def _change_policies(self, controller: Controller, folder: Path, going: Callable[[], bool]) -> int:
        """Put the large policy in the file, then the small one, and so on: each when the one before is in force."""
        file, changes = folder / "topology" / "policy.yaml", 0
        texts = (_large(self._load.rules, self._load.segments), POLICY)
        while going():
            before = _get(controller.socket, "policy")
            fresh = file.with_suffix(".new")
            fresh.write_text(texts[changes % 2], encoding="utf-8")
            fresh.replace(file)
            while going() and _version(_get(controller.socket, "policy")) == _version(before):
                threading.Event().wait(LOOK_AGAIN)
            changes += _version(_get(controller.socket, "policy")) != _version(before)
        return changes

    def _report(self, controller: Controller, folder: Path, going: Callable[[], bool]) -> int:  # noqa: ARG002
        """Ask for one list after the other."""
        reports = 0
        while going():
            _get(controller.socket, _REPORTS[reports % len(_REPORTS)])
            reports += 1
        return reports


def _nothing(controller: Controller, folder: Path, going: Callable[[], bool]) -> int:  # noqa: ARG001
    return 0


def _beside(work: Callable[[Callable[[], bool]], int], load: subprocess.Popen[str]) -> int:
    """Do something as long as the load runs; how often it was done. Raises LabError."""
    try:
        return work(lambda: load.poll() is None)
    except (OSError, HTTPException, ValueError) as error:
        raise LabError(f"what was to be done besides failed: {type(error).__name__}: {error}") from error


def _output(load: subprocess.Popen[str]) -> str:
    told, wrong = load.communicate(timeout=TIMEOUT)
    if load.returncode:
        raise LabError(f"the load failed: {wrong.strip()[-2000:]}")
    return told


def _get(path: Path, what: str) -> bytes:
    """What the operators' API answers. Nothing is taken apart: that would be work beside the generator."""

    class _Connection(HTTPConnection):
        def connect(self) -> None:
            self.sock = socket(AF_UNIX, SOCK_STREAM)
            self.sock.settimeout(TIMEOUT)
            self.sock.connect(str(path))

    connection = _Connection("controller")
    try:
        connection.request("GET", f"/v1/{what}")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise LabError(f"/v1/{what} was answered with {answer.status}: {body[:200]!r}")
        return body
    finally:
        connection.close()


def _version(answer: bytes) -> str:
    told: str = json.loads(answer)["version"]
    return told


def _large(rules: int, segments: int) -> str:
    """The small policy with so many segments and rules more, which are about nobody who is there."""
    names = [f"part{number}" for number in range(segments)]
    head, tail = POLICY.split("rules:\n")
    more = "".join(f"  {name}: {{labels: {{part: {name}}}}}\n" for name in names)
    added = "".join(
        f"  - {{id: rule{number}, from: [{names[number % segments]}], to: [{names[number * 7 % segments]}],"
        f" services: [tcp/{1024 + number}]}}\n"
        for number in range(rules)
    )
    return f"{head}{more}rules:\n{tail}{added}"
