"""Records of the decision log read back into values. A log comes from a disk: every field is checked, and bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeVar, cast

from zethane.errors import ZethaneError
from zethane.identity.session import MAX_SESSION
from zethane.net.flowkey import ICMP, ICMPV6, SCTP, TCP, UDP
from zethane.net.prefix import Address
from zethane.policy.principal import Attribute, DeviceFacts, Principal, PrincipalKind

MAX_LINE = 64 * 1024
"""Bytes of one record."""

MAX_NAME = 300
"""Characters of a principal's name, a rule's id, a segment or a reason."""

MAX_SET = 256
"""Groups, labels or attributes of one principal."""

MAX_TIME = 40
"""Characters of a moment."""

LATEST = 2.0**36
"""Seconds since the epoch, in the year 4147: hours can be worked out well beyond it."""

MAX_ADDRESS = 45
"""Characters of an IP address (RFC 4291 §2.2)."""

MAX_COUNT = 2**63
"""Packets or bytes in one record."""

_REMEMBERED = 65_536
"""Names and addresses that are known to be right without another look."""

_PORTS = {"tcp": TCP, "udp": UDP, "sctp": SCTP}
_PRINCIPAL = re.compile(r"(user|device|workload|network|server):([^\x00-\x1f\x7f]{1,280})")

T = TypeVar("T")


class RecordError(ZethaneError):
    """A line that is no record, or a record with a field that cannot be: `kind` is that field, or what the line is."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(f"a record that is damaged: {kind}")


class RecordedParty(NamedTuple):
    """One end of a flow, as its record names it; `session` is None for what does not log in."""

    kind: PrincipalKind
    name: str
    session: int | None
    segment: str | None

    @property
    def account(self) -> str:
        """`user:alice`."""
        return f"{self.kind}:{self.name}"


class RecordedFlow(NamedTuple):
    """A flow's ends, its IP protocol, and the port that it was opened to (0 where there is none)."""

    subject: RecordedParty | None
    object: RecordedParty | None
    source: Address
    target: Address
    ip_proto: int
    port: int


class RecordedDecision(NamedTuple):
    """A `decision`. `flow` is None for what was denied and is no flow over IP."""

    time: float
    allowed: bool
    rule: str | None
    reason: str
    flow: RecordedFlow | None


class RecordedEnd(NamedTuple):
    """A `flow_end`: what the flow has carried, both ways together, and when it began."""

    time: float
    began: float
    rule: str | None
    flow: RecordedFlow
    packets: int
    octets: int


class RecordedSession(NamedTuple):
    """A `session`: who it was. `principal` is None where the record, of an older version, has no facts."""

    time: float
    number: int
    account: str
    principal: Principal | None
    mfa: bool
    aal: int


class RecordedGap(NamedTuple):
    """`suppressed` or `lost`: how much is not in the log, and for which reason."""

    time: float
    reason: str
    records: int


Recorded = RecordedDecision | RecordedEnd | RecordedSession | RecordedGap


def read_line(line: bytes) -> Recorded | None:
    """What one line of a log says; None for an event that is about something else. Raises RecordError."""
    return read_record(as_mapping(line))


def as_mapping(line: bytes) -> Mapping[str, Any]:
    """One line as it is. Raises RecordError for what is no JSON object."""
    if len(line) > MAX_LINE:
        raise RecordError("too-long")
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError):
        raise RecordError("no-json") from None
    if not isinstance(value, dict):
        raise RecordError("no-record")
    return value


def read_record(record: Mapping[str, Any]) -> Recorded | None:
    """The same for a record as a mapping."""
    event = record.get("event")
    if not isinstance(event, str):
        raise RecordError("event")
    reader = _READERS.get(event)
    return reader(record, read_time(record.get("time"))) if reader else None


def read_time(value: object) -> float:
    """A moment as RFC 3339 text, in seconds since the epoch. Raises RecordError."""
    try:
        moment = datetime.fromisoformat(cast(str, value)[:MAX_TIME])
        seconds = moment.timestamp() if moment.tzinfo is not None else -1.0
    except (TypeError, ValueError, OverflowError, OSError):
        raise RecordError("time") from None
    if not 0 <= seconds < LATEST:
        raise RecordError("time")
    return seconds


def _decision(record: Mapping[str, Any], time: float) -> RecordedDecision:
    decided = record.get("decision")
    if decided not in ("allow", "deny"):
        raise RecordError("decision")
    allowed = decided == "allow"
    flow = _flow(record) if allowed or record.get("source") is not None else None
    return RecordedDecision(time, allowed, _optional(record, "rule"), _text(record.get("reason"), "reason"), flow)


def _flow_end(record: Mapping[str, Any], time: float) -> RecordedEnd:
    flow = _flow(record)
    if flow is None:
        raise RecordError("protocol")
    lasted = record.get("duration")
    if isinstance(lasted, bool) or not isinstance(lasted, int | float) or not 0 <= lasted <= time:
        raise RecordError("duration")
    packets = _count(record, "packets") + _count(record, "return_packets")
    octets = _count(record, "bytes") + _count(record, "return_bytes")
    return RecordedEnd(time, time - lasted, _optional(record, "rule"), flow, packets, octets)


def _session(record: Mapping[str, Any], time: float) -> RecordedSession | None:
    party = _party(record.get("subject"), "subject")
    if party is None or party.session is None:
        return None  # a login that was refused
    mfa, aal = record.get("mfa"), record.get("aal")
    if not isinstance(mfa, bool) or not _is_number(aal, 3):
        raise RecordError("aal")
    facts = record.get("facts")
    principal = None if facts is None else read_facts(party.kind, party.name, facts)
    return RecordedSession(time, party.session, party.account, principal, mfa, cast(int, aal))


def _suppressed(record: Mapping[str, Any], time: float) -> RecordedGap:
    return RecordedGap(time, _text(record.get("reason"), "reason"), _count(record, "packets"))


def _lost(record: Mapping[str, Any], time: float) -> RecordedGap:
    return RecordedGap(time, "lost", _count(record, "records"))


_READERS: Mapping[str, Callable[[Mapping[str, Any], float], Recorded | None]] = {
    "decision": _decision,
    "flow_end": _flow_end,
    "session": _session,
    "suppressed": _suppressed,
    "lost": _lost,
}


def _flow(record: Mapping[str, Any]) -> RecordedFlow | None:
    """The flow; None for what is not over IP."""
    protocol = record.get("protocol")
    if protocol == "arp":
        return None
    source, target = _address(record.get("source")), _address(record.get("destination"))
    ip_proto, port = _PORTS.get(protocol) if isinstance(protocol, str) else None, 0
    if ip_proto is not None:
        port = record.get("destination_port", -1)
        if not _is_number(port, 0xFFFF):
            raise RecordError("destination_port")
    elif protocol == "icmp":
        ip_proto = ICMP if source.version == 4 else ICMPV6
    elif isinstance(protocol, str) and len(protocol) <= 3 and protocol.isascii() and protocol.isdecimal():
        ip_proto = int(protocol)
    if ip_proto is None or ip_proto > 255:
        raise RecordError("protocol")
    if source.version != target.version:
        raise RecordError("destination")
    subject, target_party = _party(record.get("subject"), "subject"), _party(record.get("object"), "object")
    return RecordedFlow(subject, target_party, source, target, ip_proto, port)


def _party(value: object, key: str) -> RecordedParty | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise RecordError(key)
    number, segment = value.get("session"), value.get("segment")
    if number is not None and not _is_number(number, MAX_SESSION):
        raise RecordError(key)
    if segment is not None and not (isinstance(segment, str) and len(segment) <= MAX_NAME):
        raise RecordError(key)
    principal = value.get("principal")
    if not isinstance(principal, str) or len(principal) > MAX_NAME:
        raise RecordError(key)
    kind, name = split_account(principal, key)
    return RecordedParty(kind, name, number, segment)


@lru_cache(_REMEMBERED)
def split_account(text: str, key: str = "principal") -> tuple[PrincipalKind, str]:
    """Kind and name in `user:alice`. Raises RecordError."""
    match = _PRINCIPAL.fullmatch(text)
    if match is None:
        raise RecordError(key)
    return cast(PrincipalKind, match[1]), match[2]


def _address(value: object) -> Address:
    if not isinstance(value, str) or len(value) > MAX_ADDRESS:
        raise RecordError("source")
    return _parse_address(value)


@lru_cache(_REMEMBERED)
def _parse_address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise RecordError("source") from None


def read_facts(kind: PrincipalKind, name: str, value: object) -> Principal:
    """The principal with what `record.facts` wrote of it. Raises RecordError."""
    if not isinstance(value, dict):
        raise RecordError("facts")
    mfa, aal = value.get("mfa"), value.get("aal")
    if not isinstance(mfa, bool) or not _is_number(aal, 3):
        raise RecordError("facts")
    device = value.get("device")
    return Principal(
        kind,
        name,
        _groups(value.get("groups")),
        _pairs(value.get("labels"), _word),
        mfa,
        _moment(value.get("mfa_at")),
        cast(int, aal),
        None if device is None else _device(device),
    )


def _device(value: object) -> DeviceFacts:
    if not isinstance(value, dict):
        raise RecordError("facts")
    return DeviceFacts(
        _word(value.get("name")),
        _groups(value.get("groups")),
        _pairs(value.get("labels"), _word),
        _pairs(value.get("posture"), _attribute),
        _moment(value.get("measured")),
        _pairs(value.get("times"), read_time),
    )


def _groups(value: object) -> frozenset[str]:
    if not isinstance(value, list) or len(value) > MAX_SET:
        raise RecordError("facts")
    return frozenset(map(_word, value))


def _pairs(value: object, read: Callable[[object], T]) -> tuple[tuple[str, T], ...]:
    if not isinstance(value, dict) or len(value) > MAX_SET:
        raise RecordError("facts")
    return tuple(sorted((_word(key), read(one)) for key, one in value.items()))


def _word(value: object) -> str:
    return _text(value, "facts")


def _attribute(value: object) -> Attribute:
    if isinstance(value, str) and len(value) <= MAX_NAME:
        return value
    if isinstance(value, int) and abs(value) < MAX_COUNT:
        return value
    raise RecordError("facts")


def _moment(value: object) -> float | None:
    return None if value is None else read_time(value)


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        raise RecordError(key)
    return value


def _optional(record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    return None if value is None or value == "" else _text(value, key)


def _count(record: Mapping[str, Any], key: str) -> int:
    value = record.get(key)
    if not _is_number(value, MAX_COUNT):
        raise RecordError(key)
    return cast(int, value)


def _is_number(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most
