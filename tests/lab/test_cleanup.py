"""Whatever happens to a lab, it leaves nothing behind and touches nothing that is not its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import openvswitch
from lab.errors import LabError
from lab.ledger import ROOT, Ledger, processes
from lab.network import LabNetwork
from networks import TOPOLOGIES, network_text
from zethane.network.load import parse_network

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

FOREIGN = "foreign-br0"
MININET = Path(__file__).parents[2] / "mininet"


@pytest.fixture
def foreign_bridge(switches: None) -> Iterator[str]:  # noqa: ARG001 - a fixture cannot use usefixtures
    """A bridge that somebody else made."""
    openvswitch.vsctl("--may-exist", "add-br", FOREIGN, "--", "set", "Bridge", FOREIGN, "datapath_type=netdev")
    yield FOREIGN
    openvswitch.delete([FOREIGN])


def leftovers(run_id: str) -> list[str]:
    """Everything on the machine that carries a run's identifier."""
    found = [name for name in openvswitch.existing_bridges() if name.startswith(run_id)]
    found += [path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith(run_id)]
    found += [f"process {pid}" for pid in processes(run_id)]
    return found + ([str(ROOT / run_id)] if (ROOT / run_id).exists() else [])


def start_lab(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(MININET), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-m", "lab", "--unprotected", "--verbose", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )


def read_until(process: subprocess.Popen[str], step: str) -> str:
    """Read the lab's output until a step begins; the run's identifier."""
    assert process.stdout is not None
    run_id = ""
    for line in process.stdout:
        if found := re.search(r"run (z\w{3})\b", line):
            run_id = found[1]
        if run_id and step in line:  # the heading, before the run begins, counts links as well
            return run_id
    raise AssertionError(f"the lab ended before {step!r}")


@pytest.mark.parametrize(
    ("step", "number"),
    [
        ("run z", signal.SIGINT),
        ("switch access2", signal.SIGINT),
        ("host guest1", signal.SIGTERM),
        ("links", signal.SIGINT),
        ("bridges", signal.SIGINT),
        ("spanning tree", signal.SIGHUP),
        ("Probing", signal.SIGINT),
    ],
)
def test_an_interrupted_lab_leaves_nothing_behind(foreign_bridge: str, step: str, number: signal.Signals):
    """At every step, half-built or measuring, a signal takes down what was made and nothing else."""
    with start_lab(str(TOPOLOGIES / "campus")) as process:
        run_id = read_until(process, step)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert leftovers(run_id) == []
    assert foreign_bridge in openvswitch.existing_bridges()


def test_two_labs_run_side_by_side():
    """The same network twice: each reaches its own hosts, and the end of one does not touch the other."""
    network = parse_network(network_text(hosts=2), "network.yaml")
    with LabNetwork(network, unprotected=True) as first:
        with LabNetwork(network, unprotected=True) as second:
            assert first.ledger.run_id != second.ledger.run_id
            assert second.host("h1").run(["ping", "-c1", "-W3", "10.9.0.2"]).returncode == 0
        assert leftovers(second.ledger.run_id) == []
        assert first.host("h1").run(["ping", "-c1", "-W3", "10.9.0.2"]).returncode == 0
    assert leftovers(first.ledger.run_id) == []


def test_a_kept_lab_goes_on_and_is_taken_down_by_its_identifier(foreign_bridge: str):
    """`--keep` ends the command only; the ledger finds everything again, and a second time there is no run."""
    network = parse_network(network_text(hosts=2), "network.yaml")
    with LabNetwork(network, unprotected=True) as lab:
        lab.keep()
        keeper = lab.keepers["h1"]
        run_id = lab.ledger.run_id
    assert run_id in {path.name for path in ROOT.iterdir()}
    ping = ["mnexec", "-a", str(keeper.pid), "ping", "-c1", "-W3", "10.9.0.2"]
    assert subprocess.run(ping, capture_output=True, check=False).returncode == 0
    assert Ledger.open_old(run_id).take_down() == []
    lab.reap()
    assert leftovers(run_id) == []
    assert foreign_bridge in openvswitch.existing_bridges()
    with pytest.raises(LabError, match="there is no run"):
        Ledger.open_old(run_id)


def test_a_failure_while_building_takes_down_what_was_built(monkeypatch: pytest.MonkeyPatch):
    """Open vSwitch refuses the bridges: hosts and links are gone again."""

    def refuse(*_: object, **__: object) -> None:
        raise LabError("refused for the test")

    monkeypatch.setattr(openvswitch, "create", refuse)
    lab = LabNetwork(parse_network(network_text(), "network.yaml"), unprotected=True)
    with pytest.raises(LabError, match="refused for the test"):
        lab.__enter__()
    assert leftovers(lab.ledger.run_id) == []


def test_errors_in_a_topology_are_reported_before_anything_is_built(tmp_path: Path):
    """Exit status 2, every problem with its place, and no run was begun."""
    (tmp_path / "network.yaml").write_text("switches: {s1: {}}\nhosts: {a: {switch: s9, ip: 10.0.0.1/24}}\n")
    (tmp_path / "identities.yaml").write_text("users: {}\n")
    (tmp_path / "policy.yaml").write_text("version: 1\nsegments: {a: {groups: [a]}}\nrules: []\n")
    process = start_lab(str(tmp_path))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "network.yaml:2:21: hosts.a.switch: there is no switch s9; expected one of s1" in output
    assert "run z" not in output
