"""The watch on the machine itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from perf import watch
from perf.watch import watched


def test_it_tells_how_late_the_machine_was_once_it_is_over() -> None:
    with watched() as found:
        assert not found
    latest, times = found["latest_ms"], found["late_times"]
    assert isinstance(latest, float)
    assert latest >= 0
    assert isinstance(times, int)
    assert times >= 0


def test_a_machine_that_cannot_be_watched_is_measured_all_the_same_and_it_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = tmp_path / "watch.c"
    source.write_text('#include <stdio.h>\nint main(void) { fprintf(stderr, "refused\\n"); return 1; }\n')
    monkeypatch.setattr(watch, "_SOURCE", source)
    with watched() as found:
        assert not found
    assert found == {"latest_ms": "not watched: refused"}
