"""`zethane policy graph`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from zethane.cli.policy import app

ROOT = Path(__file__).resolve().parents[3]
THREE_TIER = str(ROOT / "topologies" / "three-tier")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["graph", *arguments])


def test_the_graph_as_text_and_as_json() -> None:
    assert "any -> web: icmp (ping-web)\n" in run(THREE_TIER).output
    found = json.loads(run(THREE_TIER, "--json", "--denies").output)
    assert {"name": "web", "kind": "segment", "places": ["web"], "hosts": 2} in found["nodes"]
    assert [edge["kind"] for edge in found["edges"] if edge["to"] == ["db"]] == ["denied", "always"]


def test_the_picture_goes_where_it_is_told(tmp_path: Path) -> None:
    file = tmp_path / "graph.svg"
    assert run(THREE_TIER, "--svg", str(file)).output == ""
    assert file.read_text() == run(THREE_TIER, "--svg", "-").output.removesuffix("\n")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ((THREE_TIER, "--svg", "/nowhere/graph.svg"), 2),
        ((THREE_TIER, "--against", "/nowhere"), 2),
        ((THREE_TIER, "--style", "round"), 2),
        ((THREE_TIER, "--against", str(ROOT / "topologies" / "branch")), 0),
        (("/nowhere",), 2),
    ],
)
def test_exit_status(arguments: tuple[str, ...], status: int) -> None:
    assert run(*arguments).exit_code == status


def test_the_matrix_as_a_page(tmp_path: Path) -> None:
    """The table and the JSON of the matrix are what they were without one."""
    file = tmp_path / "matrix.html"
    runner = CliRunner()
    done = runner.invoke(app, ["matrix", THREE_TIER, "--html", str(file)])
    assert (done.exit_code, done.output) == (0, "")
    page = file.read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "Policy of three-tier" in page
    cells = json.loads(runner.invoke(app, ["matrix", THREE_TIER, "--html", str(file), "--json"]).output)["cells"]
    assert {"from": "laptop", "to": "web1", "service": "tcp/443", "decision": "allow", "rule": "staff-https"} in cells
    assert runner.invoke(app, ["matrix", THREE_TIER, "--html", "/nowhere/matrix.html"]).exit_code == 2
    assert runner.invoke(app, ["matrix", THREE_TIER, "--html", str(file), "--at", "now"]).exit_code == 2
