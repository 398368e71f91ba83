"""Hypothesis strategies for policies, principals and flows that have something to do with each other.

Names come from small pools, so that rules often meet, overlap and contradict one another.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.principal import Principal

SEGMENTS = ("app", "db", "staff", "web")
PORTS = (0, 1, 22, 53, 79, 80, 81, 443, 8080, 65534, 65535)
IP_PROTOCOLS = (1, 6, 17, 58, 132, 47, 253)

ports = st.sampled_from(PORTS)


@st.composite
def services(draw: st.DrawFn) -> str:
    """The text of a service."""
    proto = draw(st.sampled_from(("tcp", "udp", "sctp", "icmp", "any")))
    if proto in ("icmp", "any") or draw(st.integers(0, 4)) == 0:
        return proto
    low, high = sorted((draw(ports), draw(ports)))
    return f"{proto}/{low}" if low == high else f"{proto}/{low}-{high}"


def _parties() -> st.SearchStrategy[list[str]]:
    some = st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4, unique=True)
    return st.one_of(some, st.just(["any"]))


@st.composite
def rules(draw: st.DrawFn, action: str | None = None) -> dict[str, Any]:
    """A rule as the file holds it, without an id."""
    return {
        "from": draw(_parties()),
        "to": draw(_parties()),
        "services": draw(st.lists(services(), min_size=1, max_size=3)),
        "when": {"mfa": draw(st.booleans())} if draw(st.booleans()) else {},
        "action": action or draw(st.sampled_from(("allow", "allow", "deny"))),
    }


@st.composite
def policy_files(draw: st.DrawFn, max_rules: int = 8) -> dict[str, Any]:
    """policy.yaml as plain values. Each segment of SEGMENTS selects the label `segment`."""
    drawn = draw(st.lists(rules(), max_size=max_rules))
    names = draw(st.permutations([f"r{index}" for index in range(len(drawn))]))
    return {
        "version": 1,
        "segments": {name: {"labels": {"segment": name}} for name in SEGMENTS},
        "rules": [{"id": name, **rule} for name, rule in zip(names, drawn, strict=True)],
    }


def read(file: dict[str, Any]) -> Policy:
    """The policy that plain values stand for, through the loader."""
    return parse_policy(json.dumps(file), "policy.yaml")


def policies(max_rules: int = 8) -> st.SearchStrategy[Policy]:
    """Policies over SEGMENTS."""
    return policy_files(max_rules).map(read)


@st.composite
def members(draw: st.DrawFn) -> Principal:
    """A principal of exactly one of SEGMENTS, with or without a second factor."""
    segment = draw(st.sampled_from(SEGMENTS))
    return Principal("user", f"{segment}-user", labels=(("segment", segment),), mfa=draw(st.booleans()))


flows = st.tuples(st.sampled_from(IP_PROTOCOLS), ports)
"""(IP protocol, destination port) pairs."""
