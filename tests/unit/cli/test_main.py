"""The command line as a program: exit statuses and messages, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = "import sys; from zethane.cli.main import main; sys.exit(main())"
THREE_TIER = str(ROOT / "topologies" / "three-tier")


def zethane(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["policy", "check", THREE_TIER], 0, "20 of 20 tests passed"),
        (["policy", "explain", THREE_TIER, "--from", "laptop", "--to", "web1", "--service", "tcp/443"], 0, "allow"),
        (["policy", "explain", THREE_TIER, "--from", "desk", "--to", "web1", "--service", "tcp/443"], 1, "deny"),
        (["policy", "explain", THREE_TIER, "--from", "nobody", "--to", "web1", "--service", "tcp/443"], 2, "nobody"),
        (["policy", "check", "/nowhere"], 2, "/nowhere"),
        (["run", "/nowhere"], 2, "/nowhere"),
        (["sessions", "--socket", "/nowhere/api.sock"], 1, "/nowhere/api.sock"),
        (["revoke", "alice", "--socket", "/nowhere/api.sock"], 1, "/nowhere/api.sock"),
        (["identity", "sources", "--socket", "/nowhere/api.sock"], 1, "/nowhere/api.sock"),
        (["no-such-command"], 2, "no-such-command"),
        (["--version"], 0, "zethane 0."),
    ],
)
def test_every_answer_has_its_status_and_no_traceback(arguments: list[str], status: int, said: str) -> None:
    done = zethane(*arguments)
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
