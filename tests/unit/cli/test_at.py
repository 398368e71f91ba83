"""`policy explain` and `policy matrix` say what holds at a moment: now, or when they are asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zethane.cli.policy import app

OFFICE = Path(__file__).parents[3] / "topologies" / "office"
NOON, NIGHT = "2026-11-23T12:00+01:00", "2026-11-23T22:00+01:00"


@pytest.fixture
def office(tmp_path: Path) -> str:
    """The office whose policy has hours."""
    folder = tmp_path / "office"
    shutil.copytree(OFFICE, folder)
    shutil.copyfile(folder / "office-hours.yaml", folder / "policy.yaml")
    return str(folder)


def explain(office: str, at: str) -> tuple[int, str]:
    arguments = ["explain", office, "--from", "chris", "--to", "hr", "--service", "https", "--at", at]
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output


def test_an_explanation_is_about_the_moment_that_is_asked_for(office: str) -> None:
    assert explain(office, NOON)[0] == 0
    status, said = explain(office, NIGHT)
    assert status == 1
    assert "rule records would allow it with a time within Mon-Fri 07:00-19:00 Europe/Berlin" in said


@pytest.mark.parametrize("at", ["noon", "2026-11-23T12:00", "2026-11-23"])
def test_a_moment_without_a_zone_is_none(office: str, at: str) -> None:
    status, said = explain(office, at)
    assert status == 2
    assert "--at: expected a time with its zone (RFC 3339), such as 2026-11-23T22:00:00+01:00" in said


def test_the_matrix_is_about_a_moment_too(office: str) -> None:
    found = {}
    for at in (NOON, NIGHT):
        done = CliRunner().invoke(app, ["matrix", office, "--json", "--at", at])
        cells = json.loads(done.output)["cells"]
        (found[at],) = (
            cell["decision"]
            for cell in cells
            if (cell["from"], cell["to"], cell["service"]) == ("chris", "hr", "tcp/443")
        )
    assert found == {NOON: "allow", NIGHT: "deny"}


@pytest.mark.parametrize("command", ["check", "test"])
def test_a_policy_is_tested_at_a_moment(office: str, command: str) -> None:
    file = Path(office) / "policy.yaml"
    file.write_text(file.read_text() + "tests:\n  - {allow: chris -> hr, service: https}\n", encoding="utf-8")
    status = {at: CliRunner().invoke(app, [command, office, "--at", at]).exit_code for at in (NOON, NIGHT)}
    assert status == {NOON: 0, NIGHT: 1}
