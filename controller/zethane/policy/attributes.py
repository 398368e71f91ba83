"""What expressions can refer to: the attributes of both ends, of the session and of time, and where they come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any, Final

from zethane.policy.hours import DAYS
from zethane.policy.principal import DEFAULT_MAX_AGE, Attribute, DeviceFacts, External, Party, Principal

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class _Absent(Enum):
    """There is no such attribute here: to refer to it is an error."""

    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Moment:
    """The minute of a moment, in UTC."""

    now: float

    @property
    def minute(self) -> datetime:
        """Its beginning."""
        return datetime.fromtimestamp(self.now - self.now % MINUTE, timezone.utc)


@dataclass(frozen=True, slots=True)
class TimeAttribute:
    """One of time's: its type in CEL, its value, and the seconds within which it does not change."""

    type: str
    value: Callable[[Moment], Any]
    step: float


TIMES: dict[str, TimeAttribute] = {
    "time.now": TimeAttribute("timestamp", lambda moment: moment.minute, MINUTE),
    "time.year": TimeAttribute("int", lambda moment: moment.minute.year, DAY),
    "time.month": TimeAttribute("int", lambda moment: moment.minute.month, DAY),
    "time.day": TimeAttribute("int", lambda moment: moment.minute.day, DAY),
    "time.weekday": TimeAttribute("string", lambda moment: DAYS[moment.minute.weekday()], DAY),
    "time.hour": TimeAttribute("int", lambda moment: moment.minute.hour, HOUR),
    "time.minute": TimeAttribute("int", lambda moment: moment.minute.minute, MINUTE),
}


@dataclass(frozen=True, slots=True)
class _Of:
    """An attribute of a principal: its type in CEL, and its value."""

    type: str
    value: Callable[[Principal], Any]


def _of_device(get: Callable[[DeviceFacts], Any]) -> Callable[[Principal], Any]:
    return lambda principal: ABSENT if principal.device is None else get(principal.device)


def _or_absent(value: Any) -> Any:
    return ABSENT if value is None else value


_OF_PARTY: dict[str, _Of] = {
    "kind": _Of("string", lambda one: one.kind),
    "name": _Of("string", lambda one: one.name),
    "groups": _Of("list(string)", lambda one: one.groups),
    "labels": _Of("map(string, string)", lambda one: one.labels),
    "address": _Of("string", lambda one: ABSENT if one.address is None else str(one.address)),
    "device.proven": _Of("bool", lambda one: one.device is not None),
    "device.name": _Of("string", _of_device(lambda device: device.name)),
    "device.groups": _Of("list(string)", _of_device(lambda device: device.groups)),
    "device.labels": _Of("map(string, string)", _of_device(lambda device: device.labels)),
    "device.posture": _Of("map(string, dyn)", _of_device(lambda device: device.posture)),
    "device.measured": _Of("timestamp", _of_device(lambda device: _or_absent(device.measured))),
}
_OF_SESSION: dict[str, _Of] = {
    "mfa": _Of("bool", lambda one: one.mfa),
    "mfa_at": _Of("timestamp", lambda one: _or_absent(one.mfa_at)),
    "aal": _Of("int", lambda one: one.aal),
}

_ATTRIBUTES: dict[str, tuple[str, _Of]] = {
    **{f"{side}.{name}": (side, of) for side in ("subject", "object") for name, of in _OF_PARTY.items()},
    **{f"session.{name}": ("subject", of) for name, of in _OF_SESSION.items()},
}

SIDES: dict[str, str] = {name: side for name, (side, _) in _ATTRIBUTES.items()}
"""Of which end of a flow each attribute is, `subject` or `object`."""

TYPES: dict[str, str] = {
    **{name: of.type for name, (_, of) in _ATTRIBUTES.items()},
    **{name: of.type for name, of in TIMES.items()},
}
"""The type of each attribute, in CEL's words."""


def attribute(name: str, subject: Party, target: Party, now: float) -> Any:
    """The value of an attribute at a moment, hashable and equal only to the same; ABSENT if there is none.

    A posture holds only what was measured in the last 24 hours: a device that stops to report has none.
    """
    side, of = _ATTRIBUTES[name]
    party = subject if side == "subject" else target
    if isinstance(party, External):
        return _outside(name, party)
    if party is None:
        return ABSENT
    if name.endswith(".posture") and party.device is not None:
        fresh = (pair for pair, ends in _postures(party.device) if ends > now)
        return tuple((key, type(had).__name__, had) for key, had in fresh)
    return of.value(party)


def fresh_until(name: str, subject: Party, target: Party, now: float) -> float:
    """The first moment after `now` at which the attribute changes by getting old; infinity if it does not."""
    party = subject if SIDES[name] == "subject" else target
    if not name.endswith(".posture") or not isinstance(party, Principal) or party.device is None:
        return math.inf
    return min((ends for _, ends in _postures(party.device) if ends > now), default=math.inf)


def _postures(device: DeviceFacts) -> Iterator[tuple[tuple[str, Attribute], float]]:
    """Each attribute of a device and when it is too old."""
    for pair in device.posture:
        measured = device.measured_of((pair[0],))
        yield pair, -math.inf if measured is None else measured + DEFAULT_MAX_AGE


def _outside(name: str, party: External) -> Any:
    """All that is known of an address outside is the address."""
    known = {"kind": "network", "name": str(party.address), "address": str(party.address)}
    return known.get(name.partition(".")[2], ABSENT) if name.startswith(("subject.", "object.")) else ABSENT


def plain(name: str, value: Any) -> Any:
    """A value as CEL takes it."""
    kind = TYPES[name]
    if kind.startswith("list"):
        return sorted(value)
    if name.endswith(".posture"):
        return {key: had for key, _, had in value}
    if kind.startswith("map"):
        return dict(value)
    return datetime.fromtimestamp(value, timezone.utc) if kind == "timestamp" else value
