"""`zethane policy whatif` as a program: what it says, and its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.decision_log import WrittenLog
from fakes.site import ALICE, BOB, POLICY, WEB
from zethane.audit.reason import DenyReason

PROGRAM = "import sys; from zethane.cli.main import main; sys.exit(main())"
STAGED = "  - {id: no-web, from: [staff], to: [web], services: [tcp/443], action: deny, stage: audit}\n"


def whatif(*arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", PROGRAM, "policy", "whatif", *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = WrittenLog()
    log.login(ALICE, "10.0.0.21")
    log.login(WEB, "10.0.0.11")
    log.login(BOB, "10.0.0.22", told=False)
    log.end(log.flow("10.0.0.21", "10.0.0.11", "staff-web"), "staff-web", 0.5)
    log.denial("10.0.0.22", "10.0.0.11", 443, DenyReason.CONDITION_NOT_MET)
    log.journal.suppressed("s1", 2, "log", "no-rule", 7, log.now)
    half = len(log.lines) // 2
    (tmp_path / "decisions.jsonl").write_bytes(b"".join(log.lines[half:]) + b"damaged\n")
    (tmp_path / "decisions.jsonl.1").write_bytes(b"".join(log.lines[:half]))
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "identities.yaml").write_text("users: {bob: {groups: [staff]}}\nworkloads: {}\n")
    return tmp_path


def test_a_policy_that_changes_nothing_is_fine(folder: Path) -> None:
    done = whatif(folder, "--log", folder / "decisions.jsonl*")
    said = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert "0 flows would end, 0 denials would pass; 1 stay allowed, 1 stay denied" in said
    assert "1 line could not be read: 1 no-json" in said
    assert "the log itself left out 7 records: 7 no-rule" in said
    assert "1 end of a flow is known by name only" in said


def test_an_empty_log_says_nothing_about_a_policy(folder: Path) -> None:
    done = whatif(folder, "--log", "-")
    assert done.returncode == 0, done.stderr
    assert "nothing was seen, so this says nothing about the policy" in done.stdout.decode()


def test_what_changes_is_said_with_who_and_why(folder: Path) -> None:
    (folder / "new.yaml").write_text(POLICY.replace(", when: {mfa: true}", "") + STAGED)
    done = whatif(folder / "new.yaml", "--log", folder / "decisions.jsonl.1", "--log", folder / "decisions.jsonl")
    assert done.returncode == 0, done.stdout  # nobody knows who bob is
    done = whatif(folder / "new.yaml", folder, "--log", folder / "decisions.jsonl*")
    assert done.returncode == 1, "the topology knows bob"
    done = whatif(folder / "new.yaml", "--log", folder / "decisions.jsonl*", "--staged", "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    (change,) = answer["changes"]
    assert (change["effect"], change["from"], change["to"], change["flows"], change["packets"]) == (
        "ends",
        "staff",
        "web",
        1,
        10,
    )
    assert answer["log"]["unknown"] == {"user:bob": 1}


def test_a_policy_that_lets_more_pass_shows_what_was_denied(folder: Path) -> None:
    (folder / "policy.yaml").write_text(POLICY.replace(", when: {mfa: true}", ""))
    done = whatif(folder, "--log", "-", given=b"".join(sorted(_lines(folder))))
    assert done.returncode == 1
    said = done.stdout.decode()
    assert "Were denied, and would pass:" in said
    assert "user:bob -> workload:web1  1 flow" in said
    assert "was no rule, then: rule staff-web allows tcp/443 from staff to web" in said


def _lines(folder: Path) -> list[bytes]:
    """Both files, in the order of their times: every line begins with it."""
    found = (folder / "decisions.jsonl").read_bytes() + (folder / "decisions.jsonl.1").read_bytes()
    return [line for line in found.splitlines(keepends=True) if line != b"damaged\n"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected a decision log"),
        (["--log", "{folder}/none"], "cannot be read"),
        (["--log", "{folder}/policy.yaml"], "no line is a record"),
        (["--log", "{folder}/decisions.jsonl", "--since", "yesterday"], "expected a time with its zone"),
    ],
)
def test_wrong_input_is_named(folder: Path, arguments: list[str], said: str) -> None:
    done = whatif(folder, *(argument.format(folder=folder) for argument in arguments))
    assert done.returncode == 2
    assert said in done.stderr.decode()
