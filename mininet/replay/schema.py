"""The keys of a scenario's file, and their JSON Schema for editors.

A packet's fields are numbers within bounds, and names or addresses that are looked up: nothing in a file is ever run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from zethane.audit.reason import DenyReason
from zethane.document import Model
from zethane.document.duration import Duration, seconds
from zethane.policy.schema import Name

T = TypeVar("T")

MAX_STEPS, MAX_ENDS, MAX_SERVICES, MAX_PACKETS = 200, 64, 64, 200
MAX_COUNT = 1000
"""How often one packet may be sent."""
MAX_PAYLOAD = 1400
"""Octets of a crafted packet's payload: it fits into a frame behind the longest headers."""
MAX_SENT = 8192
"""Octets that a flow may carry: as many as TCP sends before it hears back (RFC 6928)."""

MAX_WAIT = 300.0
"""Seconds that one step may wait."""


def _short(text: str) -> str:
    if seconds(text) > MAX_WAIT:
        raise ValueError(f"expected at most {MAX_WAIT / 60:.0f}m")
    return text


HostText = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
"""A host, inside or outside; or an address."""
PartyText = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""A host, a segment, `outside` or `any`."""
LineText = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
ServiceText = Annotated[str, StringConstraints(min_length=1, max_length=63)]
MacText = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$")]
HexText = Annotated[str, StringConstraints(max_length=2 * MAX_PAYLOAD, pattern=r"^([0-9A-Fa-f]{2})*$")]
PathText = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
AccountText = Annotated[str, StringConstraints(pattern=r"^(user|device|workload):[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}$")]
MomentText = Annotated[str, StringConstraints(pattern=r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([01][0-9]|2[0-3]):[0-5][0-9]$")]
"""`Tue 22:30`: a moment of the week, on the clock of each window that a rule has."""
AttemptText = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\s>]+ *-> *[^\s>]+ +[^\s>]+$")]
"""`web1 -> app1 tcp/8080`."""


def _kind(value: object) -> str:
    if isinstance(value, dict | Model):
        return "(keys)"
    return "(text)" if isinstance(value, str) else "(list)"


def _some(value: tuple[T, ...]) -> tuple[T, ...]:
    """pydantic's own bound would be told beside every entry that is wrong by itself."""
    if not value:
        raise ValueError("expected at least 1 entry")
    return value


def _bits(count: int) -> Any:
    return Annotated[int, Field(ge=0, lt=1 << count)]


class PayloadFile(Model):
    """What a packet or a flow carries: exactly one of the keys."""

    text: Annotated[str, StringConstraints(max_length=MAX_PAYLOAD)] | None = None
    hex: HexText | None = None
    size: Annotated[int, Field(ge=0, le=MAX_SENT)] | None = None
    """So many octets of no meaning."""

    @model_validator(mode="after")
    def _one(self) -> PayloadFile:
        if sum(value is not None for value in (self.text, self.hex, self.size)) != 1:
            raise ValueError("expected exactly one of text, hex and size")
        return self


Hosts = Annotated[
    Annotated[HostText, Tag("(text)")]
    | Annotated[Annotated[tuple[HostText, ...], Field(max_length=MAX_ENDS), AfterValidator(_some)], Tag("(list)")],
    Discriminator(_kind),
]
Services = Annotated[
    Annotated[ServiceText, Tag("(text)")]
    | Annotated[
        Annotated[tuple[ServiceText, ...], Field(max_length=MAX_SERVICES), AfterValidator(_some)], Tag("(list)")
    ],
    Discriminator(_kind),
]
Parties = Annotated[
    Annotated[PartyText, Tag("(text)")]
    | Annotated[Annotated[tuple[PartyText, ...], Field(max_length=MAX_ENDS), AfterValidator(_some)], Tag("(list)")],
    Discriminator(_kind),
]


class FlowFile(Model):
    """Real connections, by the kernels of the hosts: every source to every target, every service."""

    from_: Annotated[Hosts, Field(alias="from")]
    to: Hosts
    service: Services
    version: Literal[4, 6] = 4
    payload: PayloadFile | None = None


class ScanFile(Model):
    """One crafted packet to every target and port: SYN, ACK, FIN, NULL or XMAS segments, UDP datagrams, echo requests.

    `source_port` is where they come from; chosen anew for each by default.
    """

    from_: Annotated[Hosts, Field(alias="from")]
    to: Hosts
    service: Services
    version: Literal[4, 6] = 4
    tcp: Literal["syn", "ack", "fin", "null", "xmas"] = "syn"
    source_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    payload: PayloadFile | None = None


class EtherFile(Model):
    """The Ethernet header: addresses or names of hosts, an EtherType, a VLAN tag."""

    src: MacText | HostText | None = None
    dst: MacText | HostText | None = None
    type: _bits(16) | None = None  # type: ignore[valid-type]
    vlan: Annotated[int, Field(ge=1, le=4094)] | None = None


class IpFile(Model):
    """The IP header. Addresses or names of hosts; `fragment` in units of 8 octets, `more` fragments follow."""

    src: HostText | None = None
    dst: HostText | None = None
    ttl: Annotated[int, Field(ge=1, le=255)] = 64
    proto: _bits(8) | None = None  # type: ignore[valid-type]
    id: _bits(16) | None = None  # type: ignore[valid-type]
    fragment: _bits(13) = 0  # type: ignore[valid-type]
    more: bool = False


class TcpFile(Model):
    """A TCP segment (RFC 9293); `flags` as scapy writes them."""

    sport: Annotated[int, Field(ge=1, le=65535)] = 40000
    dport: Annotated[int, Field(ge=0, le=65535)]
    flags: Annotated[str, StringConstraints(max_length=9, pattern=r"^[FSRPAUECN]*$")] = "S"
    seq: _bits(32) = 1000  # type: ignore[valid-type]
    ack: _bits(32) = 0  # type: ignore[valid-type]
    window: _bits(16) = 8192  # type: ignore[valid-type]


class UdpFile(Model):
    """A UDP datagram (RFC 768)."""

    sport: Annotated[int, Field(ge=0, le=65535)] = 40000
    dport: Annotated[int, Field(ge=0, le=65535)]


class IcmpFile(Model):
    """An ICMP or, over IPv6, ICMPv6 message. `echo` and `reply` have the right type in both."""

    kind: Literal["echo", "reply"] | None = None
    type: _bits(8) | None = None  # type: ignore[valid-type]
    code: _bits(8) = 0  # type: ignore[valid-type]
    id: _bits(16) = 77  # type: ignore[valid-type]
    seq: _bits(16) = 1  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _one(self) -> IcmpFile:
        if (self.kind is None) == (self.type is None):
            raise ValueError("expected exactly one of kind and type")
        return self


class ArpFile(Model):
    """An ARP message (RFC 826). Addresses or names of hosts."""

    op: Literal["request", "reply"] = "request"
    sha: MacText | HostText | None = None
    spa: HostText | None = None
    tha: MacText | HostText | None = None
    tpa: HostText | None = None


class PacketFile(Model):
    """A packet that is put on the cable of `from`. What is left out is what an honest sender would write there.

    `to` is whom it is meant for: its addresses are the defaults of the headers' destinations.
    """

    from_: Annotated[HostText, Field(alias="from")]
    to: HostText
    version: Literal[4, 6] = 4
    ether: EtherFile = EtherFile()
    ip: IpFile = IpFile()
    tcp: TcpFile | None = None
    udp: UdpFile | None = None
    icmp: IcmpFile | None = None
    arp: ArpFile | None = None
    payload: PayloadFile | None = None
    count: Annotated[int, Field(ge=1, le=MAX_COUNT)] = 1

    @model_validator(mode="after")
    def _one(self) -> PacketFile:
        if sum(one is not None for one in (self.tcp, self.udp, self.icmp, self.arp)) > 1:
            raise ValueError("expected at most one of tcp, udp, icmp and arp")
        return self


class ExpectFile(Model):
    """What is to come of a step.

    `decision` is for all that it tries; `only` lists what passes, and all else must not. `rule` or `reason` is what
    the decision log has to say of it.
    """

    decision: Literal["allow", "deny"] | None = None
    only: Annotated[tuple[AttemptText, ...], Field(max_length=MAX_ENDS)] | None = None
    rule: Name | None = None
    reason: DenyReason | None = None

    @model_validator(mode="after")
    def _one(self) -> ExpectFile:
        if (self.decision is None) == (self.only is None):
            raise ValueError("expected exactly one of decision and only")
        if self.reason is not None and self.decision != "deny":
            raise ValueError("expected a reason with the decision deny and nowhere else")
        return self


Expect = Annotated[
    Annotated[Literal["allow", "deny"], Tag("(text)")] | Annotated[ExpectFile, Tag("(keys)")], Discriminator(_kind)
]

ACTIONS = ("flow", "scan", "packets", "login", "logout", "revoke", "block", "unblock", "at", "wait")
SENDING = ("flow", "scan", "packets")


class StepFile(Model):
    """One step: exactly one action. `expect` belongs to those that send."""

    name: LineText | None = None
    flow: FlowFile | None = None
    scan: ScanFile | None = None
    packets: Annotated[tuple[PacketFile, ...], Field(max_length=MAX_PACKETS), AfterValidator(_some)] | None = None
    login: Hosts | None = None
    logout: Hosts | None = None
    revoke: Hosts | None = None
    block: AccountText | None = None
    unblock: AccountText | None = None
    at: MomentText | None = None
    wait: Annotated[Duration, AfterValidator(_short)] | None = None
    expect: Expect | None = None

    @property
    def action(self) -> str:
        """Which action it is."""
        return next(name for name in ACTIONS if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _one(self) -> StepFile:
        given = [name for name in ACTIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of {', '.join(ACTIONS)}")
        if (given[0] in SENDING) != (self.expect is not None):
            raise ValueError(f"expected the key expect with {', '.join(SENDING)}, and with nothing else")
        return self


class ContainedFile(Model):
    """Who must not have been reached at the end, by whom, as captures at every host show.

    `never` are those that nothing of `from` may have arrived at; `only` are those that it may have, and all others
    not. `after` and `before` are names of steps: only what arrived between them counts.
    """

    from_: Annotated[Parties, Field(alias="from")] = "any"
    never: Parties | None = None
    only: Annotated[tuple[PartyText, ...], Field(max_length=MAX_ENDS)] | None = None
    after: LineText | None = None
    before: LineText | None = None

    @model_validator(mode="after")
    def _one(self) -> ContainedFile:
        if (self.never is None) == (self.only is None):
            raise ValueError("expected exactly one of never and only")
        return self


class ScenarioFile(Model):
    """A scenario. `topology` and `policy` are paths from the file's own folder."""

    version: Literal[1]
    topology: PathText
    policy: PathText | None = None
    about: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    reference: LineText | None = None
    login: Annotated[tuple[HostText, ...], Field(max_length=MAX_ENDS)] | None = None
    at: MomentText | None = None
    steps: Annotated[tuple[StepFile, ...], Field(max_length=MAX_STEPS), AfterValidator(_some)]
    contained: Annotated[tuple[ContainedFile, ...], Field(max_length=MAX_ENDS)] = ()


def json_schema() -> Mapping[str, Any]:
    """The JSON Schema (draft 2020-12) of a scenario's file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | ScenarioFile.model_json_schema()
