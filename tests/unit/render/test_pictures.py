"""Pictures are whole XML whatever names and conditions say, and say what the policy does."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from zethane.policy.blast_radius import blast_radius, every_segment
from zethane.policy.graph import Edge, Graph, Mark, Node, graph
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.principal import Principal
from zethane.policy.reach import Ground
from zethane.render.graph_svg import graph_svg
from zethane.render.radius_svg import radius_svg, scores_svg

HOSTILE = "<script>alert(1)</script>\"'&]]>\x00\x1b[31m\u202e"
SVG = "{http://www.w3.org/2000/svg}"


def whole(picture: str) -> ElementTree.Element:
    root = ElementTree.fromstring(picture)  # noqa: S314 - made here
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title")
    assert root.findtext(f"{SVG}desc")
    assert not list(root.iter(f"{SVG}script"))
    assert not [name for one in root.iter() for name in one.attrib if name.startswith("on") or "href" in name]
    return root


def texts(root: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in root.iter(f"{SVG}text")]


def policy_of(*lines: dict[str, Any], segments: int = 4) -> Policy:
    named = {f"s{number}": {"labels": {"n": str(number)}} for number in range(segments)}
    file = {"version": 1, "segments": named, "rules": [{"id": f"r{n}", **line} for n, line in enumerate(lines)]}
    return parse_policy(json.dumps(file), "policy.yaml")


CHAIN = policy_of(
    {"from": ["s0"], "to": ["s1"], "services": ["tcp/443"]},
    {"from": ["s1"], "to": ["s2"], "services": ["tcp/5432"], "when": {"mfa": True}},
)


@pytest.mark.parametrize("style", ["columns", "grid"])
def test_hostile_text_is_text(style: Any) -> None:
    nodes = (Node(HOSTILE, "segment", (HOSTILE,), 1), Node("b", "group", (HOSTILE, "c"), 2))
    edge = Edge(HOSTILE, ("b",), (Mark("conditional", ("tcp/1",), (HOSTILE,), (HOSTILE,)),))
    root = whole(graph_svg(Graph(nodes, (edge,)), HOSTILE, style))
    assert any("<script>" in one for one in texts(root))
    assert not any("\x00" in one or "\u202e" in one for one in root.itertext())


def test_the_graph_says_services_rules_and_conditions() -> None:
    root = whole(graph_svg(graph(CHAIN, {"s0": 2, "s1": 1}), "A policy"))
    said = texts(root)
    assert {"s0", "2 hosts", "tcp/443 r0", "s1", "1 host", "tcp/5432 r1 if mfa", "s2", "s3"} <= set(said)
    assert {one.get("class") for one in root.iter(f"{SVG}g")} >= {"wire always", "wire conditional"}


def test_many_edges_make_a_matrix() -> None:
    lines = [
        {"from": [f"s{n}"], "to": [f"s{(n * k + 1) % 40}"], "services": [f"tcp/{n}"]}
        for n in range(40)
        for k in range(1, 9)
    ]
    root = whole(graph_svg(graph(policy_of(*lines, segments=40)), "Many"))
    assert "rows open to columns" in texts(root)


def test_long_chains_across_one_another_make_a_matrix() -> None:
    """Few edges, but each would pass many columns: what would take lanes without bound is no picture either."""
    pairs = [*((n, n + 1) for n in range(199)), *((n, n + 90) for n in range(110))]
    lines = [{"from": [f"s{one}"], "to": [f"s{other}"], "services": [f"tcp/{one}"]} for one, other in pairs]
    root = whole(graph_svg(graph(policy_of(*lines, segments=200)), "Long"))
    assert "rows open to columns" in texts(root)


def test_a_policy_that_opens_nothing_has_a_picture() -> None:
    said = texts(whole(graph_svg(graph(policy_of()), "Nothing")))
    assert {"s0", "s1", "s2", "s3"} <= set(said)
    whole(graph_svg(Graph((), ()), "No segments"))


def test_a_blast_radius() -> None:
    hosts = {f"h{n}": Principal("workload", f"h{n}", labels=(("n", str(n)),)) for n in range(4)}
    ground = Ground(CHAIN, hosts)
    found = blast_radius(ground, "h0", critical=[("n", "2")])
    said = texts(whole(radius_svg(found)))
    assert {"hop 1", "hop 2", "s1", "s2 *", "tcp/5432 r1 if mfa"} <= set(said)
    assert any("not now" in one for one in said)
    bars = texts(whole(scores_svg(every_segment(ground))))
    assert {"s0", "s1", "s2", "s3"} <= set(bars)


def test_a_change_of_a_blast_radius() -> None:
    """What is lost keeps its place in the picture, also where the way to it is another now."""
    after = policy_of(
        {"from": ["s0"], "to": ["s3"], "services": ["tcp/1"]},
        {"from": ["s3"], "to": ["s1"], "services": ["tcp/1"]},
    )
    before, now = (blast_radius(Ground(policy, {}), "s0") for policy in (CHAIN, after))
    root = whole(radius_svg(now, before))
    assert {one.get("class") for one in root.iter(f"{SVG}g")} >= {"wire gained", "wire lost"}
    assert {"s1", "s2", "s3"} <= set(texts(root))
