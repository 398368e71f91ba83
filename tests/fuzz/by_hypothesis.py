"""The engine that works everywhere: Hypothesis, blind to what an input reaches."""

from __future__ import annotations

import hashlib
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.strategies import inputs
from fuzz.target import Target

_BATCH = 200


def run(target: Target, seconds: int, crashes: Path) -> list[Path]:
    """Try a target for some time; the first input that failed, made small."""
    deadline = time.monotonic() + seconds
    known = [seed for _, seed in target.corpus()]
    last = b""

    @settings(
        max_examples=_BATCH,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def batch(data: st.DataObject) -> None:
        nonlocal last
        last = data.draw(inputs(known, target.max_length))
        target.check(last)

    try:
        while time.monotonic() < deadline:
            batch()
    except Exception:  # noqa: BLE001  # whatever a check raises is a finding
        traceback.print_exc()
        path = crashes / f"{target.name}-crash-{hashlib.sha256(last).hexdigest()[:20]}"
        path.write_bytes(last)
        return [path]
    return []
