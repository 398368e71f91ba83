"""The graph of a policy: what is drawn as one, and that nothing is lost by it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.policy import policies
from zethane.policy.access import openings
from zethane.policy.graph import Graph, graph
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy


def policy_of(segments: int, *lines: dict[str, Any]) -> Policy:
    named = {f"s{number}": {"labels": {"n": str(number)}} for number in range(segments)}
    file = {"version": 1, "segments": named, "rules": [{"id": f"r{n}", **line} for n, line in enumerate(lines)]}
    return parse_policy(json.dumps(file), "policy.yaml")


def rule(source: Any, target: Any, service: str = "tcp/1", **more: Any) -> dict[str, Any]:
    return {"from": source, "to": target, "services": [service], **more}


def told(found: Graph) -> list[str]:
    return [
        f"{edge.source} -> {'+'.join(edge.targets)} {','.join(mark.services)} {'+'.join(mark.rules)}"
        f" {edge.kind}{'' if edge.change == 'same' else ' ' + edge.change}"
        for edge in found.edges
        for mark in edge.marks
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([rule(["s0"], ["s1"])], ["s0 -> s1 tcp/1 r0 always"]),
        ([rule(["s0"], ["s1"], when={"mfa": True})], ["s0 -> s1 tcp/1 r0 conditional"]),
        ([rule(["any"], ["s1"])], ["any -> s1 tcp/1 r0 always"]),
        ([rule(["s1"], ["any"])], ["s1 -> to any tcp/1 r0 always"]),
        ([rule(["any"], ["any"])], ["any -> to any tcp/1 r0 always"]),
        (
            [rule(["any"], ["s1", "s2"]), rule(["s0"], ["s2"], action="deny")],
            ["any -> s1 tcp/1 r0 always", *(f"s{n} -> s2 tcp/1 r0 always" for n in (1, 2, 3))],
        ),
        ([rule(["s0"], ["s1"], stage="audit")], ["s0 -> s1 tcp/1 r0 staged"]),
        ([rule(["s0"], ["s1"]), rule(["s0"], ["s1"], stage="audit")], ["s0 -> s1 tcp/1 r0 always"]),
        (
            [rule(["s0"], ["s1"], "tcp/1"), rule(["s0"], ["s1"], "udp/2"), rule(["s0"], ["s1", "s2"], "icmp")],
            ["s0 -> s1 tcp/1 r0 always", "s0 -> s1 udp/2 r1 always", "s0 -> s1+s2 icmp r2 always"],
        ),
    ],
)
def test_edges(lines: list[dict[str, Any]], expected: list[str]) -> None:
    assert sorted(told(graph(policy_of(4, *lines)))) == sorted(expected)


def test_denies_are_drawn_on_demand() -> None:
    policy = policy_of(4, rule(["s0"], ["s1"]), rule(["any"], ["s2"], "tcp/22", action="deny"))
    assert told(graph(policy)) == ["s0 -> s1 tcp/1 r0 always"]
    assert told(graph(policy, denies=True)) == ["any -> s2 tcp/22 r1 denied", "s0 -> s1 tcp/1 r0 always"]


def test_a_change_is_by_meaning() -> None:
    """Another id or a wider range of which all was open is none; a condition more is a loss."""
    before = policy_of(2, rule(["s0"], ["s1"], "tcp/1-9"), rule(["s1"], ["s0"]))
    after = policy_of(2, rule(["s1"], ["s0"], when={"mfa": True}), rule(["s0"], ["s1"], "tcp/4-12"))
    assert sorted(told(graph(before, against=after))) == [
        "s0 -> s1 tcp/1-9 r0 always lost",
        "s0 -> s1 tcp/4-12 r1 always gained",
        "s1 -> s0 tcp/1 r0 conditional",
        "s1 -> s0 tcp/1 r1 always lost",
    ]
    renamed = policy_of(2, rule(["s1"], ["s0"]), rule(["s0"], ["s1"], "tcp/1-9"))
    assert all(edge.change == "same" for edge in graph(before, against=renamed).edges)


def test_segments_with_the_same_edges_are_one_node() -> None:
    policy = policy_of(6, rule(["s0"], ["s1", "s2", "s3"]), rule(["s1", "s2", "s3"], ["s4"]))
    found = graph(policy, {"s1": 2, "s2": 1}, merge=True)
    assert [(node.name, node.kind, node.hosts) for node in found.nodes] == [
        ("s0", "segment", 0),
        ("s1 + 2", "group", 3),
        ("s4", "segment", 0),
        ("s5", "segment", 0),
    ]
    assert told(found) == ["s0 -> s1 + 2 tcp/1 r0 always", "s1 + 2 -> s4 tcp/1 r1 always"]


@given(policies(), st.booleans())
def test_nothing_is_lost(policy: Policy, merge: bool) -> None:
    """The edges, taken apart again, are the openings."""
    found = graph(policy, merge=merge)
    places = {node.name: node.places for node in found.nodes} | {
        name: tuple(policy.segments) for name in ("any", "to any")
    }
    taken = {
        (source, target, service, mark.rules)
        for edge in found.edges
        for mark in edge.marks
        for service in mark.services
        for source in places[edge.source]
        for name in edge.targets
        for target in places[name]
        if edge.kind in ("always", "conditional")
    }
    assert taken == {
        (str(one.source), str(one.target), str(one), tuple(rule.id for rule in one.rules)) for one in openings(policy)
    }
