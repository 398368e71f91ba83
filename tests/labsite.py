"""A lab with its controller and portal for tests, and what they ask of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from lab.login import LoginResult, login_all
from lab.network import LabNetwork
from lab.processes import wait_for
from zethane.app.topology import load_topology

ROOT = Path(__file__).resolve().parents[1]
TOPOLOGIES = ROOT / "topologies"
PORTAL_ONLY = Path(__file__).resolve().parent / "topologies" / "portal-only"
"""Three tiers on one switch, where everybody logs in at the portal: nothing else has to be started."""

TIERS = """
version: 1
segments:
  web: {labels: {tier: web}}
  app: {labels: {tier: app}}
  db: {labels: {tier: db}}
  staff: {groups: [staff]}
"""
"""The segments of the topology with three tiers, for a policy of a test's own: its rules follow."""

SETTLED = 0.25
"""Seconds after an acknowledged change in which Open vSwitch may still forward by what it had cached. Measured:
a few milliseconds; the margin is for a busy machine. Nothing sent after it may arrive."""


def reaches(ping: Callable[[], int]) -> bool:
    """Whether a ping, which ends with its exit status, gets through at last.

    Open vSwitch's main thread, which forwards in user space, stands still for some seconds now and then, while the
    kernel takes down the interfaces of another network.
    """
    deadline = time.monotonic() + 20
    while ping() != 0:
        if time.monotonic() > deadline:
            return False
    return True


class Site:
    """A running lab. Times are those of time.monotonic()."""

    def __init__(self, network: LabNetwork) -> None:
        self.network = network
        self.sessions: dict[str, LoginResult] = {}

    def login(self, *names: str) -> None:
        """Log these hosts in, or all that can."""
        hosts = [host for name, host in self.network.hosts.items() if host.login and (not names or name in names)]
        failures: list[object] = []
        results = login_all(
            hosts, self.network.login_host, lambda _, result: failures.append(result) if _failed(result) else None
        )
        assert not failures, failures
        self.sessions.update({result.host: result for result in results})

    def client(self) -> httpx.Client:
        assert self.network.controller is not None
        transport = httpx.HTTPTransport(uds=str(self.network.controller.socket))
        return httpx.Client(transport=transport, base_url="http://controller/v1", timeout=20)

    def get(self, path: str) -> Any:
        with self.client() as client:
            return client.get(path).raise_for_status().json()

    def health(self) -> Any:
        """The controller's health, also when it is not well."""
        with self.client() as client:
            return client.get("/health").json()

    def end(self, host: str) -> float:
        """End a host's session at the API; when the answer was there."""
        with self.client() as client:
            client.delete(f"/sessions/{self.sessions[host].session}").raise_for_status()
        return time.monotonic()

    def records(self, event: str) -> list[dict[str, Any]]:
        """The decision log's records of one event, up to what the controller has decided by now.

        The file is some milliseconds behind the controller, whose newest record is waited for.
        """
        controller = self.network.controller
        assert controller is not None
        newest = self.get("/decisions?limit=1")["decisions"] if controller.running else []

        def written() -> list[dict[str, Any]] | None:
            text = controller.decisions.read_text(encoding="utf-8") if controller.decisions.exists() else ""
            records = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
            return records if all(record in reversed(records) for record in newest) else None

        everything = wait_for("not in the log", written, 20.0, lambda: str(newest))
        return [record for record in everything if record["event"] == event]

    def wait_record(self, event: str, **wanted: object) -> dict[str, Any]:
        """The first record that has these values; waits for it."""

        def found() -> dict[str, Any] | None:
            fits = (r for r in self.records(event) if all(r.get(name) == value for name, value in wanted.items()))
            return next(fits, None)

        return wait_for(f"no {event} record with {wanted}", found, 20.0, lambda: str(self.records(event)[-5:]))

    def entries(self, switch: str) -> list[str]:
        """The switch's own dump of its entries, without counters and ages."""
        from lab.shell import run

        text = run(["ovs-ofctl", "-O", "OpenFlow13", "--no-stats", "dump-flows", self.network.bridge(switch)])
        return [line.strip() for line in text.splitlines() if "actions=" in line]

    def wait_counted(self, switch: str, table: int, cookie: str, packets: int) -> None:
        """Wait until the switch has so many packets in the counters of entries: it takes half a second to tell, or so,
        and what it has not told when an entry goes is lost. `cookie` is a value and a mask."""
        from lab.shell import run

        wanted = f"table={table},cookie={cookie}"
        command = ["ovs-ofctl", "-O", "OpenFlow13", "dump-aggregate", self.network.bridge(switch), wanted]

        def told() -> bool | None:
            found = re.search(r"packet_count=(\d+)", run(command))
            return (found is not None and int(found.group(1)) >= packets) or None

        wait_for(f"{packets} packets were not counted", told, 20.0, lambda: run(command))


def _failed(result: object) -> bool:
    return not isinstance(result, LoginResult)


def three_tier(tmp_path: Path, policy: str) -> Path:
    """A copy of a topology with three tiers with another policy, for a test to change."""
    copy = tmp_path / "topology"
    shutil.copytree(PORTAL_ONLY, copy)
    (copy / "policy.yaml").write_text(policy, encoding="utf-8")
    return copy


@contextmanager
def running(folder: Path, *extra: str, login: Sequence[str] | None = ()) -> Iterator[Site]:
    """A topology with controller and portal; hosts logged in: () all, None nobody, or these."""
    topology = load_topology(folder)
    assert topology.network is not None
    with LabNetwork(topology.network, folder) as network:
        network.start_controller("--attest-interval", "1", *extra)
        network.start_portal()
        site = Site(network)
        if login is not None:
            site.login(*login)
        yield site
        if network.controller is not None and network.controller.running:
            # A refused flow-mod shows in no probe: the controller would carry every packet itself.
            assert site.health()["switch_errors"] == 0, site.records("switch")
            # Read back every second of all that went on: nothing was ever other than it should have been.
            events = site.records("switch")
            odd = [record for record in events if record["reason"].endswith(("-rule", "-meter"))]
            assert odd == [], odd


def lab_report(topology: str, file: Path, *options: str) -> Any:
    """What the lab's own command writes as JSON after it has probed a topology."""
    done = subprocess.run(
        [sys.executable, "-m", "lab", topology, "--json", str(file), *options],
        env=os.environ | {"PYTHONPATH": str(ROOT / "mininet"), "COLUMNS": "160"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(file.read_text(encoding="utf-8"))
