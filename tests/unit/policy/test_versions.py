"""Mappings that follow from one another hold what dictionaries would, and never change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zethane.policy.versions import following, version

held = st.dictionaries(st.integers(0, 20), st.integers(0, 3))


@given(held, held, st.lists(st.integers(0, 20)))
def test_the_next_version_has_what_is_other_and_the_one_before_stays(
    before: dict[int, int], others: dict[int, int], gone: list[int]
) -> None:
    first = version(before)
    after = following(first, others, gone)
    assert dict(first) == before
    assert dict(after) == {key: value for key, value in before.items() if key not in gone} | others
    assert dict(following(before, others, gone)) == dict(after)


@given(held)
def test_a_version_is_a_version_of_itself(before: dict[int, int]) -> None:
    first = version(before)
    assert version(first) is first
