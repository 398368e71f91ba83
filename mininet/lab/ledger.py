"""What a run has made, on disk before it is made, so that it can always be taken down: by the run itself,
after a crash, or later with `./run lab --down ID`.

A run's directory is /run/zethane-lab/ID. Its processes carry the identifier in their environment, also
those whose parent is gone; that is how they are found, and how those of another run are not.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from lab import openvswitch
from lab.errors import LabError
from lab.names import RUN_ID, new_run_id
from lab.shell import run

ROOT = Path("/run/zethane-lab")
TAG = "ZETHANE_LAB"
"""The environment variable that marks a run's processes."""
_PATIENCE = 3.0
"""Seconds that processes get to end by themselves."""
_INTERFACES = Path("/sys/class/net")


class Ledger:
    """The record of one run."""

    def __init__(self, run_id: str) -> None:
        if not RUN_ID.match(run_id):
            raise LabError(f"{run_id} is not a run of the lab; expected an identifier such as z7kq")
        self.run_id = run_id
        self.directory = ROOT / run_id
        self._file = self.directory / "ledger"

    @classmethod
    def open_new(cls) -> Ledger:
        """A new run with an identifier that no run, bridge or interface of the machine has."""
        ROOT.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(1000):
            ledger = cls(new_run_id())
            if any(path.name.startswith(ledger.run_id) for path in _INTERFACES.iterdir()):
                continue
            try:
                ledger.directory.mkdir(mode=0o700)
            except FileExistsError:
                continue
            return ledger
        raise LabError(f"no free identifier is left in {ROOT}; take down old runs with ./run lab --down ID")

    @classmethod
    def open_old(cls, run_id: str) -> Ledger:
        """An earlier run. Raises LabError if there is none."""
        ledger = cls(run_id)
        if not ledger.directory.is_dir():
            known = sorted(path.name for path in ROOT.iterdir()) if ROOT.is_dir() else []
            raise LabError(f"there is no run {run_id}; expected one of: {', '.join(known) or 'none is up'}")
        return ledger

    @property
    def environment(self) -> dict[str, str]:
        """The environment for the run's processes."""
        return os.environ | {TAG: self.run_id}

    def note(self, kind: str, *names: str) -> None:
        """Record bridges (`bridge`), interfaces (`interface`) or zones (`zone`) that are about to be made."""
        with self._file.open("a", encoding="ascii") as file:
            file.writelines(f"{kind} {name}\n" for name in names)

    def noted(self, kind: str) -> list[str]:
        """What was recorded under a kind."""
        if not self._file.exists():
            return []
        lines = (line.split() for line in self._file.read_text(encoding="ascii").splitlines())
        return [words[1] for words in lines if len(words) == 2 and words[0] == kind]

    def take_down(self) -> list[str]:
        """Take everything down. What could not be is told, and the record kept for another attempt."""
        steps: tuple[Callable[[], None], ...] = (
            lambda: end_processes(self.run_id, signal.SIGTERM),
            lambda: openvswitch.forget_connections(self.noted("zone")),
            lambda: openvswitch.delete(self.noted("bridge")),
            lambda: end_processes(self.run_id, signal.SIGKILL),
            self._delete_interfaces,
        )
        failed = []
        for step in steps:
            try:
                step()
            except (LabError, OSError) as error:  # noqa: PERF203 - five steps, and each must be tried
                failed.append(str(error))
        if not failed:
            shutil.rmtree(self.directory, ignore_errors=False)
        return failed

    def _delete_interfaces(self) -> None:
        """Delete those that are left in this namespace; the other end of each goes with it."""
        for name in self.noted("interface"):
            if (_INTERFACES / name).exists():
                try:
                    run(["ip", "link", "delete", name])
                except LabError:
                    # It may have gone with its namespace between the look and the deletion.
                    if (_INTERFACES / name).exists():
                        raise


def processes(run_id: str) -> list[int]:
    """The processes of a run, without the one that asks."""
    wanted = f"{TAG}={run_id}".encode()
    others = (path for path in Path("/proc").iterdir() if path.name.isdigit() and path.name != str(os.getpid()))
    return [int(path.name) for path in others if wanted in _environment(path)]


def _environment(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []  # it ended meanwhile, and has nothing left to end


def end_processes(run_id: str, number: signal.Signals) -> None:
    """Signal a run's processes until none is left. SIGTERM gives up quietly, for SIGKILL to follow."""
    deadline = time.monotonic() + _PATIENCE
    signalled: set[int] = set()
    while alive := [pid for pid in processes(run_id) if not _is_zombie(pid)]:
        for pid in set(alive) - signalled:
            # An interactive shell, as every host of Mininet is, ends on SIGHUP but not on SIGTERM.
            _signal(pid, signal.SIGHUP if number == signal.SIGTERM and _is_shell(pid) else number)
            signalled.add(pid)
        if time.monotonic() > deadline:
            if number == signal.SIGKILL:
                raise LabError(f"processes {alive} of run {run_id} do not end")
            return
        time.sleep(0.02)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _is_shell(pid: int) -> bool:
    try:
        return b"mininet:" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False  # it ended by itself


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself
