"""The keys of policy.yaml, and their JSON Schema for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag

from zethane.document import Model
from zethane.document.duration import Duration
from zethane.net.prefix import MAX_TEXT
from zethane.policy.model import MAX_NETWORKS, MAX_RULES, MAX_SEGMENTS, MAX_SERVICES, MAX_TESTS, MAX_VLAN

Name = Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""A segment, a service, a group or a rule."""

LabelKey = Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$")]
LabelValue = Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_./: -]*$")]
ServiceText = Annotated[str, StringConstraints(min_length=1, max_length=63)]
Arrow = Annotated[str, StringConstraints(max_length=300, pattern=r"^[^\s>]+ *-> *[^\s>]+( +: +[^\s:]+)?$")]
"""`laptop -> web1`, or with a service, which takes quotes: `"laptop -> web1 : tcp/443"`.

Names of hosts or segments, `any` for every session, addresses or prefixes outside; `host:web` and `segment:web` where
one name means both."""
NetworkText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]


class SelectorFile(Model):
    """Who belongs to a segment: all of the labels, and one of the groups.

    `vlan` is the tag that its sessions have behind ports which take tagged frames, such as those to a legacy switch.
    """

    labels: Annotated[dict[LabelKey, LabelValue], Field(min_length=1, max_length=32)] | None = None
    groups: Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)] | None = None
    vlan: Annotated[int, Field(ge=1, le=MAX_VLAN)] | None = None


AttributeName = Annotated[str, StringConstraints(max_length=63, pattern=r"^[a-z][a-z0-9_]*$")]
AttributeText = Annotated[str, StringConstraints(max_length=63, pattern=r"^(>= ?)?[A-Za-z0-9][A-Za-z0-9_.:/ -]*$")]
"""A word, or the least version: `>=12.5`."""
AttributeValue = bool | Annotated[int, Field(ge=-(2**63), lt=2**63)] | AttributeText

MAX_AGE = "max_age"
"""In a posture: how old the measurement may be, and no attribute."""


def _kind(value: object) -> str:
    """Whether keys and values are meant, or a list or word instead."""
    return "(keys)" if isinstance(value, dict | Model) else "(list)"


def _text_or_list(value: object) -> str:
    return "(text)" if isinstance(value, str) else "(list)"


def _true(value: bool) -> bool:
    if not value:
        raise ValueError("expected true, or labels and groups")
    return value


class FactorFile(Model):
    """A second factor that was proved not long ago."""

    within: Duration


class DeviceConditionFile(Model):
    """Which device: one with all of the labels, in one of the groups."""

    labels: Annotated[dict[LabelKey, LabelValue], Field(min_length=1, max_length=32)] | None = None
    groups: Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)] | None = None


class PartyConditionFile(Model):
    """What is asked of a principal itself, and of the address that it acts from: all of the keys."""

    labels: Annotated[dict[LabelKey, LabelValue], Field(min_length=1, max_length=32)] | None = None
    groups: Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)] | None = None
    networks: Annotated[tuple[NetworkText, ...], Field(min_length=1, max_length=MAX_NETWORKS)] | None = None


HoursText = Annotated[str, StringConstraints(min_length=1, max_length=100)]
"""`Mon-Fri 07:00-19:00 Europe/Berlin`."""


class ConditionFile(Model):
    """What a rule asks besides the segments, all of it: of the subject, of the object, of the time."""

    mfa: (
        Annotated[Annotated[bool, Tag("(list)")] | Annotated[FactorFile, Tag("(keys)")], Discriminator(_kind)] | None
    ) = None
    aal: Annotated[int, Field(ge=1, le=3)] | None = None
    device: (
        Annotated[
            Annotated[bool, AfterValidator(_true), Field(json_schema_extra={"const": True}), Tag("(list)")]
            | Annotated[DeviceConditionFile, Tag("(keys)")],
            Discriminator(_kind),
        ]
        | None
    ) = None
    posture: Annotated[dict[AttributeName, AttributeValue], Field(min_length=1, max_length=32)] | None = None
    """Attributes of the device, and `max_age`, a length of time."""
    subject: PartyConditionFile | None = None
    object: PartyConditionFile | None = None
    hours: (
        Annotated[
            Annotated[HoursText, Tag("(text)")]
            | Annotated[Annotated[tuple[HoursText, ...], Field(min_length=1, max_length=32)], Tag("(list)")],
            Discriminator(_text_or_list),
        ]
        | None
    ) = None
    cel: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = None
    """An expression in CEL over subject, object, session and time."""


Segments = Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_SEGMENTS)]


class EndsFile(Model):
    """One side of a rule with prefixes outside, beside segments or alone."""

    segments: Segments = ()
    networks: Annotated[tuple[NetworkText, ...], Field(min_length=1, max_length=MAX_NETWORKS)]


Ends = Annotated[
    Annotated[Segments, Tag("(list)")] | Annotated[EndsFile, Tag("(keys)")],
    Discriminator(_kind),
]
"""`[web, staff]`, or `{networks: [198.51.100.0/24]}`, or `{segments: [web], networks: [198.51.100.0/24]}`."""


class RuleFile(Model):
    """One rule. `enforce: switch`: the switch lets its flows in by itself, and the controller is asked for nothing."""

    id: Name
    sources: Annotated[Ends, Field(alias="from")]
    targets: Annotated[Ends, Field(alias="to")]
    services: Annotated[tuple[ServiceText, ...], Field(min_length=1, max_length=256)]
    when: ConditionFile = ConditionFile()
    action: Literal["allow", "deny"] = "allow"
    stage: Literal["enforce", "audit"] = "enforce"
    enforce: Literal["flow", "switch"] = "flow"


class TestFile(Model):
    """One expectation: `allow`, `deny` or `never`, of whom and of what.

    `when` says how both ends are, in the words of a rule's, and `at` when it is.
    """

    allow: Arrow | None = None
    deny: Arrow | None = None
    never: Arrow | None = None
    service: ServiceText | None = None
    when: ConditionFile = ConditionFile()
    at: Annotated[str, StringConstraints(max_length=40)] | None = None
    """The moment, as RFC 3339 has it, with its zone: `2026-11-23T22:00+01:00`."""


class PolicyFile(Model):
    """All of policy.yaml."""

    version: Literal[1]
    stage: Literal["enforce", "audit"] = "enforce"
    segments: Annotated[dict[Name, SelectorFile], Field(min_length=1, max_length=MAX_SEGMENTS)]
    services: dict[Name, Annotated[tuple[ServiceText, ...], Field(min_length=1, max_length=256)]] = Field(
        default_factory=dict, max_length=MAX_SERVICES
    )
    rules: Annotated[tuple[RuleFile, ...], Field(max_length=MAX_RULES)] = ()
    tests: Annotated[tuple[TestFile, ...], Field(max_length=MAX_TESTS)] = ()


def json_schema() -> Mapping[str, Any]:
    """JSON Schema (2020-12) of policy.yaml. What spans several keys, such as names, it cannot check."""
    schema = PolicyFile.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Zethane policy"}
