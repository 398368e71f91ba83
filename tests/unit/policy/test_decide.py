"""Verdicts of the policy engine, and of the compiled policy beside it."""

from __future__ import annotations

import pytest

from zethane.errors import CapacityError
from zethane.policy import compile as compiler
from zethane.policy.compile import compile_policy, simulate
from zethane.policy.condition import Condition
from zethane.policy.decide import decide, decide_service
from zethane.policy.entry import SessionClass
from zethane.policy.load import parse_policy
from zethane.policy.model import Service
from zethane.policy.principal import Principal

POLICY = parse_policy(
    """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  staff: {groups: [staff, admins]}
rules:
  - {id: z-web, from: [staff], to: [web], services: [tcp/443]}
  - {id: a-web, from: [staff], to: [web], services: [tcp/443], when: {mfa: true}}
  - {id: web-db, from: [web], to: [db], services: [tcp/5000-5999]}
  - {id: ping, from: [any], to: [web], services: [icmp]}
  - {id: no-5432, from: [any], to: [db], services: [tcp/5432], action: deny}
  - {id: no-5432-too, from: [web], to: [db], services: [tcp/5432], action: deny}
""",
    "policy.yaml",
)


def workload(tier: str) -> Principal:
    return Principal("workload", f"{tier}1", labels=(("tier", tier),))


WEB, DB = workload("web"), workload("db")
ALICE = Principal("user", "alice", frozenset({"staff"}), mfa=True)
BOB = Principal("user", "bob", frozenset({"admins"}))
NOBODY = Principal("user", "nobody")
BOTH = Principal("user", "both", frozenset({"staff"}), (("tier", "web"),))


@pytest.mark.parametrize(
    ("subject", "target", "ip_proto", "port", "allowed", "rule", "reason"),
    [
        (ALICE, WEB, 6, 443, True, "a-web", "rule a-web allows tcp/443 from staff to web"),
        (BOB, WEB, 6, 443, True, "z-web", "rule z-web allows tcp/443 from staff to web"),
        (BOB, WEB, 17, 443, False, None, "no rule allows udp/443 from staff to web"),
        (WEB, WEB, 6, 443, False, None, "no rule allows tcp/443 from web to web"),
        (WEB, DB, 6, 5431, True, "web-db", "rule web-db allows tcp/5431 from web to db"),
        (WEB, DB, 6, 5432, False, "no-5432", "rule no-5432 denies tcp/5432 from web to db"),
        (DB, WEB, 6, 5431, False, None, "no rule allows tcp/5431 from db to web"),
        (DB, WEB, 1, 0, True, "ping", "rule ping allows icmp from db to web"),
        (DB, WEB, 58, 0, True, "ping", "rule ping allows icmp from db to web"),
        (DB, WEB, 47, 0, False, None, "no rule allows IP protocol 47 from db to web"),
        (None, WEB, 1, 0, False, None, "the subject is not authenticated"),
        (WEB, None, 1, 0, False, None, "the object is not authenticated"),
        (NOBODY, WEB, 1, 0, False, None, "the subject user:nobody is in no segment"),
        (WEB, BOTH, 1, 0, False, None, "the object user:both is in more than one segment: staff, web"),
    ],
)
def test_verdicts(
    subject: Principal | None,
    target: Principal | None,
    ip_proto: int,
    port: int,
    allowed: bool,
    rule: str | None,
    reason: str,
) -> None:
    """Deny is the fall-through, deny wins, the smallest id is named, and each verdict says why."""
    decision = decide(POLICY, subject, target, ip_proto, port)
    assert (decision.allowed, decision.rule, decision.reason) == (allowed, rule, reason)


@pytest.mark.parametrize(
    ("text", "allowed", "rule"),
    [
        ("tcp/5000-5431", True, "web-db"),
        ("tcp/5000-5432", False, "no-5432"),
        ("tcp/5999-6000", False, None),
        ("tcp", False, None),
        ("any", False, None),
    ],
)
def test_a_range_is_allowed_when_all_of_it_is(text: str, allowed: bool, rule: str | None) -> None:
    """A denial names what denies the lowest denied port."""
    decision = decide_service(POLICY, WEB, DB, Service.parse(text))
    assert (decision.allowed, decision.rule) == (allowed, rule)


def test_only_segments_that_a_rule_asks_about_mfa_have_two_classes() -> None:
    """Sessions that no rule can tell apart share a class."""
    compiled = compile_policy(POLICY)
    assert compiled.class_of("web", ALICE, 0.0) == compiled.class_of("web", BOB, 0.0) == SessionClass("web")
    assert compiled.class_of("staff", ALICE, 0.0) == SessionClass("staff", (Condition(mfa=True).key,))
    assert compiled.class_of("staff", BOB, 0.0) == SessionClass("staff")


def test_ranks_put_denies_first_and_ids_in_order() -> None:
    """The rank is unique per rule; the lowest wins."""
    ranks = {entry.rule: entry.rank for entry in compile_policy(POLICY).entries}
    assert sorted(ranks, key=ranks.__getitem__) == ["no-5432", "no-5432-too", "a-web", "ping", "web-db", "z-web"]
    assert len(set(ranks.values())) == len(ranks)


def test_a_target_with_two_classes_is_reached_in_both() -> None:
    """The object's second factor is nobody's concern."""
    text = """
version: 1
segments: {web: {labels: {tier: web}}, staff: {groups: [staff]}, db: {labels: {tier: db}}}
rules:
  - {id: ask, from: [staff], to: [web], services: [tcp/1], when: {mfa: false}}
  - {id: back, from: [web], to: [staff], services: [tcp/2]}
"""
    compiled = compile_policy(parse_policy(text, "p"))
    web = compiled.class_of("web", WEB, 0.0)
    for mfa in (True, False):
        staff = compiled.class_of("staff", ALICE if mfa else BOB, 0.0)
        assert simulate(compiled, web, staff, 6, 2).rule == "back"
        assert simulate(compiled, staff, web, 6, 1).allowed is not mfa
    assert simulate(compiled, None, web, 6, 1).reason == "the subject is not authenticated"


def test_a_deny_that_takes_everything_makes_unreachable() -> None:
    """Reach is what is left of the allows, also when only several denies together take it."""
    text = """
version: 1
segments: {a: {groups: [a]}, b: {groups: [b]}, c: {groups: [c]}}
rules:
  - {id: ab, from: [a], to: [b], services: [tcp/10-20]}
  - {id: ac, from: [a], to: [c], services: [tcp/10-20]}
  - {id: no1, from: [any], to: [b, c], services: [tcp/10-15], action: deny}
  - {id: no2, from: [a], to: [b], services: [tcp/16-20], action: deny}
"""
    compiled = compile_policy(parse_policy(text, "p"))
    a, b, c = (compiled.class_of(name, BOB, 0.0) for name in "abc")
    assert compiled.peers() == {a: frozenset({c}), b: frozenset(), c: frozenset()}


def test_a_policy_that_grows_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of entries is bounded, and the rule that breaks the bound is named."""
    monkeypatch.setattr(compiler, "MAX_ENTRIES", 3)
    with pytest.raises(CapacityError, match=r"rule ping: .* more than 3 entries"):
        compile_policy(POLICY)


def test_a_thousand_rules_over_a_hundred_segments_compile_to_as_many_entries() -> None:
    """Entries grow with the rules, not with their product with the segments."""
    segments = "".join(f"  s{n}: {{groups: [g{n}]}}\n" for n in range(100))
    rules = "".join(
        f"  - {{id: r{n}, from: [s{n % 100}], to: [s{n * 7 % 100}], services: [tcp/{n}]}}\n" for n in range(1000)
    )
    policy = parse_policy(f"version: 1\nsegments:\n{segments}rules:\n{rules}", "p")
    assert compile_policy(policy).size == 1000
