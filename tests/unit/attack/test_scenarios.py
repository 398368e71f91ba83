"""The scenarios as a whole: what they cover, and that the documents say the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from attack.coverage import ITEMS, covered, markdown
from attack.scenario import Registry, Scenario
from attack.scenarios import ATTACKS
from lab.errors import LabError

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "attacks.md"


def test_every_scenario_says_what_it_is() -> None:
    for scenario in ATTACKS:
        assert scenario.reference
        assert scenario.tried
        assert scenario.success
        assert scenario.covers
        assert set(scenario.covers) <= set(ITEMS), scenario.name


def test_the_document_lists_what_is_covered() -> None:
    assert markdown(ATTACKS) in DOCUMENT.read_text(encoding="utf-8")


def test_unknown_names_are_refused_and_quick_narrows() -> None:
    with pytest.raises(LookupError, match="no scenario nonsense"):
        ATTACKS.select(["nonsense"], [], quick=False)
    with pytest.raises(LookupError, match="no group nonsense"):
        ATTACKS.select([], ["nonsense"], quick=False)
    assert [one.name for one in ATTACKS.select(["rarp"], [], quick=False)] == ["rarp"]
    arp = ATTACKS.select([], ["arp"], quick=False)
    assert {one.group for one in arp} == {"arp"}
    assert {one.name for one in ATTACKS.select([], ["arp"], quick=True)} == {one.name for one in arp if one.quick}
    assert len(ATTACKS.select([], [], quick=False)) == len(ATTACKS)


def test_a_control_stands_in_for_an_unprotected_network() -> None:
    texts = ("name", "group", "reference", "tried", "success")
    with pytest.raises(LabError, match="control"):
        Scenario(*texts, lambda _: None, ("rarp",), unprotected="it has no sessions")
    with pytest.raises(LabError, match="control"):
        Scenario(*texts, lambda _: None, ("rarp",), control=lambda _: None)


def test_a_name_is_given_once() -> None:
    registry = Registry()
    scenario = Scenario("name", "group", "reference", "tried", "success", lambda _: None, ("rarp",))
    registry.add(scenario)
    with pytest.raises(LabError, match="two scenarios"):
        registry.add(scenario)


def test_every_line_of_the_list_is_covered() -> None:
    assert [item for item, names in covered(ATTACKS).items() if not names] == []


def test_what_uses_up_limits_comes_last() -> None:
    late = [scenario.late for scenario in ATTACKS]
    assert late == sorted(late)
    assert any(late)
