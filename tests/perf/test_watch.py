"""The watch on the machine itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from perf import watch
from perf.watch import Watch, watched


def test_it_tells_how_late_the_machine_was_once_it_is_over() -> None:
    with watched() as found:
        assert not found.told
    latest, times = found.told["latest_ms"], found.told["late_times"]
    assert isinstance(latest, float)
    assert latest >= 0
    assert times == len(found.moments)


def test_a_watch_that_ends_by_itself_is_no_machine_that_was_never_late(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = tmp_path / "watch.c"
    source.write_text('#include <stdio.h>\nint main(void) { puts("watching"); return 0; }\n')
    monkeypatch.setattr(watch, "_SOURCE", source)
    with watched() as found:
        pass
    assert found.told == {"latest_ms": "not watched: it ended without a word"}


def test_it_knows_whether_the_machine_was_late_in_a_span_of_time() -> None:
    found = Watch()
    found.read(
        ["late 100.000000 100.004000\n", "late 100.002000 100.020500\n", '{"latest_ms": 18.5, "late_times": 2}\n']
    )
    assert found.moments == [(100.0, 100.004), (100.002, 100.0205)]
    assert found.told == {"latest_ms": 18.5, "late_times": 2}
    assert found.stood_still(99.0, 100.001)
    assert found.stood_still(100.01, 100.011)
    assert found.stood_still(100.02, 103.0)
    assert not found.stood_still(99.0, 100.0)
    assert not found.stood_still(100.03, 103.0)


def test_a_machine_that_cannot_be_watched_is_measured_all_the_same_and_it_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = tmp_path / "watch.c"
    source.write_text('#include <stdio.h>\nint main(void) { fprintf(stderr, "refused\\n"); return 1; }\n')
    monkeypatch.setattr(watch, "_SOURCE", source)
    with watched() as found:
        assert not found.moments
    assert found.told == {"latest_ms": "not watched: refused"}
