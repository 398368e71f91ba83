"""`policy diff` and `policy test`: what they print, and how they end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from zethane.cli.policy import app

THREE_TIER = Path(__file__).resolve().parents[3] / "topologies" / "three-tier"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(THREE_TIER, tmp_path / "topology"))


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "policy.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def run(*words: str | Path) -> tuple[int, str]:
    """The exit status and what was printed."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def run_json(*words: str | Path) -> tuple[int, dict[str, Any]]:
    status, text = run(*words, "--json")
    return status, json.loads(text)


def test_the_same_policy_in_other_words_ends_with_0(folder: Path) -> None:
    edit(folder, "services: [postgres]", "services: [tcp/5432]")
    edit(folder, "{id: dns, from: [web, db]", "{id: names, from: [db, web]")
    assert run("diff", THREE_TIER, folder) == (0, "no difference in who may open what\n")
    assert run_json("diff", THREE_TIER, folder)[1]["different"] is False


def test_a_difference_ends_with_1_and_says_who_is_concerned(folder: Path) -> None:
    edit(folder, "services: [https], when: {mfa: true}}", "services: [https]}")
    status, text = run("diff", THREE_TIER, folder, "--members")
    assert status == 1
    assert "+ staff -> web : tcp/443  when no mfa\n" in text
    assert f"allowed by staff-https ({folder}/policy.yaml:20); no rule allowed it before" in text
    assert "members: user:alice, user:bob -> workload:web1, workload:web2" in text
    assert text.endswith("1 gain, 0 losses\nof those known 2 may gain, 0 may lose something\n")
    status, found = run_json("diff", THREE_TIER, folder, "--members")
    (change,) = found["gained"]
    assert change["members"] == {"from": ["user:alice", "user:bob"], "to": ["workload:web1", "workload:web2"]}
    assert (status, found["lost"]) == (1, [])


def test_bad_input_to_a_comparison_ends_with_2(folder: Path) -> None:
    edit(folder, "from: [staff]", "from: [staf]")
    status, text = run("diff", THREE_TIER, folder)
    assert status == 2
    assert f"{folder}/policy.yaml:20:" in text
    assert run("diff", THREE_TIER, "nowhere")[0] == 2
    assert run("diff", THREE_TIER / "policy.yaml", THREE_TIER / "policy.yaml", "--members")[0] == 2


def test_a_policys_own_tests_are_told_line_by_line(folder: Path) -> None:
    assert run("test", folder)[1].endswith("20 of 20 tests passed\n")
    edit(folder, "rules:\n", "rules:\n  - {id: short, from: [web], to: [db], services: [tcp/20-23, tcp/80]}\n")
    status, text = run("test", folder)
    assert status == 1
    where = f"{folder}/policy.yaml"
    assert f"failed  {where}:49: never web -> db tcp/20: rule short allows tcp/20 from web to db ({where}:20)" in text
    assert "for example somebody with tier=web" in text
    assert text.endswith("19 of 20 tests passed\n")
    status, found = run_json("test", folder)
    (failed,) = [one for one in found["tests"] if not one["passed"]]
    assert (status, failed["expected"], failed["rule"], failed["place"]) == (1, "never", "short", f"{where}:20")
    assert failed["example"]["from"]["labels"] == {"tier": "web"}
    assert run("check", folder)[0] == 1


def test_a_test_about_nobody_known_ends_with_2(folder: Path) -> None:
    edit(folder, "{never: web -> db", "{never: webb -> db")
    status, text = run("test", folder)
    assert status == 2
    assert "did you mean 'web'?" in text
