"""What may be opened between places is what the engine would allow somebody there, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from strategies.policy import NOW, flows, parties, policies
from zethane.policy.access import Access, Opening, Piece, access, openings
from zethane.policy.decide import decide, place_of
from zethane.policy.load import parse_policy
from zethane.policy.model import Place, Policy
from zethane.policy.principal import External, Principal
from zethane.policy.service import PROTOCOLS


def policy_of(*rules: dict[str, object]) -> Policy:
    segments = {name: {"labels": {"tier": name}} for name in ("web", "app", "db")}
    file = {"version": 1, "segments": segments, "rules": [{"id": f"r{n}", **rule} for n, rule in enumerate(rules)]}
    return parse_policy(json.dumps(file), "policy.yaml")


def told(policy: Policy) -> list[str]:
    return [
        f"{one.source} {one.target} {one} {'+'.join(rule.id for rule in one.rules)}{'' if one.always else ' ?'}"
        for one in openings(policy)
    ]


def is_of(piece: Piece, ip_proto: int, port: int) -> bool:
    if piece.others:
        return not any(ip_proto in known for known in PROTOCOLS.values())
    return piece.service.matches(ip_proto, port)


def between(found: Access, source: Place | None, target: Place | None) -> tuple[Piece, ...]:
    if source is None or target is None:
        return ()
    return found.rows[found.places.index(source)].pieces(found.places.index(target))


@given(policies(), parties(), parties(), flows)
def test_openings_are_what_the_engine_decides(
    policy: Policy, subject: Principal | External, target: Principal | External, flow: tuple[int, int]
) -> None:
    """A flow is allowed if and only if a piece of its places has it, with a rule that holds and no deny that does."""
    source, destination = place_of(policy, subject, "subject")[0], place_of(policy, target, "object")[0]
    matching = [piece for piece in between(access(policy), source, destination) if is_of(piece, *flow)]
    assert len(matching) <= 1
    open_now = any(
        any(rule.holds_for(subject, target, NOW) for rule in piece.rules)
        and not any(rule.holds_for(subject, target, NOW) for rule in piece.denies)
        for piece in matching
    )
    assert decide(policy, subject, target, *flow, NOW).allowed == open_now
    assert open_now or not any(piece.always for piece in matching)


@given(policies())
def test_rows_and_openings_say_the_same(policy: Policy) -> None:
    found = access(policy)
    by_pair: dict[tuple[Place, Place], list[Opening]] = {}
    for one in openings(policy):
        by_pair.setdefault((one.source, one.target), []).append(one)
    for number, row in enumerate(found.rows):
        for other, target in enumerate(found.places):
            listed = by_pair.get((found.places[number], target), [])
            assert [(one.service, one.rules) for one in listed] == [
                (one.service, one.rules) for one in row.pieces(other)
            ]
            assert bool(row.reach >> other & 1) == bool(listed)
            assert bool(row.always >> other & 1) == any(one.always for one in listed)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([{"from": ["web"], "to": ["app"], "services": ["tcp/1"]}], ["web app tcp/1 r0"]),
        (
            [
                {"from": ["web"], "to": ["app"], "services": ["any"]},
                {"from": ["any"], "to": ["app"], "services": ["tcp", "udp", "icmp", "sctp"], "action": "deny"},
            ],
            ["web app other IP protocols r0"],
        ),
        (
            [
                {"from": ["web"], "to": ["app"], "services": ["tcp/1-9"]},
                {"from": ["web"], "to": ["app"], "services": ["tcp/5"], "action": "deny"},
            ],
            ["web app tcp/1-4 r0", "web app tcp/6-9 r0"],
        ),
        (
            [
                {"from": ["web"], "to": ["app"], "services": ["tcp/1"], "when": {"mfa": True}},
                {"from": ["web"], "to": ["app"], "services": ["tcp/1"], "when": {"mfa": True}, "action": "deny"},
            ],
            [],
        ),
        (
            [
                {"from": ["web"], "to": ["app"], "services": ["tcp/1"]},
                {"from": ["web"], "to": ["app"], "services": ["tcp/1"], "when": {"mfa": True}, "action": "deny"},
            ],
            ["web app tcp/1 r0 ?"],
        ),
        (
            [
                {"from": ["web"], "to": ["app"], "services": ["tcp/1"], "when": {"mfa": True}},
                {"from": ["any"], "to": ["app"], "services": ["tcp/1"]},
            ],
            ["web app tcp/1 r0+r1", "app app tcp/1 r1", "db app tcp/1 r1"],
        ),
        ([{"from": ["web"], "to": ["app"], "services": ["tcp/1"], "stage": "audit"}], []),
        (
            [{"from": {"networks": ["10.0.0.0/8"]}, "to": ["any"], "services": ["tcp/1"]}],
            ["10.0.0.0/8 web tcp/1 r0", "10.0.0.0/8 app tcp/1 r0", "10.0.0.0/8 db tcp/1 r0"],
        ),
        (
            [
                {"from": ["web"], "to": {"networks": ["10.0.0.0/8"]}, "services": ["tcp/1"]},
                {"from": ["web"], "to": {"networks": ["10.1.0.0/16"]}, "services": ["tcp/2"]},
                {"from": {"networks": ["10.0.0.0/8"]}, "to": ["web"], "services": ["icmp"]},
            ],
            [
                "web 10.0.0.0/8 tcp/1 r0",
                "web 10.1.0.0/16 tcp/1 r0",
                "web 10.1.0.0/16 tcp/2 r1",
                "10.0.0.0/8 web icmp r2",
                "10.1.0.0/16 web icmp r2",
            ],
        ),
    ],
)
def test_openings(rules: list[dict[str, object]], expected: list[str]) -> None:
    assert told(policy_of(*rules)) == expected


def test_any_takes_no_room_by_pairs() -> None:
    """A rule between all segments is one set in one row, which all sources have."""
    segments = {f"s{number}": {"labels": {"n": str(number)}} for number in range(200)}
    rules = [{"id": "all", "from": ["any"], "to": ["any"], "services": ["icmp"]}]
    found = access(parse_policy(json.dumps({"version": 1, "segments": segments, "rules": rules}), "policy.yaml"))
    assert len({id(row) for row in found.rows}) == 1
    assert len(found.rows[0].groups) == 1
    assert found.rows[0].reach == (1 << 200) - 1
