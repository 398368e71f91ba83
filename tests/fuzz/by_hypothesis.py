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
        last = smaller(target, last)
        path = crashes / f"{target.name}-crash-{hashlib.sha256(last).hexdigest()[:20]}"
        path.write_bytes(last)
        return [path]
    return []


def smaller(target: Target, data: bytes) -> bytes:
    """An input that fails in the same way, without the bytes that it does not need for it and with zeros where any do.

    What Hypothesis makes small is the draws that an input came from: where it was put together from pieces, that ends
    before each byte of it is needed.
    """
    wanted = _failure(target, data)
    at = len(data) if wanted is not None else 0  # what does not fail again is kept as it was
    while at:
        at -= 1
        for fewer in (data[:at] + data[at + 1 :], data[:at] + b"\0" + data[at + 1 :]):
            if fewer != data and _failure(target, fewer) is wanted:
                data = fewer
                break
    return data


def _failure(target: Target, data: bytes) -> type[Exception] | None:
    try:
        target.check(data)
    except Exception as error:  # noqa: BLE001  # whatever a check raises is a finding
        return type(error)
    return None
