"""`restart`: how long the controller is away when it is started again, with switches that have kept their tables."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from lab.errors import LabError
from lab.processes import Controller, wait_for
from perf import site
from perf.benchmark import Axis, Benchmark, Measure, Run, Turn, registered
from perf.benchmarks.isolation import _get
from perf.controllers import environment, pinned, python
from perf.goals import at_most, median_of

TIMEOUT = 180.0
SWITCHES = 10
SESSIONS = (1_000, 10_000)
FLOWS = 6_000
"""That live at the restart, with 10,000 sessions, and in proportion with fewer: then there are 50,000 entries."""


@registered
class Restart(Benchmark):
    """A turn starts a controller, lets the switches fill, ends it without warning, and starts it again."""

    name = "restart"
    title = "From starting the controller again to full service, with 10 fake switches that kept their tables"
    sides: ClassVar = {"zethane": "Zethane"}
    measures = (
        Measure("full", "until every switch has been made right and takes new flows", "s", digits=2),
        Measure("listening", "until it listens", "s", digits=2),
        Measure("cpu", "processor time until then", "s", digits=2),
        Measure("entries", "entries on the switches", "", is_log=True),
        Measure("mods", "flow-mods written to them", "", is_drawn=False),
    )

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        points = (200,) if run.is_quick else SESSIONS
        self.axis = Axis("sessions", "sessions", points)
        self.parameters = {"switches": SWITCHES, "flows_of_10000_sessions": FLOWS}
        if not run.is_quick:
            self.goals = (
                at_most(
                    "restart to full service with 10,000 sessions and 50,000 entries",
                    median_of("full", "zethane", SESSIONS[-1]),
                    5,
                    "s",
                ),
            )

    def turn(self, side: str, number: int, point: int) -> Turn:  # noqa: ARG002  # one side
        """Measure one restart. Raises LabError."""
        folder = self.run.folder / f"restart-{point}-{number}"
        layout = site.Site(SWITCHES, point)
        with (
            pinned(first=True),
            site.zethane(layout, folder, self.run.tagged) as controller,
            pinned(first=False),
            self._switches(controller, point) as switches,
        ):
            _all_ready(controller)
            entries = _ask(switches)["entries"]
            _kill(controller)
            begun = time.perf_counter()
            with pinned(first=True):
                controller.start()
            controller.wait_listening(TIMEOUT)
            listening = time.perf_counter() - begun
            _all_ready(controller)
            told = _ask(switches)
            full = time.perf_counter() - begun
            return {
                "full": full,
                "listening": listening,
                "cpu": _processor_time(controller),
                "entries": entries,
                # Without those of the flows that were set up last.
                "mods": told["mods"] - 2 * SWITCHES,
            }

    @contextmanager
    def _switches(self, controller: Controller, sessions: int) -> Iterator[subprocess.Popen[str]]:
        port = controller.openflow.rpartition(":")[2]
        flows = max(SWITCHES, FLOWS * sessions // SESSIONS[-1])
        process = subprocess.Popen(
            python("perf.keeper", port, SWITCHES, sessions, flows),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(self.run.tagged),
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def _ask(switches: subprocess.Popen[str]) -> dict[str, float]:
    """Let the switches go on, and take what they say. Raises LabError."""
    if switches.stdin is None or switches.stdout is None or switches.stderr is None:
        raise LabError("the switches have no pipes")
    try:
        switches.stdin.write("\n")
        switches.stdin.flush()
        line = switches.stdout.readline()
    except OSError as error:
        raise LabError(f"the switches are gone: {error}") from error
    if not line:
        raise LabError(f"the switches are gone: {switches.stderr.read()[-2000:]}")
    told: dict[str, float] = json.loads(line)
    return told


def _all_ready(controller: Controller) -> None:
    """Wait until every switch has its tables. Raises LabError."""

    def ready() -> bool | None:
        try:
            switches = json.loads(_get(controller.socket, "switches"))["switches"]
        except (OSError, ValueError):
            return None
        return all(switch["ready"] for switch in switches) or None

    wait_for("The switches did not get their tables", ready, TIMEOUT, lambda: "")


def _kill(controller: Controller) -> None:
    """Without warning, as a crash would be."""
    if controller.process is None:
        raise LabError("the controller is not running")
    controller.process.kill()
    controller.process.wait()


def _processor_time(controller: Controller) -> float:
    """Seconds, of all of its threads."""
    pid = controller.process.pid if controller.process else 0
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
