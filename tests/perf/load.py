"""The compiled load generator: built from load.c when that has changed, called with a controller or on its own.

    python -m perf.load zethane --sessions 10000 --switches 10     # start a whole controller, measure it, print JSON
    python -m perf.load limit                                      # the generator against its own reflector
    python -m perf.load --port 6653 --pid 1234                     # against a controller that runs already

`./run bench setup` and `./run bench scale` are made of the same turns, beside the peers and in rounds.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.processes import stop
from perf import site, wire
from perf.controllers import allowed_flows, environment, pinned
from perf.reflector import answers
from zethane.pipeline.fields import Reason
from zethane.pipeline.tables import Table

SOURCE = Path(__file__).with_name("load.c")
BUILT = Path(__file__).with_name("build")
_COMPILE = ("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra")
TIMEOUT = 600.0
"""Seconds that a turn may take: it ends by itself when the other end is silent."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one turn does.

    `warm` flows that nobody times, `single` one at a time, then `batches` of `many` with `window` outstanding at each
    switch. With `end` the flows of each batch are over before the next begins, and the switches say so. With `across`
    every flow is between two switches. Numbers of flows are rounded up so that every switch has as many. Afterwards the
    controller is watched for `rest` seconds, in which it does what it always does. With `in_turns` each batch waits
    until it is asked for.
    """

    switches: int = 1
    sessions: int = 100
    single: int = 2000
    many: int = 15_000
    batches: int = 20
    window: int = 256
    warm: int = 500
    end: bool = True
    across: bool = False
    rest: int = 0
    in_turns: bool = False


@dataclass(frozen=True, slots=True)
class Answers:
    """What a controller answers to a new flow: flow-mods, packet-out, whether it has Zethane's pipeline."""

    pipeline: bool = True
    mods: int = 2
    deliver: bool = True
    check_port: bool = True
    learn: bool = False
    """Whether servers have to send before anybody can reach them."""
    limit: bool = False


ZETHANE = Answers()
LIMIT = Answers(limit=True)


def program() -> Path:
    """The generator, compiled if it was not yet. Raises LabError."""
    return compiled(SOURCE)


def compiled(source: Path) -> Path:
    """A program of one file in C, compiled if it was not yet. Raises LabError."""
    text = source.read_bytes()
    built = BUILT / f"{source.stem}-{hashlib.sha256(text + ' '.join(_COMPILE).encode()).hexdigest()[:16]}"
    if built.exists():
        return built
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise LabError(f"{source.name} needs a C compiler; ./run bench installs gcc")
    BUILT.mkdir(exist_ok=True)
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh = built.with_suffix(".new")
        done = subprocess.run(
            [compiler, *_COMPILE, "-o", str(fresh), str(source)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LabError(f"{source.name} was not compiled: {done.stderr[-2000:]}")
        fresh.replace(built)
    return built


def arguments(load: Load, answered: Answers, port: int, pid: int = 0, dpid: int = wire.DPID) -> list[str]:
    """The command line of a turn; `pid` leads the session of the controller's processes."""
    numbers = {
        "port": port,
        "controller": pid,
        "dpid": dpid,
        "switches": load.switches,
        "sessions": load.sessions,
        "single": load.single,
        "many": load.many,
        "batches": load.batches,
        "window": load.window,
        "warm": load.warm,
        "end": int(load.end and answered.pipeline and not answered.limit),
        "across": int(load.across),
        "rest": load.rest,
        "in-turns": int(load.in_turns),
        "pipeline": int(answered.pipeline),
        "mods": answered.mods,
        "deliver": int(answered.deliver),
        "check-port": int(answered.check_port),
        "learn": int(answered.learn),
        "limit": int(answered.limit),
        "links": int(answered.pipeline and not answered.limit),
        "ports": site.Site(load.switches, load.sessions).ports,
        "table-source": Table.SOURCE,
        "table-destination": Table.DESTINATION,
        "table-flow": Table.FLOW,
        "table-rule": Table.RULE,
        "reason-lldp": Reason.LLDP,
    }
    return [str(program()), "switches", *(f"--{name}={int(number)}" for name, number in numbers.items())]


def generate(
    load: Load,
    answered: Answers,
    port: int,
    tagged: Mapping[str, str] | None = None,
    *,
    pid: int = 0,
    dpid: int = wire.DPID,
) -> dict[str, Any]:
    """One turn against whoever listens at a port of loopback. Raises LabError.

    `rate` is set-ups per second and `cpu` the microseconds of processor time that one took the controller (where `pid`
    is given), both in the median of the batches; `rate_all` is that of all batches as one, `slowest` that of the
    slowest, `cpu_least` and `cpu_most` are those of the batches with the least and the most, and `spread` is how far
    apart the middle half of the batches is in time, in percent of the median. `p50`, `p99` and `p999` are of one at a
    time, in microseconds. `load_cpu` is what a set-up took the generator, `cpu_whole` what it took the controller from
    the first batch until it has come to rest, flows' ends and log included, both of all batches; `load_busy` how many
    percent of the time the generator was at work; `flows` all flows, `ended` those that ended.
    `octets_there`, `messages_back` and `octets_back` are what a set-up is on the wire, to the controller and from it,
    `octets_end` what its end is. `entries` stand on all switches, of which `bindings` are those of sessions.

    Beside `cpu_whole` goes reading tables back: `whole_read` entries in `whole_wall` microseconds, per set-up. With
    `rest`, `rest_busy` is how many percent of the time the controller was at work afterwards, with nothing to set up,
    and `rest_read` how many entries per second it read back.
    """
    command = arguments(load, answered, port, pid, dpid)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=tagged)
    except subprocess.TimeoutExpired:
        raise LabError(f"the load did not finish within {TIMEOUT:g} s") from None
    if done.returncode:
        raise LabError(f"the load failed: {done.stderr.strip()[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@contextmanager
def reflector(tagged: Mapping[str, str] | None = None) -> Iterator[tuple[int, int]]:
    """The compiled controller that decides nothing: its port and its process. Raises LabError."""
    mods, head = answers()
    back = mods[: int.from_bytes(mods[2:4], "big")]
    command = [
        str(program()), "reflect", f"--back={back.hex()}", f"--forward={mods[len(back) :].hex()}", f"--out={head.hex()}"
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=tagged, start_new_session=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.strip().isdecimal():
            raise LabError("the reflector did not start")
        yield int(line), process.pid
    finally:
        stop(process)


def turn_of_limit(load: Load, tagged: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The generator alone, each end on its own core. Raises LabError."""
    with pinned(first=True), reflector(tagged) as (port, pid), pinned(first=False):
        return generate(load, LIMIT, port, tagged, pid=pid)


def turn_of_zethane(load: Load, folder: Path, tagged: Mapping[str, str], made: Path | None = None) -> dict[str, Any]:
    """A whole controller on the first core, the generator on the rest; the decision log is held against the flows.

    `made` is a folder with the site, written before. Raises LabError, also for a flow that is not in the log.
    """
    with (
        pinned(first=True),
        site.zethane(site.Site(load.switches, load.sessions, load.across), folder, tagged, made) as controller,
    ):
        port, pid = int(controller.openflow.rpartition(":")[2]), controller.process.pid if controller.process else 0
        with pinned(first=False):
            told = generate(load, ZETHANE, port, tagged, pid=pid)
        memory = site.memory(pid)
    logged = allowed_flows(folder)
    if logged != told["flows"]:
        raise LabError(f"{told['flows']} flows were set up and {logged} are in the decision log")
    return {**told, "memory": memory, "start": controller.started}


class Batches:
    """A generator whose batches wait until they are asked for; `told` is what it says at last, with what
    `turn_of_zethane` adds."""

    def __init__(self, generator: subprocess.Popen[bytes]) -> None:
        self.told: dict[str, Any] = {}
        self._generator = generator
        self._heard = b""

    def wait(self) -> None:
        """Until the next batch is ready, or all are over. Raises LabError."""
        out = self._generator.stdout
        if out is None:
            raise LabError("the load cannot be heard")
        while b"\n" not in self._heard:
            if not select.select([out], [], [], TIMEOUT)[0]:
                raise LabError(f"the load was silent for {TIMEOUT:g} s")
            more = os.read(out.fileno(), 65_536)
            if not more:
                self._generator.wait(TIMEOUT)
                error = self._generator.stderr.read() if self._generator.stderr else b""
                raise LabError(f"the load failed: {error.decode(errors='replace').strip()[-2000:]}")
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        if line != b".":
            self.told = json.loads(line)

    def next(self) -> None:
        """Do one, and wait until the next one is ready. Raises LabError."""
        if self._generator.stdin is None:
            raise LabError("the load cannot be asked")
        try:
            self._generator.stdin.write(b"\n")
            self._generator.stdin.flush()
        except OSError as error:
            raise LabError(f"the load has ended: {error.strerror}") from None
        self.wait()


@contextmanager
def batches_of_zethane(
    load: Load, folder: Path, tagged: Mapping[str, str], made: Path | None = None
) -> Iterator[Batches]:
    """The same as `turn_of_zethane`, at rest before the first batch: others may have theirs in between.

    It tells of each batch in order, too: `walls` is the time that it took and `cpus` the controller's processor time,
    in nanoseconds.

    Raises LabError, also for a flow that is not in the log once all batches are over.
    """
    with ExitStack() as running:
        with pinned(first=True):
            described = site.Site(load.switches, load.sessions, load.across)
            controller = running.enter_context(site.zethane(described, folder, tagged, made))
        port, pid = int(controller.openflow.rpartition(":")[2]), controller.process.pid if controller.process else 0
        command = arguments(replace(load, in_turns=True), ZETHANE, port, pid)
        pipe = subprocess.PIPE
        with pinned(first=False):
            generator = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, env=tagged, start_new_session=True
            )
        running.callback(stop, generator)
        batches = Batches(generator)
        batches.wait()
        yield batches
        batches.told |= {"memory": site.memory(pid), "start": controller.started}
    logged = allowed_flows(folder)
    if logged != batches.told.get("flows"):
        raise LabError(f"{batches.told.get('flows')} flows were set up and {logged} are in the decision log")


def main() -> int:
    """One turn from the command line, as JSON."""
    parser = argparse.ArgumentParser(prog="perf.load", description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("side", nargs="?", choices=("zethane", "limit"), help="whom to start; without: --port")
    parser.add_argument("--port", type=int, help="a controller of Zethane that runs, with the sessions of --site")
    parser.add_argument("--pid", type=int, default=0, help="that controller's process, for its processor time")
    parser.add_argument("--site", type=Path, help="write the topology and the state here, and end")
    parser.add_argument("--keep", type=Path, help="topology, state and log of the controller stay here")
    default = Load()
    for name in ("switches", "sessions", "single", "many", "batches", "window", "warm"):
        parser.add_argument(f"--{name}", type=int, default=getattr(default, name))
    parser.add_argument("--no-end", action="store_true", help="let the flows of all batches live on")
    parser.add_argument("--across", action="store_true", help="every flow is between two switches")
    given = parser.parse_args()
    load = Load(
        given.switches, given.sessions, given.single, given.many, given.batches, given.window, given.warm,
        end=not given.no_end, across=given.across,
    )  # fmt: skip
    try:
        if given.site is not None:
            site.Site(load.switches, load.sessions, load.across).write(given.site)
            return 0
        if given.side == "limit":
            told = turn_of_limit(load)
        elif given.side == "zethane":
            with tempfile.TemporaryDirectory() as folder:
                told = turn_of_zethane(load, given.keep or Path(folder) / "run", environment(os.environ))
        elif given.port is not None:
            told = generate(load, ZETHANE, given.port, pid=given.pid)
        else:
            parser.error("expected zethane, limit or --port")
    except (LabError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
