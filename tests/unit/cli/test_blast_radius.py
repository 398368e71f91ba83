"""`zethane policy blast-radius` as an operator and a pipeline call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from zethane.cli.policy import app

ROOT = Path(__file__).resolve().parents[3]
THREE_TIER, BRANCH = (str(ROOT / "topologies" / name) for name in ("three-tier", "branch"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["blast-radius", *arguments])


def answer(*arguments: str) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.output)
    return found


def test_a_host_hop_by_hop() -> None:
    found = answer(THREE_TIER, "desk")
    assert (found["from"], found["host"], found["places"]) == ("desk", "desk", ["staff"])
    assert [(one["place"], one["hop"], one["hop_now"]) for one in found["reached"]] == [
        ("web", 1, 1),
        ("app", 2, 2),
        ("db", 3, 3),
    ]
    services = {one["service"]: one for one in found["reached"][0]["via"]["openings"]}
    assert services["icmp"]["unconditional"]
    assert services["tcp/443"]["conditions"] == ["mfa"]


def test_what_nobody_gets_on_by_may_be_left_out() -> None:
    """bob at the desk has no second factor: without ping he gets nowhere, unless he comes by one."""
    found = answer(THREE_TIER, "desk", "--without", "icmp")
    assert [(one["place"], one["hop"], one["hop_now"]) for one in found["reached"]] == [
        ("web", 1, None),
        ("app", 2, None),
        ("db", 3, None),
    ]
    assert found["score_now"] == 0


def test_every_segment_is_in_the_table_worst_first() -> None:
    found = answer(BRANCH)["places"]
    assert {one["from"] for one in found} >= {"staff", "files", "printers", "203.0.113.0/28"}
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ((THREE_TIER,), 0),
        ((THREE_TIER, "--fail-over", "10"), 1),
        ((THREE_TIER, "--fail-over", "99"), 0),
        ((THREE_TIER, "--fail-on-critical"), 0),
        ((THREE_TIER, "--fail-on-critical", "--critical", "tier=db"), 1),
        ((THREE_TIER, "web1", "--fail-on-critical", "--critical", "tier=db"), 1),
        ((THREE_TIER, "ghost", "--fail-on-critical", "--critical", "tier=db"), 0),
        ((THREE_TIER, "--against", BRANCH, "--fail-over", "99"), 0),
        ((THREE_TIER, "nobody"), 2),
        ((THREE_TIER, "segment:web1"), 2),
        ((THREE_TIER, "segment:web"), 0),
        ((THREE_TIER, "--critical", "db"), 2),
        ((THREE_TIER, "--without", "http"), 2),
        ((THREE_TIER, "--at", "yesterday"), 2),
        ((THREE_TIER, "--at", "2026-11-23T22:00"), 2),
        ((THREE_TIER, "--at", "2026-11-23T22:00+01:00"), 0),
        ((THREE_TIER, "--against", "/nowhere"), 2),
        (("/nowhere",), 2),
    ],
)
def test_exit_status(arguments: tuple[str, ...], status: int) -> None:
    assert run(*arguments).exit_code == status


def test_a_second_factor_that_is_not_asked_for_any_more_is_a_change(tmp_path: Path) -> None:
    """The hops with every condition met stay as they are: it is the others that tell."""
    new = tmp_path / "policy.yaml"
    new.write_text((Path(THREE_TIER) / "policy.yaml").read_text().replace(", when: {mfa: true}}", "}"))
    said = run(THREE_TIER, "desk", "--against", str(new), "--without", "icmp").output
    assert "gained   db: not -> hop 3 (without conditions, now)" in said
    assert "no change in what is reached" in run(THREE_TIER, "desk", "--against", THREE_TIER).output


def test_before_and_after(tmp_path: Path) -> None:
    text = (Path(THREE_TIER) / "policy.yaml").read_text()
    new = tmp_path / "policy.yaml"
    new.write_text(text.replace("from: [app], to: [db]", "from: [web], to: [db]"))
    found = answer(THREE_TIER, "web1", "--against", str(new))
    nearer = {"place": "db", "change": "nearer", "before": 2, "after": 1}
    assert found["changes"] == [{**nearer, "way": way} for way in ("hop", "hop_unconditional", "hop_now")]
    assert found["before"]["score"] < found["after"]["score"]
    said = run(THREE_TIER, "web1", "--against", str(new)).output
    assert "nearer   db: hop 2 -> hop 1 (conditions met, without conditions, now)" in said
    table = answer(THREE_TIER, "--against", str(new))
    assert {one["from"] for one in table["before"]} == {one["from"] for one in table["after"]}
