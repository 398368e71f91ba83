"""What `./run lab` says and what it ends with; its prompt; its people's second factors."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from lab.codes import Codes
from lab.command import Run, load
from lab.errors import LabError
from lab.interrupts import Interrupts
from lab.network import LabNetwork
from lab.shell import run
from lab.tables import moment
from lab.verdicts import Verdict
from labsite import TIERS, three_tier
from zethane.document import count
from zethane.identity.totp import STEP, accepted_step

MININET = Path(__file__).parents[2] / "mininet"
POLICY = (
    TIERS
    + """\
rules:
  - {id: app-db, from: [app], to: [db], services: [tcp/5432, icmp]}
  - {id: no-ssh, from: [any], to: [db], services: [tcp/22], action: deny}
"""
)
NETWORK = """
switches: {s1: {}}
hosts:
  app1: {switch: s1, ip: 10.0.0.13/24, login: {workload: app1, secret: lab-app1}}
  db1:  {switch: s1, ip: 10.0.0.14/24, login: {workload: db1, secret: lab-db1}}
  desk: {switch: s1, ip: 10.0.0.22/24, login: {user: bob, password: lab-bob}}
  laptop:
    {switch: s1, ip: 10.0.0.21/24, login: {user: alice, password: lab-alice, totp: JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four hosts; bob may do nothing, logged in or not."""
    made = three_tier(tmp_path, POLICY)
    (made / "network.yaml").write_text(NETWORK, encoding="utf-8")
    return made


class Sabotaged(Run):
    """A run in which somebody else writes into the bridge before the probes start."""

    def _measure(self, network: LabNetwork) -> list[Verdict]:
        ports = {name: host.port for name, host in network.network.hosts.items()}
        foreign = [
            f"table=0,priority=65535,in_port={ports['app1']},tcp,tp_dst=22,actions=output:{ports['db1']}",
            f"table=0,priority=65535,in_port={ports['app1']},icmp,actions=drop",
        ]
        for flow in foreign:
            run(["ovs-ofctl", "-O", "OpenFlow13", "add-flow", network.bridge("s1"), flow])
        return super()._measure(network)


@pytest.mark.lab
@pytest.mark.usefixtures("switches")
def test_what_differs_from_the_policy_is_shown_with_decision_and_rule(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Foreign flows let one service through and block another: both are named, and the status is 1."""
    start = LabNetwork.start_controller
    # Nobody reads the tables back before the probes are through.
    monkeypatch.setattr(LabNetwork, "start_controller", lambda self: start(self, "--attest-interval", "600"))
    text, result = io.StringIO(), tmp_path / "cells.json"
    lab = Sabotaged(Console(file=text, width=200), Interrupts(), load(str(folder)), result, verbose=False)
    status = lab.go(cli=False, keep=False, unprotected=False)
    told = text.getvalue()
    assert status == 1
    assert "app1 → db1 tcp/22: expected deny, observed allow" in told
    assert re.search(r"policy: rule no-ssh \(.*policy\.yaml:10\)", told)
    assert "app1 → db1 icmp: expected allow, observed deny" in told
    assert re.search(r"policy: rule app-db \(.*policy\.yaml:9\)", told)
    assert "2 not as the policy says" in told
    report = json.loads(result.read_text(encoding="utf-8"))
    wrong = [(cell["service"], cell["rule"]) for cell in report["cells"] if cell["observed"] != cell["decision"]]
    assert sorted(wrong) == [("icmp", "app-db"), ("tcp/22", "no-ssh")]
    assert report["summary"]["mismatches"] == 2


@pytest.mark.lab
@pytest.mark.usefixtures("switches")
def test_a_login_that_fails_is_a_failure_even_if_every_cell_is_right(folder: Path) -> None:
    """Bob may do nothing anyway; that he could not log in still is what the lab ends with."""
    file = folder / "network.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("lab-bob", "not-his"), encoding="utf-8")
    text = io.StringIO()
    lab = Run(Console(file=text, width=200), Interrupts(), load(str(folder)), None, verbose=False)
    status = lab.go(cli=False, keep=False, unprotected=False)
    told = text.getvalue()
    assert status == 1
    assert "every one as the policy says" in told
    assert "Login failed: desk: zethane login failed" in told
    assert told.rstrip().endswith("1 login failed: desk")
    assert "not-his" not in told


def test_a_result_that_cannot_be_written_is_told_before_anything_is_built(tmp_path: Path) -> None:
    """Exit status 2 at once, instead of an error after all the work."""
    file = tmp_path / "missing" / "cells.json"
    done = subprocess.run(
        [sys.executable, "-m", "lab", "--json", str(file)],
        env=os.environ | {"PYTHONPATH": str(MININET)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{file}: expected a file in a folder that is there and can be written to\n"


class Terminal:
    """The lab's prompt as a person has it."""

    PROMPT = "zethane> "

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self.process = process
        self._screen = screen

    def read(self, timeout: float = 60.0) -> str:
        """What appears until the next prompt, or until the end."""
        text = ""
        while self.PROMPT not in text and select.select([self._screen], [], [], timeout)[0]:
            try:
                data = os.read(self._screen, 65536)
            except OSError:  # Linux says EIO when the last one who had the terminal is gone
                return text
            text += data.decode("utf-8", "replace")
        return text.replace("\r\n", "\n")

    def type(self, line: str) -> str:
        """Enter a line; the answer, without the line itself and the prompt after it."""
        os.write(self._screen, f"{line}\n".encode())
        return self.read().partition("\n")[2].removesuffix(self.PROMPT)


@contextmanager
def terminal(folder: Path) -> Iterator[Terminal]:
    screen, end = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "lab", str(folder), "--cli"],
        stdin=end,
        stdout=end,
        stderr=end,
        env=os.environ | {"PYTHONPATH": str(MININET), "TERM": "dumb", "COLUMNS": "120"},
        start_new_session=True,
    ) as process:
        os.close(end)
        try:
            yield Terminal(process, screen)
        finally:
            process.terminate()
            process.wait(60)
            os.close(screen)


@pytest.mark.lab
@pytest.mark.usefixtures("switches")
def test_the_prompt_takes_hosts_by_name(folder: Path) -> None:
    """Every command of Zethane's, and Mininet's own, with names; alice's code works again after a logout."""
    with terminal(folder) as screen:
        assert "every one as the policy says" in screen.read()
        assert re.search(r"\bapp1 +workload:app1 +app +no\b", screen.type("sessions"))
        assert re.search(r"^app1 +db1 +icmp +app-db\b", screen.type("flows"), re.MULTILINE)
        assert screen.type("explain app1 db1 tcp/5432").startswith("allow: rule app-db allows tcp/5432")
        assert screen.type("explain app1 db1 tcp/22").startswith("deny: rule no-ssh denies tcp/22")
        assert " 0% packet loss" in screen.type("app1 ping -c1 -W2 db1")
        assert screen.type("logout app1 nobody") == "app1: logged out\nthere is no host nobody in the lab\n"
        assert "100% packet loss" in screen.type("app1 ping -c1 -W1 db1")
        assert screen.type("revoke app1") == "app1: not logged in\n"
        assert screen.type("login app1").startswith("app1: workload:app1 in app, session ")
        assert screen.type("logout laptop") == "laptop: logged out\n"
        assert "laptop: user:alice in staff, session " in screen.type("login laptop")
        assert screen.type("revoke desk").startswith("Ended: session ")
        assert screen.type("revoke alice").startswith("Ended: session ")
        assert not re.search(r"\b(desk|laptop)\b", screen.type("sessions"))
        assert screen.type("explain app1").startswith("usage: explain FROM TO SERVICE")
        assert "app1 db1 desk laptop portal" in screen.type("nodes")
        assert "revoke WHO" in screen.type("help")
        screen.type("exit")
        assert screen.process.wait(60) == 0


@pytest.mark.lab
@pytest.mark.usefixtures("switches")
def test_a_signal_at_the_prompt_takes_the_lab_down(folder: Path) -> None:
    """The prompt waits for a line that never comes; SIGTERM still ends the lab with its own status."""
    with terminal(folder) as screen:
        screen.read()
        bridge = re.findall(r"\bz\w{3}-s1\b", screen.type("nodes"))[0]
        screen.process.send_signal(signal.SIGTERM)
        assert screen.process.wait(60) == 128 + signal.SIGTERM
    assert bridge not in run(["ovs-vsctl", "list-br"]).split()
    assert not Path("/run/zethane-lab", bridge.partition("-")[0]).exists()


SECRET = "JBSWY3DPEHPK3PXP"  # base32 of the key below
KEY = b"Hello!\xde\xad\xbe\xef"


def test_no_code_is_given_twice_and_each_is_taken_when_its_wait_is_over() -> None:
    """The present step, the next one at once, and the third as soon as the controller takes it."""
    now = 1_000_000.0 * STEP + 12.0
    codes = Codes(lambda: now)
    given = [codes.take("alice", SECRET) for _ in range(4)]
    assert [accepted_step(KEY, code, now + wait) for code, wait in given] == [1_000_000 + n for n in range(4)]
    assert [round(wait) for _, wait in given] == [0, 0, 18, 48]


def test_people_have_codes_of_their_own() -> None:
    codes = Codes(lambda: 90.0)
    assert codes.take("alice", SECRET) == codes.take("carol", SECRET)


def test_nobody_waits_for_a_code_when_the_lab_ends() -> None:
    codes = Codes(lambda: 90.0)
    codes.close()
    with pytest.raises(LabError, match="the lab has ended"):
        codes.wait(3600)


def test_counts_and_moments_read_well() -> None:
    assert [count(1, "switch"), count(2, "switch"), count(1, "host"), count(0, "host")] == [
        "1 switch",
        "2 switches",
        "1 host",
        "0 hosts",
    ]
    assert moment("2026-11-24T13:05:55.496Z") == "2026-11-24 13:05 UTC"
