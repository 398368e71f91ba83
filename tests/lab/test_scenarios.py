"""Scenarios played in the lab: what is expected, what is not, and what must be contained."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labsite import PORTAL_ONLY, TOPOLOGIES
from replay.judge import report
from replay.play import play
from replay.scenario import load_scenario

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("switches")]

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = sorted(TOPOLOGIES.glob("*/scenarios/*.yaml"))
ANSWERED = f"""
version: 1
topology: {PORTAL_ONLY}
login: [web1, app1, db1]
about: A connection with its answer, by hand, then without its session.
steps:
  - flow: {{from: web1, to: app1, service: tcp/8080, payload: {{size: 5000}}}}
    expect: {{decision: allow, rule: web-app}}
  - {{flow: {{from: web1, to: db1, service: postgres}}, expect: {{decision: deny, reason: no-rule}}}}
  - packets:
      - {{from: app1, to: db1, tcp: {{sport: 5000, dport: 5432}}}}
      - {{from: db1, to: app1, tcp: {{sport: 5432, dport: 5000, flags: SA}}}}
      - {{from: app1, to: db1, tcp: {{sport: 5000, dport: 5432, flags: PA}}, payload: {{text: select}}, count: 3}}
    expect: {{decision: allow, rule: app-db}}
  - packets: [{{from: db1, to: app1, tcp: {{sport: 5432, dport: 5000}}}}]
    expect: {{decision: deny, reason: no-rule}}
  - {{revoke: app1}}
  - packets:
      - {{from: app1, to: db1, tcp: {{sport: 5000, dport: 5432, flags: PA}}, payload: {{text: more}}}}
      - {{from: db1, to: app1, tcp: {{sport: 5432, dport: 5000, flags: PA}}, payload: {{text: rows}}}}
    expect: deny
  - {{login: app1}}
  - scan: {{from: app1, to: [db1, web1, ghost], service: [tcp/5430-5432, icmp]}}
    expect: {{only: [app1 -> db1 tcp/5432, app1 -> web1 icmp]}}
contained:
  - {{from: web1, only: [app1]}}
  - {{never: [ghost, staff]}}
"""
WRONG = f"""
version: 1
topology: {PORTAL_ONLY}
login: [web1, app1]
about: Expects what is not so, and states what is not true.
steps:
  - {{flow: {{from: web1, to: app1, service: tcp/8080}}, expect: deny}}
  - {{flow: {{from: web1, to: app1, service: tcp/22}}, expect: allow}}
  - {{flow: {{from: web1, to: app1, service: dns}}, expect: {{decision: allow, rule: web-app}}}}
contained:
  - {{from: web1, never: app}}
"""


def test_a_scenario_goes_as_its_file_says(tmp_path: Path) -> None:
    file = tmp_path / "answered.yaml"
    file.write_text(ANSWERED, encoding="utf-8")
    verdict = play(load_scenario(file))
    assert verdict.ok, report(verdict)
    assert all(step.ok for step in verdict.steps)


def test_wrong_expectations_and_broken_statements_end_with_status_1(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(WRONG, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "replay", "--scenario", str(file)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "mininet"), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "web1 -> app1 tcp/8080: expected nothing to arrive, but" in said
    assert "web1 -> app1 tcp/22: expected it to arrive, but nothing did" in said
    assert "expected the rule web-app in the decision log, found dns" in said
    assert "nothing of web1 reached app: broken web1 reached app1 with" in said


@pytest.mark.slow
@pytest.mark.parametrize("unprotected", [False, True], ids=["contained", "succeeding without Zethane"])
@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: f"{file.parents[1].name}-{file.stem}")
def test_the_library_is(file: Path, unprotected: bool) -> None:
    verdict = play(load_scenario(file), unprotected=unprotected)
    assert verdict.ok, report(verdict)
