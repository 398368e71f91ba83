"""Tags in frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zethane.net.vlan import tagged, untagged


@given(st.binary(min_size=14, max_size=80), st.integers(1, 4094))
def test_a_tag_that_is_put_on_comes_off_again(frame: bytes, vlan: int) -> None:
    with_tag = tagged(frame, vlan)
    assert len(with_tag) == len(frame) + 4
    assert with_tag[12:16] == b"\x81\x00" + vlan.to_bytes(2, "big")
    assert untagged(with_tag) == (vlan, frame)
    assert tagged(frame, 0) == frame


@given(st.binary(max_size=20))
def test_what_has_no_tag_stays_as_it_is(frame: bytes) -> None:
    if frame[12:14] != b"\x81\x00":
        assert untagged(frame) == (0, frame)
    assert untagged(frame[:15]) == (0, frame[:15])


def test_priority_and_drop_eligibility_are_no_part_of_the_vlan() -> None:
    """IEEE 802.1Q-2022 §9.6."""
    frame = bytes(12) + b"\x81\x00\xf0\x14" + b"\x08\x00" + bytes(46)
    assert untagged(frame) == (20, bytes(12) + b"\x08\x00" + bytes(46))
    priority = frame[:14] + b"\xe0\x00" + frame[16:]
    assert untagged(priority) == (0, priority)
