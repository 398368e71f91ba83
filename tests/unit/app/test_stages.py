"""The policy that is enforced under one that is staged survives a restart."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from zethane.app.stages import Stages
from zethane.errors import InputError
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy

SEGMENTS = "version: 1\nsegments: {web: {labels: {tier: web}}}\n"
FIRST = SEGMENTS + "rules: [{id: first, from: [web], to: [web], services: [tcp/443]}]\n"
SECOND = "stage: audit\n" + FIRST.replace("first", "second")


def policy(text: str) -> Policy:
    return parse_policy(text, "policy.yaml")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "enforced-policy.yaml"


def test_before_the_first_policy_everything_passes_under_one_that_is_staged(file: Path) -> None:
    assert Stages(file).compose(policy(SECOND)).open
    Stages(file).took_effect(policy(SECOND))
    assert not file.exists()


def test_a_restart_takes_up_the_policy_that_was_enforced_last(file: Path) -> None:
    Stages(file).took_effect(policy(FIRST))
    after = Stages(file)
    staging = after.compose(policy(SECOND))
    assert [rule.id for rule in staging.enforced.rules] == ["first"]
    assert staging.enforced.file == str(file)
    after.took_effect(policy(SECOND))
    assert Stages(file).compose(policy(SECOND)).enforced.digest == policy(FIRST).digest
    enforced = policy(SECOND.removeprefix("stage: audit\n"))
    after.took_effect(enforced)
    assert Stages(file).compose(policy(SECOND)).enforced.digest == enforced.digest


def test_what_is_kept_is_for_the_controller_alone(file: Path) -> None:
    Stages(file).took_effect(policy(FIRST))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("text", ["", "version: 2\n", "\x00"])
def test_a_kept_policy_that_is_damaged_opens_nothing(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="put here what is to stay in force"):
        Stages(file).compose(policy(SECOND))


def test_a_kept_policy_that_is_damaged_stops_no_policy_that_is_enforced(file: Path) -> None:
    """Nothing rests on it then, and it is written anew."""
    file.write_text("version: 2\n", encoding="utf-8")
    stages = Stages(file)
    assert stages.compose(policy(FIRST)).enforced.digest == policy(FIRST).digest
    stages.took_effect(policy(FIRST))
    for after in (stages, Stages(file)):
        assert after.compose(policy(SECOND)).enforced.digest == policy(FIRST).digest


def test_a_policy_that_was_in_force_and_is_lost_opens_nothing(file: Path) -> None:
    """The store knows that there were rules; their text is gone."""
    stages = Stages(file, was_enforced=True)
    with pytest.raises(InputError, match="missing: a policy was in force before"):
        stages.compose(policy(SECOND))
    stages.took_effect(stages.compose(policy(FIRST)).enforced)
    assert Stages(file, was_enforced=True).compose(policy(SECOND)).enforced.digest == policy(FIRST).digest


def test_a_disk_that_refuses_stops_nothing(tmp_path: Path) -> None:
    stages = Stages(tmp_path / "missing" / "enforced-policy.yaml")
    stages.took_effect(policy(FIRST))
    assert stages.compose(policy(SECOND)).enforced.digest == policy(FIRST).digest
