"""The tables of the page hold what the engine decides."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.policy import NOW, flows, parties, policies
from zethane.policy.access import openings
from zethane.policy.decide import decide
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.principal import Parties
from zethane.policy.service import PROTOCOLS, Service
from zethane.policy.tables import Content, tables

hosts = st.lists(parties() | st.none(), min_size=2, max_size=4).map(
    lambda many: {f"h{number}": one for number, one in enumerate(many)}
)


def has(service: str, ip_proto: int, port: int) -> bool:
    if service == "other IP protocols":
        return not any(ip_proto in known for known in PROTOCOLS.values())
    return Service.parse(service).matches(ip_proto, port)


@given(policies(), hosts, flows)
def test_a_cell_of_two_hosts(policy: Policy, found: dict[str, Parties], flow: tuple[int, int]) -> None:
    """An offer of the flow's service is open if and only if the engine allows the flow."""
    made = tables(policy, found, NOW)
    names = [one.name for one in made.hosts.names]
    assert names == list(found)
    for one, subject in found.items():
        for other, target in found.items():
            if one != other:
                content = made.contents[made.hosts.cell(names.index(one), names.index(other))]
                open_now = any(offer.state == "allow" and has(offer.service, *flow) for offer in content.offers)
                assert open_now == decide(policy, subject, target, *flow, NOW).allowed  # type: ignore[arg-type]


@given(policies())
def test_a_cell_of_two_places(policy: Policy) -> None:
    made = tables(policy, {})
    names = [one.name for one in made.segments.names]
    offered = {
        (names[source], names[target], offer.service, offer.state, offer.rules)
        for source in range(len(names))
        for target in range(len(names))
        for offer in made.contents[made.segments.cell(source, target)].offers
    }
    assert offered == {
        (
            str(one.source),
            str(one.target),
            str(one),
            "allow" if one.always else "condition",
            tuple(rule.id for rule in one.rules),
        )
        for one in openings(policy)
    }


def test_states() -> None:
    rules: list[dict[str, Any]] = [
        {"id": "a", "from": ["s"], "to": ["t"], "services": ["tcp/1"]},
        {"id": "b", "from": ["t"], "to": ["s"], "services": ["tcp/1"], "when": {"mfa": True}},
        {"id": "c", "from": ["any"], "to": ["t"], "services": ["tcp/2"], "action": "deny"},
    ]
    segments = {name: {"labels": {"n": name}} for name in ("s", "t")}
    made = tables(parse_policy(json.dumps({"version": 1, "segments": segments, "rules": rules}), "p"), {})
    states = [[made.contents[made.segments.cell(source, target)].state for target in (0, 1)] for source in (0, 1)]
    assert states == [["none", "allow"], ["condition", "deny"]]
    assert made.contents[0] == Content("none")
    assert made.contents[made.segments.cell(0, 1)].denies == ("c",)


def test_too_many_hosts_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zethane.policy.tables.MAX_HOSTS", 2)
    made = tables(parse_policy('{"version": 1, "segments": {"s": {"labels": {"n": "s"}}}}', "p"), dict.fromkeys("abc"))
    assert [one.name for one in made.hosts.names] == ["a", "b"]
    assert made.left_out == 1
