"""Inputs for targets: arbitrary bytes, and valid inputs that were damaged."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

_SPECIAL = st.sampled_from((b"\0", b"\xff", b"\0\0\0\0", b"\xff\xff", b"\n", b"[", b"{", b"&a", b"*a", b'"', b"%"))


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes], max_length: int) -> bytes:
    """A seed with a few bytes changed, put in, taken out or said twice."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(("change", "put in", "take out", "twice", "cut")))
        if kind == "change" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif kind == "put in":
            data[at:at] = draw(_SPECIAL | st.binary(max_size=8))
        elif kind == "take out":
            del data[at : at + draw(st.integers(1, 8))]
        elif kind == "twice":
            data[at:at] = data[at : at + draw(st.integers(1, 64))]
        elif draw(st.booleans()):
            del data[at:]
    return bytes(data[:max_length])


def inputs(seeds: Sequence[bytes], max_length: int) -> st.SearchStrategy[bytes]:
    """What a target is tried with."""
    return damaged(seeds, max_length) | st.binary(max_size=min(max_length, 300))
