"""How far an intruder gets: by hops, by what may be met and what is met now, and the score of it."""

from __future__ import annotations

import json
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.policy import NOW, SEGMENTS, flows, members, policies, policy_files, read, rules
from zethane.policy.bits import bits
from zethane.policy.blast_radius import blast_radius, compare, every_segment
from zethane.policy.decide import decide
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.principal import External, Parties, Principal
from zethane.policy.reach import Ground, levels, spread
from zethane.policy.service import Service

TIERS = ("web", "app", "db", "staff")


def policy_of(*lines: dict[str, Any]) -> Policy:
    segments: dict[str, Any] = {name: {"labels": {"tier": name}} for name in TIERS}
    segments["db"]["labels"]["critical"] = "yes"
    file = {"version": 1, "segments": segments, "rules": [{"id": f"r{n}", **rule} for n, rule in enumerate(lines)]}
    return parse_policy(json.dumps(file), "policy.yaml")


def rule(source: Any, target: Any, service: str = "tcp/1", **more: Any) -> dict[str, Any]:
    return {"from": source, "to": target, "services": [service], **more}


def member(name: str, tier: str, mfa: bool = False, **labels: str) -> Principal:
    more = {"critical": "yes"} if tier == "db" else {}
    every = {"tier": tier, **more, **labels}
    return Principal("workload", name, labels=tuple(sorted(every.items())), mfa=mfa, mfa_at=NOW if mfa else None)


HOSTS: dict[str, Parties] = {
    "web1": member("web1", "web"),
    "web2": member("web2", "web"),
    "app1": member("app1", "app"),
    "db1": member("db1", "db"),
    "alice": member("alice", "staff", mfa=True),
    "bob": member("bob", "staff"),
    "ghost": None,
    "www": (External(ip_address("198.51.100.80")),),
}

CHAIN = policy_of(
    rule(["web"], ["app"]),
    rule(["app"], ["db"], "tcp/5432"),
    rule(["staff"], ["web"], when={"mfa": True}),
    rule(["app"], {"networks": ["198.51.100.0/24"]}),
)


def test_hops_from_a_host() -> None:
    found = blast_radius(Ground(CHAIN, HOSTS, NOW), "web1")
    assert [(one.place, one.hop, one.hop_always, one.hop_now) for one in found.reached] == [
        ("app", 1, 1, 1),
        ("db", 2, 2, 2),
        ("198.51.100.0/24", 2, 2, 2),
    ]
    assert found.places == ("web",)
    assert found.reached[0].hosts_now == (("app1", 1),)
    via = found.reached[1].via
    assert (via.source, via.target, [str(piece) for piece in via.pieces]) == ("app", "db", ["tcp/5432"])
    (path, now) = found.paths
    assert [(step.source, step.target) for step in path.steps] == [("web", "app"), ("app", "db")]
    assert [(step.source, step.target) for step in now.steps] == [("web1", "app1"), ("app1", "db1")]
    assert found.reaches_critical


def test_the_score_is_what_it_is_defined_as() -> None:
    """web1: app1 at 1, db1 (weight 10) at 2, of web2, app1, db1, alice and bob with 14 together."""
    found = blast_radius(Ground(CHAIN, HOSTS, NOW), "web1")
    assert found.score == pytest.approx(100 * (1 / 1 + 10 / 2) / 14)
    assert found.score_now == pytest.approx(found.score)


def test_a_condition_stands_between() -> None:
    """bob has no second factor: he could come by one, and has none now."""
    ground = Ground(CHAIN, HOSTS, NOW)
    alice, bob = blast_radius(ground, "alice"), blast_radius(ground, "bob")
    assert alice.score == bob.score > 0
    assert alice.score_now == alice.score
    assert bob.score_now == 0
    assert [(one.place, one.hop, one.hop_always, one.hop_now) for one in bob.reached][:2] == [
        ("web", 1, None, None),
        ("app", 2, None, None),
    ]
    segment = blast_radius(ground, "staff")
    assert segment.score_now == pytest.approx(alice.score_now)
    assert segment.reached[0].hop_now == 1


def test_the_way_without_conditions_is_taken_where_it_is_as_short() -> None:
    policy = policy_of(
        rule(["staff"], ["web"], when={"mfa": True}),
        rule(["staff"], ["app"]),
        rule(["web", "app"], ["db"]),
    )
    (path, *_) = blast_radius(Ground(policy, HOSTS, NOW), "bob").paths
    assert [step.target for step in path.steps] == ["app", "db"]
    assert all(step.always for step in path.steps)


def test_members_do_not_reach_each_other_unless_a_rule_says_so() -> None:
    ground = Ground(policy_of(rule(["web"], ["app"]), rule(["app"], ["app"])), HOSTS, NOW)
    assert [one.place for one in blast_radius(ground, "web1").reached] == ["app"]
    back = Ground(policy_of(rule(["web"], ["app"]), rule(["app"], ["web"])), HOSTS, NOW)
    found = blast_radius(back, "web1")
    assert [(one.place, one.hop, one.hosts, one.hosts_now) for one in found.reached] == [
        ("app", 1, ("app1",), (("app1", 1),)),
        ("web", 2, ("web2",), (("web2", 2),)),
    ]


def test_deny_wins() -> None:
    policy = policy_of(rule(["any"], ["any"], "any"), rule(["any"], ["db"], "any", action="deny"))
    found = blast_radius(Ground(policy, HOSTS, NOW), "web1")
    assert [one.place for one in found.reached] == ["web", "app", "staff"]
    assert not found.reaches_critical


def test_from_outside_and_back() -> None:
    policy = policy_of(
        rule(["staff"], {"networks": ["198.51.100.0/24"]}),
        rule({"networks": ["198.51.100.0/25"]}, ["web"], "tcp/443"),
    )
    ground = Ground(policy, HOSTS, NOW)
    assert [(one.place, one.hop) for one in blast_radius(ground, "bob").reached] == [
        ("198.51.100.0/24", 1),
        ("198.51.100.0/25", 1),
        ("web", 2),
    ]
    for start in ("www", "198.51.100.0/25"):
        found = blast_radius(ground, start)
        assert [(one.place, one.hosts_now) for one in found.reached] == [("web", (("web1", 1), ("web2", 1)))]
        assert found.score == found.score_now == pytest.approx(100 * 2 / 15)


def test_who_has_not_logged_in_reaches_nobody() -> None:
    found = blast_radius(Ground(CHAIN, HOSTS, NOW), "ghost")
    assert (found.places, found.reached, found.score) == ((), (), 0)


def test_a_service_may_be_left_out() -> None:
    policy = policy_of(rule(["web"], ["db"], "icmp"), rule(["web"], ["app"], "any"))
    ground = Ground(policy, HOSTS, NOW, frozenset({Service("icmp")}))
    assert [one.place for one in blast_radius(ground, "web1").reached] == ["app"]
    assert [one.score for one in every_segment(ground) if one.start == "web"] == [blast_radius(ground, "web").score]


def test_names_that_are_both() -> None:
    ground = Ground(CHAIN, {**HOSTS, "db": HOSTS["bob"]}, NOW)
    assert blast_radius(ground, "db").places == ("staff",)
    assert blast_radius(ground, "db", "segment").places == ("db",)
    for start, kind in (("nothing", None), ("web1", "segment"), ("web", "network"), ("198.51.100.0/24", "segment")):
        with pytest.raises(KeyError):
            blast_radius(ground, start, kind)


def test_what_is_critical_may_be_told() -> None:
    ground = Ground(CHAIN, {**HOSTS, "app2": member("app2", "app", role="backup")}, NOW)
    found = blast_radius(ground, "web1", critical=[("role", "backup")])
    assert [(one.target, one.now) for one in found.paths] == [("app", False), ("app2", True)]


def test_a_change() -> None:
    after = policy_of(rule(["web"], ["db"]), rule(["db"], ["staff"]))
    changes = compare(blast_radius(Ground(CHAIN, HOSTS), "web1"), blast_radius(Ground(after, HOSTS), "web1"))
    assert [(one.place, one.word) for one in changes if one.way == "hop"] == [
        ("app", "lost"),
        ("db", "nearer"),
        ("198.51.100.0/24", "lost"),
        ("staff", "gained"),
    ]


def test_the_table_says_what_each_start_does() -> None:
    ground = Ground(CHAIN, HOSTS, NOW)
    table = every_segment(ground)
    assert [one.score for one in table] == sorted((one.score for one in table), reverse=True)
    for one in table:
        alone = blast_radius(ground, one.start)
        assert one.reaches_critical == alone.reaches_critical == bool(alone.paths)
        assert (one.score, one.score_now) == (pytest.approx(alone.score), pytest.approx(alone.score_now))
        assert [(p.place, p.hop, p.hop_always) for p in one.reached] == [
            (p.place, p.hop, p.hop_always) for p in alone.reached
        ]


populations = st.lists(members(), max_size=6).map(
    lambda people: {f"h{number}": person for number, person in enumerate(people)}
)


@given(policy_files(), rules(action="allow"), populations)
def test_an_allow_never_lowers_a_score(file: dict[str, Any], more: dict[str, Any], hosts: dict[str, Parties]) -> None:
    before = Ground(read({**file, "rules": file["rules"]}), hosts, NOW)
    rules_after = [*file["rules"], {"id": "more", **more}]
    after = Ground(read({**file, "rules": rules_after}), hosts, NOW)
    now = {one.start: one for one in every_segment(after)}
    for one in every_segment(before):
        grown = now[one.start]
        assert 0 <= one.score_now <= one.score + 1e-9
        assert one.score <= grown.score + 1e-9 <= 100 + 1e-6
        assert one.score_now <= grown.score_now + 1e-9
        if grown.places and grown.start in SEGMENTS:
            reached = {place.place: place.hop for place in grown.reached}
            assert all(reached[place.place] <= place.hop for place in one.reached)


@given(policies(), populations, flows)
def test_one_hop_now_is_what_the_engine_allows(
    policy: Policy, hosts: dict[str, Parties], flow: tuple[int, int]
) -> None:
    ground = Ground(policy, hosts, NOW)
    place = {node.host: number for number, node in enumerate(ground.nodes)}
    for one, subject in hosts.items():
        for other, target in hosts.items():
            if one != other and decide(policy, subject, target, *flow, NOW).allowed:  # type: ignore[arg-type]
                assert ground.reach_now[place[one]] >> place[other] & 1


@given(st.lists(st.integers(0, 63), min_size=6, max_size=6), st.integers(0, 5))
def test_hops_are_the_fewest(reach: list[int], start: int) -> None:
    """Against going on step by step from all that is reached; and every way is one, and as long as it should be."""
    found = spread(reach, [start])
    assert dict(found.hops) == levels(reach, [start])
    reached, expected = {start}, dict[int, int]()
    for hop in range(1, 8):
        reached = {target for number in reached for target in bits(reach[number])} | reached
        for number in reached:
            if number != start:
                expected.setdefault(number, hop)
    assert {number: hop for number, hop in found.hops.items() if number != start} == expected
    for target, hop in found.hops.items():
        path = found.path(target)
        assert len(path) == hop + 1
        assert path[0] == start
        assert all(reach[one] >> other & 1 for one, other in pairwise(path))


def test_what_opens_with_time_and_who_it_is_counts_now() -> None:
    """Hours at their time, expressions and labels of the other end for the hosts that there are."""
    policy = policy_of(
        rule(["staff"], ["web"], when={"hours": "Mon-Fri 07:00-19:00 UTC"}),
        rule(["web"], ["app"], when={"cel": 'subject.name == "web2"'}),
        rule(["app"], ["db"], when={"object": {"labels": {"site": "bern"}}}),
    )
    hosts = {**HOSTS, "db2": member("db2", "db", site="bern")}
    noon, night = (1764158400.0 + hours * 3600 for hours in (0, 10))  # 2025-11-26 12:00 and 22:00, a Wednesday
    found = blast_radius(Ground(policy, hosts, noon), "bob")
    assert [(one.place, one.hop_always, one.hop_now, one.hosts_now) for one in found.reached] == [
        ("web", None, 1, (("web1", 1), ("web2", 1))),
        ("app", None, 2, (("app1", 2),)),
        ("db", None, 3, (("db2", 3),)),
    ]
    assert [path.target for path in found.paths if path.now] == ["db2"]
    late = blast_radius(Ground(policy, hosts, night), "bob")
    assert [one.hop_now for one in late.reached] == [None, None, None]
    assert late.score == found.score > found.score_now > late.score_now == 0
