"""The watch on the machine itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import LabError
from perf import watch
from perf.watch import watched


def test_it_tells_how_late_the_machine_was_once_it_is_over() -> None:
    with watched() as found:
        assert not found
    assert found["latest_ms"] >= 0
    assert found["late_times"] >= 0


def test_a_machine_that_cannot_be_watched_is_told_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = tmp_path / "watch.c"
    source.write_text('#include <stdio.h>\nint main(void) { fprintf(stderr, "refused\\n"); return 1; }\n')
    monkeypatch.setattr(watch, "_SOURCE", source)
    with pytest.raises(LabError, match="the machine cannot be watched: refused"), watched():
        pytest.fail("it began all the same")
