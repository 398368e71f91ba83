"""Expressions in CEL: what they say of whom, what is wrong with them, and until when an answer is sure."""

from __future__ import annotations

import ipaddress
import math
import sys
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.policy import read
from zethane.errors import ExpressionError, InputError
from zethane.policy.access import openings
from zethane.policy.attributes import TYPES
from zethane.policy.cel import Language
from zethane.policy.compile import compile_policy
from zethane.policy.decide import decide
from zethane.policy.explain import explain
from zethane.policy.expression import MAX_EXPRESSIONS, compiled
from zethane.policy.lint import lint
from zethane.policy.load import parse_policy
from zethane.policy.model import Rule, Service
from zethane.policy.principal import DeviceFacts, External, Party, Principal

NOW = datetime(2026, 11, 25, 18, 30, 30, tzinfo=timezone.utc).timestamp()
"""A Wednesday, 19:30 in Berlin."""

DEVICE = DeviceFacts(
    "pad", frozenset({"laptops"}), (("managed", "yes"),), (("disk", True), ("level", 1), ("os", "12.5")), NOW - 60
)
ALICE = Principal(
    "user",
    "alice",
    frozenset({"admins", "staff"}),
    (("site", "bern"),),
    mfa=True,
    mfa_at=NOW - 300,
    aal=2,
    device=DEVICE,
    address=ipaddress.ip_address("10.1.2.3"),
)
WEB = Principal("workload", "web1", labels=(("owner", "alice"), ("site", "bern")))
OUTSIDE = External(ipaddress.ip_address("198.51.100.7"))

TRUE = (
    'subject.kind == "user" && object.kind == "workload"',
    "subject.labels.site == object.labels.site",
    'object.labels["owner"] == subject.name',
    '"staff" in subject.groups && !("staff" in object.groups)',
    "subject.groups.exists(g, g.startsWith('adm'))",
    "subject.name.matches('^a[a-z]+$')",
    "has(object.labels.owner) && !has(object.labels.nobody)",
    'object.labels.nobody == "x" || true',
    "subject.device.proven && !object.device.proven",
    'subject.device.name == "pad" && "laptops" in subject.device.groups && subject.device.labels.managed == "yes"',
    'subject.device.posture.disk && subject.device.posture.level == 1 && subject.device.posture.os == "12.5"',
    'time.now - subject.device.measured < duration("5m")',
    'session.mfa && session.aal >= 2 && time.now - session.mfa_at < duration("15m")',
    'time.year == 2026 && time.month == 11 && time.day == 25 && time.weekday == "Wed" && time.hour == 18',
    'time.minute == 30 && time.now == timestamp("2026-11-25T18:30:00Z")',
    'time.now.getHours("Europe/Berlin") == 19 && time.now.getDayOfWeek() == 3',
    'cidr("10.1.0.0/16").containsIP(subject.address) && !cidr("10.2.0.0/16").containsIP(subject.address)',
)

UNANSWERED = (
    'object.labels.nobody == "x"',
    "object.device.posture.disk",
    'object.device.name == "pad"',
    'cidr("10.1.0.0/16").containsIP(object.address)',
    "subject.device.posture.os > 12",
    "subject.device.posture.level",
    "subject.device.posture.disk > 0",
    "int(subject.labels.site) == 1",
    "1 / (session.aal - 2) == 1",
    "time.now.getHours(subject.labels.site) == 1",
    'cidr(subject.labels.site).containsIP("10.0.0.1")',
    f"{list(range(50))}.all(a, {list(range(50))}.all(b, {list(range(50))}.all(c, true)))",
)


def rules_of(*texts: str, action: str = "allow", **sides: Any) -> tuple[Rule, ...]:
    """Rules with these expressions, through the loader."""
    rules = [
        {"id": f"r{index}", "from": ["any"], "to": ["any"], "services": ["any"], "action": action, **sides}
        | {"when": {"cel": text}}
        for index, text in enumerate(texts)
    ]
    return read({"version": 1, "segments": {"a": {"groups": ["a"]}}, "rules": rules}).rules


def rule_of(text: str, **more: Any) -> Rule:
    (rule,) = rules_of(text, **more)
    return rule


@pytest.mark.parametrize("text", TRUE)
def test_what_is_true_holds(text: str) -> None:
    """Of an allow and of a deny alike; its contrary holds of neither."""
    assert compiled(text).answer(ALICE, WEB, NOW)[:2] == (True, None)
    for action in ("allow", "deny"):
        assert rule_of(text, action=action).holds_for(ALICE, WEB, NOW)
        assert not rule_of(f"!({text})", action=action).holds_for(ALICE, WEB, NOW)


@pytest.mark.parametrize("text", UNANSWERED)
def test_an_error_denies(text: str) -> None:
    """An allow rule does not hold then, a deny rule does; what was wrong is said."""
    answer = compiled(text).answer(ALICE, WEB, NOW)
    assert answer.value is None
    assert answer.error
    assert not rule_of(text).holds_for(ALICE, WEB, NOW)
    assert rule_of(text, action="deny").holds_for(ALICE, WEB, NOW)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected at least 1 character"),
        ("subject.", "1:9: Syntax error: no viable alternative at input '.'"),
        ("subject.grups == []", "1:8: there is no subject.grups; did you mean 'subject.groups'?"),
        ("true &&\n  who.name == 'x'", "2:6: there is no who.name"),
        ("subject == object", "1:1: there is no subject"),
        ("session.name == 'x'", "1:8: there is no session.name"),
        ("subject.name", "expected an expression that is true or false, found one of type string"),
        ("subject.name == 1", "1:14: found no matching overload for '_==_' applied to '(string, int)'"),
        ("subject.labels.site + 1 == 'x'", "found no matching overload"),
        ("subject.nam" + ".a" * 100, "depth"),
        ("(" * 200 + "true" + ")" * 200, "recursion limit"),
        ("time.now.getHours('Europe/Nowhere') == 1", "1:19: expected a time zone, found 'Europe/Nowhere'"),
        ("subject.name.matches('(a')", "1:22: expected a regular expression of RE2, found '(a'"),
        ("true ||\n cidr('10.0.0.1/8').containsIP('x')", "2:7: expected a prefix such as 198.51.100.0/24"),
        ("time.now < timestamp('tomorrow')", "1:22: expected a time as RFC 3339 has it, found 'tomorrow'"),
        ("time.now - time.now < duration('1 day')", "1:32: expected a length of time such as 90m, found '1 day'"),
        ("x" * 1001, "expected at most 1,000 characters"),
        ("['x']" + ".map(a, a + a)" * 25 + " == []", "at most 1 of all, exists, exists_one, filter and map beside a +"),
        (
            "subject.groups.exists(g, g.matches('(x?){60}y'))",
            "at most 0 of all, exists, exists_one, filter and map beside ma",
        ),
        ("['x']" + ".map(a, [a, a])" * 4 + " == []", "at most 3 of all, exists, exists_one, filter and map"),
        (
            r"""r'\' != 'x' && [1].map(a, a + a).map //'
        (b, b + b) == []""",
            "at most 1 of all",
        ),
        ("['x'].map(a, r'\\' + a).map(b, r'\\' + b) == []", "at most 1 of all"),
        ("['x'].map(a, '''a'''' + a).map(b, '''b'''' + b) == []", "at most 1 of all"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, message: str) -> None:
    """The file's line and column and the key, then line and column within the expression."""
    with pytest.raises(InputError) as caught:
        rules_of("true", text)
    assert "rules[1].when.cel: " in str(caught.value)
    assert message in str(caught.value)


def test_the_place_in_the_file_is_that_of_the_expression() -> None:
    file = "version: 1\nsegments: {web: {groups: [a]}}\nrules:\n"
    file += "  - {id: r, from: [web], to: [web], services: [icmp], when: {cel: subject.nam == object.name}}"
    with pytest.raises(InputError) as caught:
        parse_policy(file, "policy.yaml")
    assert str(caught.value) == (
        "policy.yaml:4:67: rules[0].when.cel: expected an expression in CEL: "
        "1:8: there is no subject.nam; did you mean 'subject.name'?"
    )


def test_the_number_of_expressions_is_bounded() -> None:
    texts = [f"subject.name != 'u{index}'" for index in range(MAX_EXPRESSIONS + 1)]
    with pytest.raises(InputError, match=f"more than {MAX_EXPRESSIONS} different expressions"):
        rules_of(*texts)


def test_every_attribute_is_found_where_it_is_named() -> None:
    """And no other, whatever stands around it."""
    for name, kind in TYPES.items():
        text = f"true || [{name}].exists(name, name == {name})"
        assert compiled(text).names == {name}, kind


@pytest.mark.parametrize(
    ("text", "sides", "places"),
    [
        ("subject.labels.site == 'x'", {}, (True, False, False)),
        ("session.mfa || subject.device.posture.disk", {}, (True, False, False)),
        ("session.mfa || time.hour < 20", {}, (False, False, True)),
        ("object.labels.site == 'x'", {}, (False, True, False)),
        ("time.hour < 20", {}, (False, False, True)),
        ("subject.name == object.name", {}, (False, False, True)),
        ("cidr('10.0.0.0/8').containsIP(subject.address)", {}, (False, False, True)),
        ("subject.labels.site == 'x'", {"to": {"networks": ["::/0"]}}, (True, False, False)),
        ("object.address == '::1'", {"to": {"networks": ["::/0"]}}, (False, False, True)),
        ("object.kind == 'network'", {"to": {"networks": ["::/0"], "segments": ["a"]}}, (False, False, True)),
        ("subject.kind == 'network'", {"from": {"networks": ["::/0"]}}, (False, False, True)),
        ("object.labels.site == 'x'", {"from": {"networks": ["::/0"]}}, (False, True, False)),
        ("object.kind == 'user' && time.hour < 20", {"from": {"networks": ["::/0"]}}, (False, False, True)),
        ("1 == 1", {"from": {"networks": ["::/0"]}}, (False, True, False)),
    ],
)
def test_an_expression_is_where_it_is_decided(text: str, sides: dict[str, Any], places: tuple[bool, ...]) -> None:
    """What one session alone decides is a condition of that end; all else is a relation."""
    rule = rule_of(text, **sides)
    found = rule.condition.expression, rule.object_condition.expression, rule.expression
    assert found == tuple(text if here else None for here in places)


def test_an_address_outside_has_a_kind_and_an_address() -> None:
    """Nothing else is known of it."""

    def says(text: str) -> bool | None:
        return compiled(text).answer(ALICE, OUTSIDE, NOW).value

    assert says('object.kind == "network" && object.name == "198.51.100.7" && object.address == object.name')
    assert says('"x" in object.groups') is None
    assert says("has(object.labels.x)") is None
    assert says("object.device.proven") is None
    assert compiled("session.mfa").answer(OUTSIDE, ALICE, NOW).value is None


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("subject.name == object.name", math.inf),
        ("time.hour < 20", NOW + 5370),
        ('time.now.getHours("Europe/Berlin") < 20', NOW + 1770),
        ('time.now < timestamp("2026-11-25T18:32:00Z")', NOW + 90),
        ('time.now - session.mfa_at < duration("7m")', NOW + 150),
        ('time.weekday == "Wed"', NOW + 5.5 * 3600 - 30),
        ("subject.device.posture.disk", NOW - 60 + 86400),
    ],
)
def test_an_answer_says_until_when_it_is_sure(text: str, until: float) -> None:
    """The moment at which it changes, here; never later than that."""
    expression = compiled(text)
    answer = expression.answer(ALICE, WEB, NOW)
    assert answer.until == until
    if until < math.inf:
        assert expression.answer(ALICE, WEB, until - 0.001).value == answer.value
        assert expression.answer(ALICE, WEB, until).value != answer.value


def test_not_everybody_is_due_at_one_moment() -> None:
    """An answer that is the same for hours is looked at again sooner by some, and later by others."""
    expression = compiled('"staff" in subject.groups && time.now.getHours("Europe/Berlin") < 23')
    untils = [expression.answer(replace(ALICE, name=f"u{index}"), WEB, NOW).until for index in range(1000)]
    assert min(untils) > NOW + 15 * 60
    assert max(untils) <= NOW + 60 * 60
    assert max(untils.count(until) for until in untils) < 10


TIMED = (
    "time.hour % 2 == 0 && time.minute < 7",
    'time.now.getHours("Asia/Kathmandu") in [1, 3, 5] || time.weekday == "Sun"',
    'time.now.getHours("+01:07") < 12',
    "time.now.getHours(subject.labels.zone) < 12",
    "[time.now].exists(t, t.getMinutes() < 30)",
    'time.now - session.mfa_at < duration("20m")',
    'time.now - session.mfa_at < duration("20m") || time.month == 12',
)


@given(st.sampled_from(TIMED), st.integers(0, 400 * 86400), st.integers(0, 86400))
def test_until_then_the_answer_is_the_same(text: str, start: int, after: int) -> None:
    """Whenever it is asked before, with what is remembered and without."""
    now = NOW + start + 0.25
    subject = replace(ALICE, labels=(("zone", "-03:11"),), mfa_at=now - 600)
    answer = compiled(text).answer(subject, WEB, now)
    assert answer.until > now
    moment = min(now + after, math.nextafter(answer.until, 0))
    fresh = compiled.__wrapped__(text)
    assert fresh.answer(subject, WEB, moment)[:2] == answer[:2]


def test_old_postures_are_none() -> None:
    """A device that stops to report has no posture; what it is, it stays."""
    old = replace(ALICE, device=replace(DEVICE, measured=NOW - 86400))
    assert compiled("subject.device.posture.disk").answer(old, WEB, NOW).value is None
    assert compiled("subject.device.proven").answer(old, WEB, NOW).value


def test_types_count() -> None:
    """True is not the number one, not even where the answer for one of them is remembered."""
    for level, expected in ((1, True), (True, False), (1, True)):
        subject = replace(ALICE, device=replace(DEVICE, posture=(("level", level),)))
        assert compiled("type(subject.device.posture.level) == int").answer(subject, WEB, NOW).value is expected


def test_an_expression_is_run_once_for_the_same_values() -> None:
    """However many sessions have them, and whatever else they have."""
    expression = compiled.__wrapped__('subject.labels.site == "bern" && time.now.getHours("Europe/Berlin") < 20')
    for index in range(1000):
        assert expression.answer(replace(ALICE, name=f"u{index}"), WEB, NOW + index / 10).value
    assert expression.runs < 20


def test_without_the_library_an_expression_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Python 3.10: no policy that has one is put in force."""
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    with pytest.raises(ExpressionError, match=r"expressions need Python 3\.11 or later"):
        Language()


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    """Nothing else comes out of the checker."""
    try:
        found: object = compiled.__wrapped__(text)
    except ExpressionError as error:
        found = str(error)
    assert found


def test_the_engine_knows_who_is_related() -> None:
    """One rule for all sites: each to its own."""
    policy = read(
        {
            "version": 1,
            "segments": {"staff": {"groups": ["staff"]}, "web": {"labels": {"tier": "web"}}},
            "rules": [
                {"id": "own-site", "from": ["staff"], "to": ["web"], "services": ["tcp/443"]}
                | {"when": {"cel": "subject.labels.site == object.labels.site"}}
            ],
        }
    )
    alice = replace(ALICE, groups=frozenset({"staff"}))

    def decided(target: Party) -> tuple[bool, str | None]:
        decision = decide(policy, alice, target, 6, 443, NOW)
        return decision.allowed, decision.rule

    for site, expected in (("bern", (True, "own-site")), ("basel", (False, None))):
        assert decided(replace(WEB, labels=(("site", site), ("tier", "web")))) == expected
    assert decided(replace(WEB, labels=(("tier", "web"),))) == (False, None)


def _rule(name: str, cel: str, action: str = "allow") -> dict[str, Any]:
    ends = {"from": ["staff"], "to": ["web"], "services": ["tcp/443"]}
    return {"id": name, **ends, "action": action, "when": {"cel": cel}}


SITES = {
    "version": 1,
    "segments": {"staff": {"groups": ["staff"]}, "web": {"labels": {"tier": "web"}}},
    "rules": [
        _rule("own", "subject.name != object.name"),
        _rule("same", "subject.name != object.name"),
        _rule("site", "subject.labels.site == object.labels.site"),
        _rule("no", "object.labels.site == subject.name", "deny"),
    ],
}


def test_different_expressions_never_cover_each_other() -> None:
    """Equal ones do; and a deny that rests on one takes nothing from an allow for certain."""
    policy = read(SITES)
    people = [replace(ALICE, groups=frozenset({"staff"})), replace(WEB, labels=(("tier", "web"),))]
    found = {(one.code, one.problem.key) for one in lint(policy, compile_policy(policy), people)}
    assert found == {("covered-rule", "rule same")}


@pytest.mark.parametrize(
    ("text", "remarked"),
    [
        ("session.mfa", True),
        ("session.aal >= 2 && subject.name != object.name", True),
        ("subject.labels.site == 'bern'", False),
        ("subject.device.labels.managed == 'yes'", False),
        ("subject.name != object.name", False),
    ],
)
def test_a_deny_that_is_got_round_by_proving_less_is_remarked(text: str, remarked: bool) -> None:
    """A device or a label that is missing is an error, which denies; a second factor that is missing is none."""
    policy = read({**SITES, "rules": [_rule("a", "true"), _rule("no", text, "deny")]})
    codes = [one.code for one in lint(policy, compile_policy(policy), [ALICE, WEB])]
    assert ("lapsing-deny" in codes) is remarked


def test_what_rests_on_a_relation_may_be_reached() -> None:
    """Whether it holds, two classes do not tell."""
    policy = read(SITES)
    compiled_policy = compile_policy(policy)
    (staff,), (web,) = compiled_policy.classes["staff"], compiled_policy.classes["web"]
    assert compiled_policy.may_reach(staff, web)
    assert web in compiled_policy.peers()[staff]
    assert not compiled_policy.may_reach(web, staff)
    (opening,) = openings(policy)
    assert {rule.id for rule in opening.rules} == {"own", "same", "site"}
    assert not opening.always


def test_an_explanation_says_what_an_expression_saw() -> None:
    """Each rule whose expression does not hold, with the values, or the error."""
    policy = read(SITES)
    alice, web = replace(ALICE, groups=frozenset({"staff"})), replace(WEB, labels=(("tier", "web"),))
    explained = explain(policy, alice, web, Service.parse("tcp/443"), NOW)
    because = {one.rule: one.because for one in explained.considered}
    assert explained.decision.rule == "no"
    assert because["site"] == (
        "needs subject.labels.site == object.labels.site (object.labels is tier=web; subject.labels is site=bern; "
        'NOT_FOUND: Key not found in map : "site")'
    )
    assert because["own"] == "matches, but rule no denies"
