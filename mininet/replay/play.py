"""A scenario from its file to its verdict: builds the network, plays the steps, judges."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from replay.act import Player
from replay.clock import minute_of, policy_at
from replay.ground import Ground, ground_on
from replay.judge import Verdict, judge
from replay.scenario import Scenario
from zethane.app.files import read_text
from zethane.app.topology import POLICY_FILE

Progress = Callable[[str], None]


def play(
    scenario: Scenario, *, unprotected: bool = False, progress: Progress = lambda _: None, **options: Any
) -> Verdict:
    """Play a scenario in a lab of its own. Raises LabError if there can be none; `options` are LabNetwork's."""
    started = time.monotonic()
    with _folder(scenario) as folder:
        progress(f"{scenario.name}: building the network")
        with ground_on(
            scenario.topology,
            folder=folder,
            unprotected=unprotected,
            logins=scenario.logins,
            services=scenario.services,
            **options,
        ) as ground:
            return play_on(ground, scenario, folder, started, progress)


def play_on(ground: Ground, scenario: Scenario, folder: Path, started: float, progress: Progress) -> Verdict:
    """The same on a network that is there, whose controller reads its policy in `folder`."""

    def set_clock(moment: str) -> None:
        _write_policy(scenario, folder, moment)
        if ground.protected:
            ground.api("POST", "/policy/reload")
            ground.settle()

    player = Player(ground, scenario, set_clock)
    ground.forget()
    results = []
    for step in scenario.steps:
        progress(f"{scenario.name}: {step.title}")
        if not ground.protected:
            ground.neutral()
        results.append(player.play(step))
    progress(f"{scenario.name}: taking the network down")
    seconds = time.monotonic() - started
    return judge(scenario, results, player.history, seconds, protected=ground.protected)


@contextmanager
def _folder(scenario: Scenario) -> Iterator[Path]:
    """A folder with the topology's files and the policy that the scenario is played under."""
    source = scenario.topology.folder.resolve()
    with tempfile.TemporaryDirectory(prefix="zethane-scenario-") as name:
        folder = Path(name) / source.name
        folder.mkdir()
        for file in source.iterdir():
            if file.name != POLICY_FILE:
                (folder / file.name).symlink_to(file)
        _write_policy(scenario, folder, scenario.document.value.at)
        yield folder


def _write_policy(scenario: Scenario, folder: Path, moment: str | None) -> None:
    """The scenario's policy, with its windows as at a moment of the week; None for now."""
    if moment is None:
        text = read_text(Path(scenario.policy.file))
    else:
        text = policy_at(scenario.policy, minute_of(moment), time.time())
    (folder / POLICY_FILE).write_text(text, encoding="utf-8")
