"""The search for the highest rate finds it, with few tries, wherever it begins."""

from __future__ import annotations

import pytest

from perf.searching import Search

LOWEST, HIGHEST = 125, 64_000


@pytest.mark.parametrize("limit", [125, 130, 400, 1_375, 9_000, 16_500, 63_999])
@pytest.mark.parametrize("guess", [10, 500, 8_000, 100_000])
@pytest.mark.parametrize("known", [0, 300, 12_000, 64_000])
def test_what_is_found_holds_and_an_eighth_more_does_not(limit: int, guess: int, known: int) -> None:
    tried: dict[int, bool] = {}

    def holds(rate: int) -> bool:
        tried[rate] = rate <= limit
        return tried[rate]

    found = Search(LOWEST, HIGHEST, holds).found(guess, known)
    assert tried[found]
    assert any(not held and rate <= found * 1.13 + 1 for rate, held in tried.items())
    assert all(LOWEST <= rate <= HIGHEST for rate in tried)


def test_near_what_is_known_it_takes_few_tries() -> None:
    tried: list[int] = []

    def holds(rate: int) -> bool:
        tried.append(rate)
        return rate <= 16_500

    assert Search(LOWEST, HIGHEST, holds).found(8_000, 16_000) == 16_000
    assert len(tried) == 4


def test_nothing_holds_and_everything_holds() -> None:
    assert Search(LOWEST, HIGHEST, lambda _: False).found(8_000) == 0
    assert Search(LOWEST, HIGHEST, lambda _: True).found(8_000) == HIGHEST
