"""Errors of policy.yaml: where they are and what was expected."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.policy import policy_files, read
from zethane.errors import InputError
from zethane.policy.load import parse_policy
from zethane.policy.model import MAX_NETWORKS, Service
from zethane.policy.schema import PolicyFile, json_schema

BROKEN = """\
version: 1
segments:
  web: {labels: {tier: web}}
  any: {groups: [all]}
  all: {}
services:
  tcp: [tcp/1]
  https: [tcp/443, tcp/99999]
rules:
  - {id: a, from: [wbe], to: [web], services: [htps]}
  - {id: a, from: [any, web], to: [web, web], services: [icmp/8]}
tests:
  - {allow: a -> b, deny: a -> b, service: https}
"""

EXPECTED = """\
policy.yaml:4:3: segments.any: any already means every authenticated session; expected another name
policy.yaml:5:8: segments.all: expected labels or groups: a segment without a selector would hold everybody
policy.yaml:7:3: services.tcp: tcp is a protocol; expected another name
policy.yaml:8:20: services.https[1]: expected ports of at most 65535, found 'tcp/99999'
policy.yaml:10:20: rules[0].from[0]: no segment is named 'wbe'; did you mean 'web'?
policy.yaml:10:48: rules[0].services[0]: expected PROTO, PROTO/PORT or PROTO/LOW-HIGH with PROTO one of tcp, udp, \
sctp, icmp, any, or a name from services, found 'htps'; did you mean 'https'?
policy.yaml:11:10: rules[1].id: rule id 'a' is already on line 10
policy.yaml:11:20: rules[1].from[0]: any already includes the other names; expected it alone
policy.yaml:11:41: rules[1].to[1]: 'web' is named twice
policy.yaml:11:58: rules[1].services[0]: expected no port: icmp has none, found 'icmp/8'
policy.yaml:13:5: tests[0]: expected one of allow, deny and never"""


def problems(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_policy(text, "policy.yaml")
    return str(caught.value)


def test_everything_wrong_is_said_at_once() -> None:
    """Each with its line, its column, its key and what was expected."""
    assert problems(BROKEN) == EXPECTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "version: 2\nsegments: {a: {groups: [a]}}",
            "policy.yaml:1:10: version: expected 1",
        ),
        (
            "version: 1\nsegmnts: {a: {groups: [a]}}",
            "policy.yaml:1:1: segments: this key is required and missing\n"
            "policy.yaml:2:1: segmnts: unknown key 'segmnts'; did you mean 'segments'? "
            "expected one of: rules, segments, services, stage, tests, version",
        ),
        (
            "version: 1\nsegments: {a: {label: {x: y}}}",
            "policy.yaml:2:16: segments.a.label: unknown key 'label'; did you mean 'labels'? "
            "expected one of: groups, labels, vlan",
        ),
        (
            "version: 1\nsegments: {a: {labels: {x: 017}}}",
            "policy.yaml:2:28: segments.a.labels.x: "
            "expected text; a number, true, false or null needs quotes to be text",
        ),
        (
            "version: 1\nsegments: {a: {groups: [a]}}\nrules:\n"
            "  - {id: r, from: a, to: [a], services: [tcp/1], action: alow, when: {mfa: yes}}",
            "policy.yaml:4:19: rules[0].from: expected a list\n"
            "policy.yaml:4:58: rules[0].action: expected 'allow' or 'deny'\n"
            "policy.yaml:4:76: rules[0].when.mfa: expected true or false",
        ),
    ],
)
def test_a_wrong_shape_is_pointed_at(text: str, message: str) -> None:
    """Line, column, key, and what was expected."""
    assert problems(text) == message


NETWORKS = """\
version: 1
segments: {web: {labels: {tier: web}}}
rules:
  - {id: a, from: [web], to: {networks: [10.0.0.1/8, 10.0.0.0/8, 10.0.0.0/8, "fe80::%1/64"]}, services: [icmp]}
  - {id: b, from: {networks: [0.0.0.0/0]}, to: {segments: [wbe], networks: ["::/0"]}, services: [icmp]}
  - {id: c, from: {segments: [web], networks: [0.0.0.0/0]}, to: [any], services: [icmp], when: {mfa: true}}
"""


def test_networks_are_checked_like_everything_else() -> None:
    """Prefixes have no host bits; one side of a rule is ours; nobody outside has a second factor."""
    prefix = "expected a prefix without host bits such as 198.51.100.0/24 or 2001:db8::/32"
    assert problems(NETWORKS).splitlines() == [
        f"policy.yaml:4:42: rules[0].to.networks[0]: {prefix}, found '10.0.0.1/8'",
        "policy.yaml:4:66: rules[0].to.networks[2]: 10.0.0.0/8 is named twice",
        f"policy.yaml:4:78: rules[0].to.networks[3]: {prefix}, found 'fe80::%1/64'",
        "policy.yaml:5:60: rules[1].to.segments[0]: no segment is named 'wbe'; did you mean 'web'?",
        "policy.yaml:5:76: rules[1].to.networks: expected segments on one side: between two networks is nobody who has "
        "logged in",
        "policy.yaml:6:97: rules[2].when.mfa: expected no condition: nobody in a network has logged in",
    ]


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ("{segments: [web]}", "rules[0].to.networks: this key is required and missing"),
        ("{networks: []}", "rules[0].to.networks: expected at least 1 entry"),
        ("{network: [0.0.0.0/0]}", "unknown key 'network'; did you mean 'networks'?"),
        ("{networks: [0.0.0.0/0], segments: [1]}", "rules[0].to.segments[0]: expected text"),
        ("[0.0.0.0/0]", "rules[0].to[0]: expected text that matches"),
        ("198.51.100.0/24", "rules[0].to: expected a list"),
    ],
)
def test_a_wrong_side_of_a_rule_is_pointed_at(ends: str, message: str) -> None:
    """Whether a list or keys were meant shows in what is there."""
    text = "version: 1\nsegments: {web: {groups: [a]}}\nrules:\n"
    assert message in problems(text + f"  - {{id: r, from: [web], to: {ends}, services: [icmp]}}")


def test_the_number_of_networks_is_bounded() -> None:
    head = "version: 1\nsegments: {web: {groups: [a]}}\nrules:\n"
    for index in range(2):
        named = ", ".join(f"10.{index}.{third}.0/24" for third in range(256))
        head += f"  - {{id: r{index}, from: [web], to: {{networks: [{named}]}}, services: [icmp]}}\n"
    assert len(parse_policy(head, "p").networks) == MAX_NETWORKS
    assert f"more than {MAX_NETWORKS} different networks" in problems(
        head + "  - {id: x, from: {networks: [192.0.2.0/24]}, to: [web], services: [icmp]}"
    )


def test_names_of_services_are_expanded() -> None:
    """A rule knows the services themselves, and its own line."""
    text = "version: 1\nsegments: {a: {groups: [a]}}\nservices: {dns: [udp/53, tcp/53]}\n"
    policy = parse_policy(text + "rules:\n  - {id: r, from: [a], to: [any], services: [dns, icmp]}", "p.yaml")
    (rule,) = policy.rules
    assert rule.services == (Service("udp", 53, 53), Service("tcp", 53, 53), Service("icmp"))
    assert rule.line == 5


@given(policy_files())
def test_what_the_loader_accepts_has_only_keys_of_the_schema(file: dict[str, Any]) -> None:
    """The schema for editors and the loader agree on every generated policy."""
    read(file)
    schema = json_schema()
    assert accepts(schema, schema, file)


@given(policy_files(), st.sampled_from(("segmets", "Rules", "x")))
def test_the_schema_refuses_unknown_keys_as_the_loader_does(file: dict[str, Any], key: str) -> None:
    """An unknown key is an error for both."""
    wrong = {**file, key: []}
    assert not accepts(json_schema(), json_schema(), wrong)
    with pytest.raises(InputError):
        read(wrong)


@given(st.text(max_size=200) | st.from_regex(r"version: 1\nsegments:[\s\S]{0,80}"))
def test_any_text_is_a_policy_or_an_input_error(text: str) -> None:
    """Nothing but InputError comes out of the loader."""
    try:
        policy = parse_policy(text, "p")
    except InputError as error:
        found = error.problems
    else:
        found = tuple(policy.segments)
    assert found


def test_the_schema_describes_the_model() -> None:
    """Aliases are those of the file."""
    assert set(json_schema()["properties"]) == set(PolicyFile.model_fields)
    assert json.dumps(json_schema()).count('"from"') >= 1


_JSON_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
}


def accepts(schema: Any, root: Any, value: Any) -> bool:
    """The part of JSON Schema that the policy's uses, apart from patterns and lengths."""
    if "$ref" in schema:
        return accepts(root["$defs"][schema["$ref"].rpartition("/")[2]], root, value)
    if "anyOf" in schema:
        return any(accepts(option, root, value) for option in schema["anyOf"])
    if "oneOf" in schema:
        return sum(accepts(option, root, value) for option in schema["oneOf"]) == 1
    if "const" in schema:
        return bool(schema["const"] == value)
    if "enum" in schema:
        return value in schema["enum"]
    if not isinstance(value, _JSON_TYPES[schema["type"]]):
        return False
    if isinstance(value, list):
        return all(accepts(schema["items"], root, item) for item in value)
    if isinstance(value, dict):
        return _accepts_object(schema, root, value)
    return True


def _accepts_object(schema: Any, root: Any, value: dict[str, Any]) -> bool:
    known = schema.get("properties", {})
    if not set(schema.get("required", ())) <= set(value):
        return False
    for key, item in value.items():
        inner = known.get(key, schema.get("additionalProperties", True))
        inner = next(iter(schema["patternProperties"].values())) if "patternProperties" in schema else inner
        if inner is False or (isinstance(inner, dict) and not accepts(inner, root, item)):
            return False
    return True
