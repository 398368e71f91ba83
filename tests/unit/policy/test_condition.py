"""Conditions: what holds and what is lacking, what follows from what, and how they make classes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from strategies.policy import NOW, SEGMENTS, conditions, members, policies, read
from zethane.errors import InputError
from zethane.policy.compile import compile_policy
from zethane.policy.condition import Condition, the_same
from zethane.policy.implication import implied, possible, standings
from zethane.policy.load import parse_policy
from zethane.policy.model import MAX_CONDITIONS, Policy
from zethane.policy.principal import DeviceFacts, Principal

DEVICE = DeviceFacts("d", frozenset({"laptops"}), (("managed", "yes"),), (("disk", True), ("os", "12.6")), NOW - 60)
ALICE = Principal("user", "alice", mfa=True, mfa_at=NOW - 60, aal=2, device=DEVICE)


def condition_of(when: dict[str, Any]) -> Condition:
    """The condition that `when` stands for, through the loader."""
    rule = {"id": "r", "from": ["any"], "to": ["any"], "services": ["any"], "when": when}
    (found,) = read({"version": 1, "segments": {"a": {"groups": ["a"]}}, "rules": [rule]}).rules
    return found.condition


loaded = conditions().map(condition_of)


@pytest.mark.parametrize(
    ("when", "unmet"),
    [
        ({"mfa": True}, []),
        ({"mfa": False}, ["a proof without a second factor"]),
        ({"mfa": {"within": "61s"}}, []),
        ({"mfa": {"within": "1m"}}, ["a second factor not older than 1m"]),
        ({"aal": 2}, []),
        ({"aal": 3}, ["a proof of assurance level 3"]),
        ({"device": True}, []),
        ({"device": {"labels": {"managed": "no"}}}, ["a device with managed=no"]),
        ({"device": {"groups": ["kiosks", "laptops"]}}, []),
        ({"posture": {"disk": True, "os": ">=12.5"}}, []),
        ({"posture": {"disk": 1}}, ["a device with disk=1"]),
        ({"posture": {"os": ">=12.10"}}, ["a device with os>=12.10"]),
        (
            {"posture": {"disk": True, "max_age": "1m"}},
            ["a device whose posture was measured in the last 1m"],
        ),
    ],
)
def test_what_is_lacking_is_said_part_by_part(when: dict[str, Any], unmet: list[str]) -> None:
    condition = condition_of(when)
    assert list(condition.unmet(ALICE, NOW)) == unmet
    assert condition.holds(ALICE, NOW) is (not unmet)


def test_who_has_no_second_factor_has_no_fresh_one_either() -> None:
    plain = replace(ALICE, mfa=False, mfa_at=None)
    assert list(condition_of({"mfa": {"within": "1h"}}).unmet(plain, NOW)) == ["a second factor"]


def test_a_device_that_never_was_measured_is_as_good_as_one_that_fails() -> None:
    unknown = replace(ALICE, device=replace(DEVICE, measured=None))
    assert not condition_of({"posture": {"disk": True}}).holds(unknown, NOW)
    assert not condition_of({"posture": {"disk": True}}).holds(replace(ALICE, device=None), NOW)


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("{mfa: {within: 15}}", "4:73: rules[0].when.mfa.within: expected text; a number, true, false or null needs"),
        ("{mfa: {within: 15x}}", "rules[0].when.mfa.within: expected a length of time such as 90s, 15m, 8h or 7d"),
        ("{mfa: {}}", "rules[0].when.mfa.within: this key is required and missing"),
        ("{mfa: often}", "rules[0].when.mfa: expected true or false"),
        ("{mfa: {within: 15m, withn: 15m}}", "unknown key 'withn'; did you mean 'within'?"),
        ("{aal: 0}", "rules[0].when.aal: expected at least 1"),
        ("{aal: 4}", "rules[0].when.aal: expected at most 3"),
        ("{aal: true}", "rules[0].when.aal: expected a whole number"),
        ("{device: false}", "rules[0].when.device: expected true, or labels and groups"),
        ("{device: {}}", "rules[0].when.device: expected labels or groups, or true for any device"),
        ("{device: {labels: {}}}", "rules[0].when.device.labels: expected at least 1"),
        ("{posture: {}}", "rules[0].when.posture: expected at least 1"),
        ("{posture: {max_age: 1h}}", "rules[0].when.posture: expected an attribute of the device besides max_age"),
        ("{posture: {disk: true, max_age: 1}}", "rules[0].when.posture.max_age: expected a length of time"),
        ("{posture: {Disk: true}}", "rules[0].when.posture.Disk: expected text that matches ^[a-z]"),
        ("{posture: {os: 12.5}}", "rules[0].when.posture.os: expected true or false or expected a whole number"),
        ("{posture: {os: '>=x'}}", "rules[0].when.posture.os: expected numbers with dots after >=, such as >=12.5"),
        ("{posture: {os: '<12'}}", "rules[0].when.posture.os: expected"),
        ("{posture: {disk: [true]}}", "rules[0].when.posture.disk: expected true or false"),
        ("{mfa: true, fresh: 1h}", "unknown key 'fresh'"),
    ],
)
def test_a_wrong_condition_is_pointed_at(when: str, message: str) -> None:
    text = "version: 1\nsegments: {a: {groups: [a]}}\nrules:\n"
    with pytest.raises(InputError) as caught:
        parse_policy(text + f"  - {{id: r, from: [a], to: [a], services: [tcp/1], when: {when}}}", "policy.yaml")
    (problem,) = caught.value.problems
    assert str(problem).startswith("policy.yaml:4:")
    assert message in str(problem)


@given(loaded, loaded)
def test_conditions_have_one_key_if_they_ask_for_the_same(one: Condition, other: Condition) -> None:
    """True and 1 are equal in Python, and two different things here."""
    assert (one.key == other.key) == (repr(_sorted(one)) == repr(_sorted(other)))


def _sorted(condition: Condition) -> tuple[object, ...]:
    return (replace(condition, device_groups=frozenset()), sorted(condition.device_groups))


@given(st.lists(loaded, max_size=4), loaded, members())
def test_what_is_implied_holds(held: list[Condition], other: Condition, who: Principal) -> None:
    assume(all(one.holds(who, NOW) for one in held))
    if implied(held, other):
        assert other.holds(who, NOW)


@given(st.lists(loaded, max_size=MAX_CONDITIONS), members())
def test_everybody_has_one_of_the_standings(asked: list[Condition], who: Principal) -> None:
    """Nothing that can be is left out."""
    assert tuple(one.holds(who, NOW) for one in asked) in standings(asked)


@given(policies(expressions=True), members())
def test_everybody_has_one_of_the_classes_until_time_changes_it(policy: Policy, who: Principal) -> None:
    """The class is the same from now on up to the moment that `until` names; what has lapsed comes back by itself
    in no case."""
    compiled = compile_policy(policy)
    (segment,) = policy.segments_of(who)
    now, moments = NOW, [NOW]
    while len(moments) < 50 and (until := compiled.until(segment, who, now)) != math.inf:
        assert until > now
        moments.append(until)
        now = until
    last = [] if len(moments) == 50 else [moments[-1] + 1e9]
    for begin, end in pairwise([*moments, *last]):
        first = compiled.class_of(segment, who, begin)
        assert first in compiled.classes[segment]
        for between in (begin + (end - begin) / 2, math.nextafter(end, begin)):
            assert compiled.class_of(segment, who, between) == first


MANAGED = Condition(device=True, device_labels=(("managed", "yes"),))
DISK = Condition(posture=(("disk", True),), posture_max_age=3600)


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ([], 1),
        ([Condition(mfa=True)], 2),
        ([Condition(mfa=True), Condition(mfa=False)], 2),
        ([Condition(aal=1), Condition(aal=2), Condition(aal=3)], 4),
        ([Condition(mfa=True), Condition(mfa=True, mfa_within=900), Condition(mfa=True, mfa_within=3600)], 4),
        ([Condition(mfa=True), Condition(aal=2)], 4),
        ([Condition(device=True), MANAGED], 3),
        ([Condition(mfa=True), MANAGED, replace(MANAGED, mfa=True)], 4),
        ([DISK, replace(DISK, posture_max_age=60)], 3),
        ([DISK, Condition(posture=(("disk", False),), posture_max_age=3600)], 3),
        ([DISK, Condition(posture=(("disk", 1),), posture_max_age=3600)], 3),
        ([Condition(posture=(("os", version),)) for version in (">=12", ">=12.5", "12.4")], 4),
        ([Condition(device=True, device_groups=frozenset(groups)) for groups in ("a", "ab", "bc")], 6),
    ],
)
def test_there_are_no_classes_for_what_cannot_be(asked: list[Condition], count: int) -> None:
    assert len(standings(asked)) == count


def test_a_second_factor_cannot_be_there_and_not_be_there() -> None:
    assert not possible([Condition(mfa=True), Condition(mfa=False)])
    assert not possible([], [Condition(mfa=True), Condition(mfa=False)])
    assert possible([Condition(mfa=False)], [Condition(mfa=True)])


def policy_with(count: int) -> str:
    """`count` rules that ask the same segment for so many different things."""
    rules = [
        {
            "id": f"r{index}",
            "from": ["any"],
            "to": ["web"],
            "services": ["any"],
            "when": {"posture": {f"p{index}": 1}},
        }
        for index in range(count)
    ]
    return json.dumps({"version": 1, "segments": {"web": {"groups": ["web"]}}, "rules": rules})


def test_a_segment_is_asked_for_a_bounded_number_of_different_conditions() -> None:
    compiled = compile_policy(parse_policy(policy_with(MAX_CONDITIONS), "p"))
    assert len(compiled.classes["web"]) == 2**MAX_CONDITIONS
    with pytest.raises(InputError) as caught:
        parse_policy(policy_with(MAX_CONDITIONS + 1), "p")
    (problem,) = caught.value.problems
    assert problem.key == f"rules[{MAX_CONDITIONS}].when"
    assert problem.message == (
        "segment web is asked for more than 6 different conditions, by rules r0, r1, r2, r3, r4, r5, r6; expected fewer"
    )


def test_a_segment_has_classes_only_for_what_its_own_subjects_are_asked() -> None:
    rules = [{"id": "r", "from": ["web"], "to": ["any"], "services": ["any"], "when": {"aal": 2}}]
    segments = {name: {"labels": {"segment": name}} for name in SEGMENTS}
    compiled = compile_policy(read({"version": 1, "segments": segments, "rules": rules}))
    assert {name: len(classes) for name, classes in compiled.classes.items()} == {
        "app": 1,
        "db": 1,
        "staff": 1,
        "web": 2,
    }


def test_a_truth_and_a_number_are_not_the_same_attribute() -> None:
    """Python holds them for equal; a policy that turns one into the other is another policy."""
    kinds = [condition_of({"posture": {"disk": value}}) for value in (True, 1, "1")]
    assert len({*kinds}) == len({the_same(one) for one in kinds}) == len({one.key for one in kinds}) == 3
    assert [the_same(one).posture[0][1] for one in kinds] == [True, 1, "1"]
    assert [type(the_same(one).posture[0][1]) for one in kinds] == [bool, int, str]
    devices = [DeviceFacts("laptop", posture=(("disk", value),)) for value in (True, 1, "1")]
    assert len({*devices}) == 3
    assert [*{DeviceFacts("laptop", posture=(("disk", True),)), devices[0]}] == devices[:1]
