"""Whatever happens to a lab, it leaves nothing behind and touches nothing that is not its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import openvswitch
from lab.errors import LabError, Terminated
from lab.interrupts import Interrupts
from lab.ledger import ROOT, Ledger, processes
from lab.network import LabNetwork
from labsite import reaches
from networks import network_text
from zethane.network.load import parse_network

SLOW = pytest.mark.slow
"""Each takes seconds, and there are many."""

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

FOREIGN = f"foreign{os.getpid()}"
"""Whose tests these are, as others may run beside them."""
PING = ["ping", "-c1", "-W3", "10.9.0.2"]
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
        [sys.executable, "-m", "lab", "--verbose", *arguments],
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
        pytest.param("switch access2", signal.SIGINT, marks=SLOW),
        pytest.param("host guest1", signal.SIGTERM, marks=SLOW),
        pytest.param("links", signal.SIGINT, marks=SLOW),
        ("bridges", signal.SIGINT),
        pytest.param("spanning tree", signal.SIGHUP, marks=SLOW),
        pytest.param("probing", signal.SIGINT, marks=SLOW),
    ],
)
def test_an_interrupted_lab_leaves_nothing_behind(foreign_bridge: str, step: str, number: signal.Signals):
    """At every step, half-built or measuring, a signal takes down what was made and nothing else."""
    with start_lab("campus", "--unprotected") as process:
        run_id = read_until(process, step)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert leftovers(run_id) == []
    assert foreign_bridge in openvswitch.existing_bridges()


@pytest.mark.parametrize(
    ("step", "number"),
    [
        pytest.param("starting the controller", signal.SIGINT, marks=SLOW),
        pytest.param("starting the portal", signal.SIGTERM, marks=SLOW),
        ("logging in", signal.SIGINT),
        pytest.param("probing", signal.SIGTERM, marks=SLOW),
    ],
)
def test_an_interrupted_lab_takes_controller_portal_and_logins_along(
    foreign_bridge: str, step: str, number: signal.Signals
):
    """The same with all programs: none of them is left, nor what they would have done next."""
    with start_lab("three-tier") as process:
        run_id = read_until(process, step)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output
    assert leftovers(run_id) == []
    assert foreign_bridge in openvswitch.existing_bridges()


def test_a_signal_that_arrives_as_a_run_begins_leaves_no_record(monkeypatch: pytest.MonkeyPatch):
    """The record is there when the signal is raised: it goes, and no later run finds it."""
    begun: list[Ledger] = []
    open_new = Ledger.open_new

    def interrupted() -> Ledger:
        begun.append(open_new())
        os.kill(os.getpid(), signal.SIGTERM)
        return begun[0]

    monkeypatch.setattr(Ledger, "open_new", interrupted)
    interrupts = Interrupts()
    lab = LabNetwork(parse_network(network_text(), "network.yaml"), unprotected=True, interrupts=interrupts)
    with interrupts.installed(), pytest.raises(Terminated):
        lab.__enter__()
    assert leftovers(begun[0].run_id) == []


def test_the_lab_changes_no_limits_of_the_machine(monkeypatch: pytest.MonkeyPatch):
    """Mininet would write to /proc/sys for everybody."""

    def write() -> None:
        raise AssertionError("Mininet changed the limits of the machine")

    monkeypatch.setattr("mininet.net.fixLimits", write)
    monkeypatch.setattr("mininet.net.Mininet.inited", False)
    with LabNetwork(parse_network(network_text(hosts=1), "network.yaml"), unprotected=True) as lab:
        assert list(lab.hosts) == ["h1", "portal"]


def test_two_labs_with_controllers_run_side_by_side(tmp_path: Path):
    """The same topology twice at the same time: every cell of both is as the policy says."""
    files = [tmp_path / "first.json", tmp_path / "second.json"]
    labs = [start_lab("three-tier", "--json", str(file)) for file in files]
    outputs = [lab.communicate(timeout=120)[0] for lab in labs]
    assert [lab.returncode for lab in labs] == [0, 0], outputs
    assert [json.loads(file.read_text(encoding="utf-8"))["summary"]["mismatches"] for file in files] == [0, 0]
    runs = [run_id for output in outputs for run_id in re.findall(r"run (z\w{3})\b", output)]
    assert len(set(runs)) == 2
    assert [leftovers(run_id) for run_id in runs] == [[], []]


def test_two_labs_run_side_by_side():
    """The same network twice: each reaches its own hosts, and the end of one does not touch the other."""
    network = parse_network(network_text(hosts=2), "network.yaml")
    with LabNetwork(network, unprotected=True) as first:
        with LabNetwork(network, unprotected=True) as second:
            assert first.ledger.run_id != second.ledger.run_id
            assert reaches(lambda: second.host("h1").run(PING).returncode)
        assert leftovers(second.ledger.run_id) == []
        assert reaches(lambda: first.host("h1").run(PING).returncode)
    assert leftovers(first.ledger.run_id) == []


def test_a_kept_lab_goes_on_and_is_taken_down_by_its_identifier(foreign_bridge: str):
    """`--keep` ends the command only; the ledger finds everything again, and a second time there is no run."""
    network = parse_network(network_text(hosts=2), "network.yaml")
    with LabNetwork(network, unprotected=True) as lab:
        lab.keep()
        keeper = lab.keepers["h1"]
        run_id = lab.ledger.run_id
    assert run_id in {path.name for path in ROOT.iterdir()}
    ping = ["mnexec", "-a", str(keeper.pid), *PING]
    assert reaches(lambda: subprocess.run(ping, capture_output=True, check=False).returncode)
    assert Ledger.open_old(run_id).take_down() == []
    lab.reap()
    assert leftovers(run_id) == []
    assert foreign_bridge in openvswitch.existing_bridges()
    with pytest.raises(LabError, match="there is no run"):
        Ledger.open_old(run_id)


def test_a_kept_lab_still_enforces_until_it_is_taken_down(foreign_bridge: str):
    """With controller and portal: after the command, allowed hosts talk, others do not, and `--down` ends it all."""
    output, _ = start_lab("three-tier", "--keep").communicate(timeout=120)
    run_id = re.findall(r"Run (z\w{3}) goes on", output)[0]
    shells = dict(re.findall(r"^(\w+) +mnexec -a (\d+) bash", output, re.MULTILINE))
    ping = {name: ["mnexec", "-a", shells[name], "ping", "-c1", "-W2", "10.0.0.11"] for name in ("laptop", "ghost")}
    reached = reaches(lambda: subprocess.run(ping["laptop"], capture_output=True, check=False).returncode)
    stranger = subprocess.run(ping["ghost"], capture_output=True, check=False).returncode
    down = start_lab("--down", run_id)
    told, _ = down.communicate(timeout=60)
    assert (reached, stranger) == (True, 1), output
    assert (down.returncode, told) == (0, f"Run {run_id} is down.\n")
    assert leftovers(run_id) == []
    assert foreign_bridge in openvswitch.existing_bridges()


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
