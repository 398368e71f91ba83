"""`./run fuzz`: what it answers, and that a target that breaks is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz import by_coverage
from fuzz.by_hypothesis import smaller
from fuzz.command import FAILED, HELD, WRONG, main
from fuzz.registry import TARGETS
from fuzz.target import Target


def _break(data: bytes) -> None:
    if len(data) > 2:
        raise IndexError("three bytes")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Target:
    target = Target("broken", _break, lambda: {"seed": b""}, 64)
    monkeypatch.setitem(TARGETS, "broken", target)
    return target


def test_a_target_that_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["meters", "--seconds", "1", "--engine", "hypothesis", "--crashes", str(tmp_path)]
    assert main(arguments) == HELD
    assert not list(tmp_path.iterdir())
    assert "held" in capsys.readouterr().out


@pytest.mark.usefixtures("broken")
def test_a_target_that_breaks_leaves_a_small_input_and_the_command_that_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["broken", "meters", "--seconds", "4", "--engine", "hypothesis", "--crashes", str(tmp_path)]) == FAILED
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == bytes(3)
    assert f"./run fuzz broken --input {path}" in capsys.readouterr().out
    assert main(["broken", "--input", str(path)]) == FAILED
    path.write_bytes(b"ok")
    assert main(["broken", "--input", str(path)]) == HELD


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("data", [b"\0" * 4, b"any bytes at all", bytes(3)])
def test_what_fails_is_made_as_small_as_it_can_be(data: bytes) -> None:
    assert smaller(TARGETS["broken"], data) == bytes(3)


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-target"],
        ["meters", "--seconds", "0"],
        ["meters", "ports", "--input", "/dev/null"],
        ["meters", "--input", "/no/such/file"],
        ["meters", "--seconds", "1", "--crashes", "/dev/null/crashes"],
    ],
)
def test_wrong_arguments_are_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == WRONG
    assert capsys.readouterr().err.startswith("run fuzz: ")


def test_arguments_that_make_no_sense_end_with_the_same_status() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--seconds", "soon"])
    assert ended.value.code == WRONG


def test_without_atheris_the_other_engine_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(by_coverage, "is_there", lambda: False)
    assert main(["meters", "--seconds", "1"]) == WRONG
    assert "--engine hypothesis" in capsys.readouterr().err


@pytest.mark.skipif(not by_coverage.is_there(), reason="atheris is not installed: ./run fuzz does that")
def test_the_coverage_guided_engine_tries_a_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["meters", "--seconds", "1", "--crashes", str(tmp_path / "crashes"), "--corpus", str(tmp_path)]
    assert main(arguments) == HELD
    assert list((tmp_path / "meters" / "found").iterdir())
    assert " inputs\n" in capsys.readouterr().out
