"""What `./run bench` is asked for in a wrong way is refused before anything is measured, with exit status 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perf import command
from perf.command import app


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it began to measure")

    monkeypatch.setattr(command, "measure", refuse)


@pytest.mark.parametrize(("arguments", "told"), [
    (lambda _: ["nosuch"], "nosuch"),
    (lambda _: ["setup", "--rounds", "0"], "--rounds"),
    (lambda _: ["setup", "--quick", "--full"], "--quick or --full"),
    (lambda tmp: ["setup", "--json", str(tmp / "not" / "there.json")], "there.json"),
    (lambda tmp: ["setup", "--markdown", str(tmp)], "cannot be written"),
    (lambda tmp: ["setup", "--pictures", str(tmp / "file" / "in")], "cannot be made"),
    (lambda _: ["--model"], "--json"),
], ids=["name", "rounds", "quick and full", "no folder", "a folder", "pictures", "no files"])  # fmt: skip
def test_wrong_input_is_refused(arguments: Callable[[Path], list[str]], told: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = CliRunner().invoke(app, arguments(tmp_path))
    assert done.exit_code == 2
    assert told in done.output


def test_the_list_names_every_benchmark_and_goals() -> None:
    done = CliRunner().invoke(app, ["--list"])
    assert done.exit_code == 0
    assert "setup: " in done.output
    assert "goal: " in done.output
