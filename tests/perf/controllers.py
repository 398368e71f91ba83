"""`zethane run`, complete, as a process; cores, ports and command lines of all controllers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec import json as fast_json

from lab.errors import LabError
from lab.processes import Controller, tail
from perf.topology import POLICY, Place, write_sessions, write_topology

_CORES = os.sched_getaffinity(0)
_LISTEN = "0A"
_LOOPBACK = "0100007F"
_SOCKETS = Path("/proc/net/tcp")


class _Line(Struct):
    """What is looked at of a line of the decision log: there are a million of them after some turns."""

    decision: str = ""


@contextmanager
def pinned(*, first: bool) -> Iterator[None]:
    """What is started within runs on the first core alone, or on all but the first.

    With two processes on two cores, nobody's threads are moved in the middle of a round, and a controller pays for
    all of its own threads. On one core there is nothing to choose.
    """
    before = os.sched_getaffinity(0)
    controllers = {min(_CORES)}
    os.sched_setaffinity(0, controllers if first else _CORES - controllers or _CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment(tagged: Mapping[str, str]) -> dict[str, str]:
    """The environment for Python processes of a run: they find the benchmark and the lab where this one does."""
    return {**tagged, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def python(module: str, *arguments: object) -> list[str]:
    """The command line of a module of the benchmark."""
    return [sys.executable, "-m", module, *map(str, arguments)]


@contextmanager
def zethane(
    folder: Path,
    tagged: Mapping[str, str],
    dpid: int,
    places: Sequence[Place],
    extra: Sequence[str] = (),
    *,
    policy: str = POLICY,
) -> Iterator[Controller]:
    """`zethane run` with a live session at each place; decision log, store and API are on. Raises LabError.

    `extra` are further options for it.
    """
    write_topology(folder / "topology", dpid, places, policy)
    numbers = write_sessions(folder / "state", dpid, places)
    if numbers != list(range(1, len(places) + 1)):
        raise LabError(f"a new store gave out the session numbers {numbers[:3]} …; expected 1, 2, 3 …")
    controller = Controller(folder / "topology", folder / "state", tagged)
    controller.start(extra)
    try:
        controller.wait_listening()
        yield controller
        controller.require_alive()
    except LabError as error:
        raise LabError(f"{error}. {tail(controller.log)}") from None
    finally:
        controller.stop()


def allowed_flows(folder: Path, name: str = "state/decisions.jsonl") -> int:
    """How many flows the decision log of a controller that has ended says were let through."""
    line_of = fast_json.Decoder(_Line).decode
    with (folder / name).open("rb") as log:
        return sum(line_of(line).decision == "allow" for line in log if b'"allow"' in line)


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now; os-ken cannot choose one by itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def is_listening(port: int) -> bool:
    """Whether a process listens on the port, found without a connection: os-ken would take that for a switch."""
    for line in _SOCKETS.read_text(encoding="ascii").splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        if state == _LISTEN and local == f"{_LOOPBACK}:{port:04X}":
            return True
    return False


def run_program(command: Sequence[str], tagged: Mapping[str, str], timeout: float) -> str:
    """Standard output of one of the benchmark's programs. Raises LabError."""
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, timeout=timeout, env=environment(tagged), check=False
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{command[2]} did not finish within {timeout:g} s") from None
    if done.returncode:
        raise LabError(f"{command[2]} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout
