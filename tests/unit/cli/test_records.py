"""How records of the decision log read in a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from zethane.cli import operate

RECORD: dict[str, Any] = {
    "time": "2026-11-23T22:00:00.000Z",
    "event": "decision",
    "decision": "allow",
    "rule": "staff-any",
    "reason": "rule",
    "subject": {"principal": "user:alice"},
    "object": {"principal": "workload:web1"},
    "source": "10.0.0.21",
    "destination": "10.0.0.11",
    "service": "tcp/445",
    "switch": "s1",
    "port": 4,
}


@pytest.mark.parametrize(
    ("staged", "said"),
    [
        (None, "staff-any  s1:4"),
        ({"decision": "deny", "rule": "no-smb", "reason": "deny-rule"}, "staff-any (staged: deny by no-smb)  s1:4"),
        ({"decision": "deny", "rule": None, "reason": "no-rule"}, "staff-any (staged: deny)  s1:4"),
    ],
)
def test_what_is_staged_is_said_with_the_rule(
    staged: dict[str, Any] | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    operate._print_record(RECORD | ({"staged": staged} if staged else {}), as_json=False)
    assert capsys.readouterr().out.rstrip().endswith(said)


@pytest.mark.parametrize(("stage", "said"), [("open", "may open everything"), ("audit", "still is"), ("enforce", "")])
def test_health_warns_of_a_policy_that_is_staged(
    stage: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(operate.Api, "ask", lambda *_, **__: {"status": "ok", "policy_stage": stage, "staged_rules": 2})
    operate.health()
    out, err = capsys.readouterr()
    assert f"policy stage: {stage}" in out
    assert said in err
    assert bool(err) is bool(said)
