"""Every target, over its corpus and over what Hypothesis thinks up."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.registry import TARGETS
from fuzz.strategies import inputs
from fuzz.target import CORPUS, Target

CASES = [
    pytest.param(target, data, id=f"{target.name}-{name}")
    for target in TARGETS.values()
    for name, data in target.corpus()
]


@pytest.mark.parametrize(("target", "data"), CASES)
def test_the_corpus_holds(target: Target, data: bytes) -> None:
    target.check(data)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_target_holds(target: Target, data: st.DataObject) -> None:
    target.check(data.draw(inputs([seed for _, seed in target.corpus()], target.max_length)))


def test_every_folder_of_the_corpus_belongs_to_a_target() -> None:
    assert {path.name for path in CORPUS.glob("*")} <= TARGETS.keys()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_seed_is_short_enough_to_be_tried(target: Target) -> None:
    assert all(len(seed) <= target.max_length for seed in target.seeds().values())
