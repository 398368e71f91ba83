"""What is recommended: it loads, it allows what was seen and nothing else, and each rule has its evidence."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.policy import NOW, flows, members, parties, policy_files
from zethane.document import parse
from zethane.policy.decide import decide, place_of
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.principal import External, Party, Principal
from zethane.policy.recommend import Grain, recommend
from zethane.policy.recommendation import Recommendation
from zethane.policy.schema import PolicyFile
from zethane.policy.seen import Seen

TCP, UDP, ICMP, GRE = 6, 17, 1, 47
FILE = """
version: 1
segments: {web: {labels: {tier: web}}, app: {labels: {tier: app}}, db: {labels: {tier: db}}}
services: {dns: [udp/53, tcp/53]}
rules:
  - {id: web-app, from: [web], to: [app, db], services: [tcp/8000-8999], when: {mfa: true}}
  - {id: any-dns, from: [any], to: [app], services: [dns]}
  - {id: no-ssh, from: [any], to: [db], services: [tcp/22], action: deny}
tests:
  - {deny: web1 -> db1, service: tcp/22}
"""


def principal(tier: str, number: int = 1, **more: Any) -> Principal:
    return Principal("workload", f"{tier}{number}", labels=(("tier", tier),), **more)


def seen(source: Party, target: Party, ip_proto: int, port: int, **more: Any) -> Seen:
    names = [getattr(one, "name", str(one)) for one in (source, target)]
    return Seen(source, target, ip_proto, port, *names, **({"first": NOW, "last": NOW} | more))


def recommended(
    text: str,
    traffic: list[Seen],
    grain: Grain = Grain(),  # noqa: B008
) -> tuple[Recommendation, Policy]:
    policy, file = parse_policy(text, "policy.yaml"), parse(text, "policy.yaml", PolicyFile).value
    found = recommend(policy, file, traffic, grain)
    return found, parse_policy(found.text(file, "policy.yaml", range(len(file.tests))), "new.yaml")


def test_a_rule_is_narrowed_to_what_was_seen_and_keeps_its_condition() -> None:
    web, app = principal("web", mfa=True, mfa_at=NOW, aal=2), principal("app")
    found, policy = recommended(
        FILE, [seen(web, app, TCP, 8080, flows=3, octets=500), seen(web, app, TCP, 8081, last=NOW + 5)]
    )
    (rule,) = found.proposals
    assert rule.values() == {
        "id": "web-app",
        "from": ["web"],
        "to": ["app"],
        "services": ["tcp/8080-8081"],
        "when": {"mfa": True},
    }
    assert rule.comments() == (
        "4 flows, 500 bytes, 1970-01-12T13:46:40Z to 1970-01-12T13:46:45Z",
        "from 1 (web1) to 1 (app1)",
    )
    assert [one.id for one in found.unused] == ["any-dns", "no-ssh"]
    assert found.kept == ("no-ssh",)
    assert [rule.id for rule in policy.rules] == ["web-app", "no-ssh"]
    assert len(policy.tests) == 1


def test_sides_that_differ_in_nothing_else_share_a_rule() -> None:
    traffic = [seen(principal(one), principal(other), TCP, 9000) for one in ("web", "app") for other in ("app", "db")]
    found, _ = recommended(FILE, traffic)
    assert [(one.values()["from"], one.values()["to"]) for one in found.proposals] == [(["app", "web"], ["app", "db"])]
    assert found.proposals[0].id == "app-and-1-app-and-1-tcp-9000"


@pytest.mark.parametrize(
    ("grain", "services"),
    [(Grain(), ["tcp/53", "udp/53"]), (Grain("named"), ["dns"]), (Grain("protocol"), ["tcp", "udp"])],
)
def test_how_fine_services_are(grain: Grain, services: list[str]) -> None:
    traffic = [seen(principal("web"), principal("app"), proto, 53) for proto in (TCP, UDP)]
    found, _ = recommended(FILE, traffic, grain)
    assert [one.values()["services"] for one in found.proposals] == [services]


@pytest.mark.parametrize(
    ("grain", "network"),
    [
        (Grain(), "198.51.100.7/32"),
        (Grain(prefix4=24), "198.51.100.0/24"),
    ],
)
def test_addresses_outside_count_by_prefix(grain: Grain, network: str) -> None:
    outside = External(ip_address("198.51.100.7"))
    found, _ = recommended(FILE, [seen(principal("web"), outside, TCP, 443)], grain)
    assert [one.values()["to"] for one in found.proposals] == [{"networks": [network]}]


@pytest.mark.parametrize(
    ("traffic", "why"),
    [
        (seen(None, principal("app"), TCP, 80), "nobody is known at the source"),
        (seen(principal("web"), None, TCP, 80), "nobody is known at the target"),
        (seen(principal("web"), principal("web", 2), TCP, 80, allowed=False), "it was denied"),
        (seen(principal("web"), principal("db"), TCP, 22, allowed=True, rule="gone"), "rule no-ssh denies it"),
        (seen(principal("web"), principal("db"), GRE, 0), "IP protocol 47 has no name: only a rule for any service"),
        (seen(principal("old"), principal("db"), TCP, 80), "the subject workload:old1 is in no segment"),
        (seen(principal("web"), None, UDP, 53, rule="infrastructure:dns"), "the network allows it by itself"),
    ],
)
def test_what_no_rule_is_for_is_said(traffic: Seen, why: str) -> None:
    found, policy = recommended(FILE, [traffic])
    assert not found.proposals
    (out,) = found.left_out
    assert out.why.startswith(why)
    assert [rule.id for rule in policy.rules] == ["no-ssh"]


def service_of(ip_proto: int, port: int) -> str | None:
    """The narrowest service for a flow; None if none is narrower than any."""
    word = {1: "icmp", 58: "icmp", 6: "tcp", 17: "udp", 132: "sctp"}.get(ip_proto)
    return word if word in (None, "icmp") else f"{word}/{port}"


@given(
    policy_files(expressions=True),
    st.lists(st.tuples(parties(), parties(), flows), max_size=12),
    st.lists(st.tuples(parties(), members(), flows), max_size=12),
)
def test_what_was_seen_is_allowed_and_nothing_else(file: dict[str, Any], traffic: list[Any], others: list[Any]) -> None:
    text = json.dumps(file)
    policy = parse_policy(text, "policy.yaml")
    found, new = recommended(text, [seen(source, target, *flow) for source, target, flow in traffic])
    left_out = {(one.source, one.target, one.service) for one in found.left_out}
    allowed = set()
    for source, target, flow in traffic:
        one = seen(source, target, *flow)
        service = service_of(*flow)
        decision = decide(new, source, target, *flow, NOW)
        if decision.allowed:
            allowed.add((decision.subject_segment, decision.object_segment, service))
        else:
            ends = ((source, one.source), (target, one.target))
            places = [str(place_of(policy, end, "subject")[0] or name) for end, name in ends]
            assert (*places, service or f"IP protocol {flow[0]}") in left_out
    for source, target, flow in others:
        decision = decide(new, source, target, *flow, NOW)
        if decision.allowed:
            service = service_of(*flow)
            assert (decision.subject_segment, decision.object_segment, service) in allowed
            assert place_of(policy, target, "object")[0] is not None
