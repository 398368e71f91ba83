"""The peers as processes: each listens on a port of loopback, for fake switches or for Open vSwitch.

`docs/performance.md` says what each of them does and does not do.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.errors import LabError
from lab.processes import START_TIMEOUT, stop, tail, wait_for
from perf.controllers import environment, free_port, is_listening, python
from perf.same_job import Identity
from zethane.app.scheduling import NICE, precedence, session_file

FAUCET = Path(__file__).parents[2] / ".venv-faucet" / "bin"


@dataclass(frozen=True, slots=True)
class Peer:
    """A controller that listens: its port, and the process that leads its session."""

    port: int
    pid: int


@contextmanager
def os_ken(folder: Path, tagged: Mapping[str, str], *, deliver: bool = True) -> Iterator[Peer]:
    """The minimal os-ken application: one flow-mod, and the packet if it is to be delivered. Raises LabError."""
    port = free_port()
    command = python("perf.peer", "--port", port, *(("--deliver",) if deliver else ()))
    with _running("os-ken", command, port, folder, environment(tagged)) as peer:
        yield peer


@contextmanager
def os_ken_same_job(
    folder: Path,
    tagged: Mapping[str, str],
    identities: Mapping[str, Identity],
    rules: Iterable[tuple[str, str, int, int, str]],
) -> Iterator[Peer]:
    """The os-ken application that does the same job; its decision log is `decisions.jsonl` in the folder.

    `identities` are by address as text; `rules` are from, to, protocol, port, and the rule's name. Raises LabError.
    """
    folder.mkdir(parents=True)
    told = {"identities": {address: asdict(one) for address, one in identities.items()}, "rules": list(rules)}
    (folder / "site.json").write_text(json.dumps(told), encoding="utf-8")
    port = free_port()
    command = python(
        "perf.same_job", "--port", port, "--site", folder / "site.json", "--log", folder / "decisions.jsonl"
    )
    with _running("os-ken, same job", command, port, folder, environment(tagged)) as peer:
        yield peer


@contextmanager
def ovs_testcontroller(folder: Path, tagged: Mapping[str, str], idle: int | None = None) -> Iterator[Peer]:
    """Open vSwitch's controller in C: a learning switch, one flow-mod for the exact packet. Raises LabError.

    `idle` is how many seconds an entry lives without a packet, if not as long as it is by itself.
    """
    port = free_port()
    program = shutil.which("ovs-testcontroller")
    if program is None:
        raise LabError("ovs-testcontroller is not installed; ./run bench installs it")
    # No control socket: its name would be that of the process in a folder of the whole machine.
    command = [
        program, f"ptcp:{port}:127.0.0.1", "--protocols=OpenFlow13", "--unixctl=none", "-vconsole:warn", "-vsyslog:off",
        *(() if idle is None else (f"--max-idle={idle}",)),
    ]  # fmt: skip
    with _running("ovs-testcontroller", command, port, folder, tagged) as peer:
        yield peer


def has_faucet() -> bool:
    """Whether FAUCET is there; `./run bench` installs it where it can be."""
    return (FAUCET / "osken-manager").exists()


@contextmanager
def faucet(folder: Path, tagged: Mapping[str, str], configuration: str) -> Iterator[Peer]:
    """FAUCET with a `faucet.yaml`, in an environment of its own. Raises LabError."""
    folder.mkdir(parents=True)
    (folder / "faucet.yaml").write_text(configuration, encoding="utf-8")
    port = free_port()
    environ = {name: value for name, value in tagged.items() if name != "PYTHONPATH"}
    environ |= {
        "FAUCET_CONFIG": str(folder / "faucet.yaml"),
        "FAUCET_LOG": str(folder / "faucet.log"),
        "FAUCET_EXCEPTION_LOG": str(folder / "exceptions.log"),
        "FAUCET_EVENT_SOCK": "0",
        "FAUCET_PROMETHEUS_ADDR": "127.0.0.1",
        "FAUCET_PROMETHEUS_PORT": str(free_port()),
    }
    command = [
        str(FAUCET / "python"), str(FAUCET / "osken-manager"), "--ofp-listen-host=127.0.0.1",
        f"--ofp-tcp-listen-port={port}", "faucet.faucet",
    ]  # fmt: skip
    with _running("FAUCET", command, port, folder, environ) as peer:
        yield peer


def _prefer(pid: int) -> None:
    """Give a peer the precedence that Zethane asks for, to its session as well."""
    os.setpriority(os.PRIO_PROCESS, pid, NICE)
    if precedence(pid).session is not None:
        session_file(pid).write_text(str(NICE), encoding="ascii")


@contextmanager
def _running(
    name: str,
    command: Sequence[str],
    port: int,
    folder: Path,
    environ: Mapping[str, str],
    patience: float = START_TIMEOUT,
) -> Iterator[Peer]:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "peer.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=dict(environ), start_new_session=True
        )
    _prefer(process.pid)

    def require_alive() -> None:
        if process.poll() is not None:
            raise LabError(f"{name} ended with status {process.returncode}. {tail(log)}")

    def listening() -> bool | None:
        require_alive()
        return is_listening(port) or None

    try:
        wait_for(f"{name} did not listen", listening, patience, lambda: tail(log))
        yield Peer(port, process.pid)
        require_alive()
    except LabError as error:
        raise LabError(f"{error}. {tail(log)}") from None
    finally:
        # os-ken does not write what it has buffered when it is told to end, but when it is interrupted.
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        stop(process)
