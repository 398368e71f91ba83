"""Device posture: what is measured at a device, by whom and when; and what counts of it.

Each reporter's last report stands as a whole, with the moment at which it was measured: what a reporter no longer
says, it no longer vouches for. Where several say something of the same attribute, the newest measurement counts, and
each attribute is as old as the report that it comes from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from zethane.policy.principal import Attribute, DeviceFacts

MAX_ATTRIBUTES = 64
MAX_VALUE = 255
"""Characters of a text."""

MAX_NUMBER = 2**53 - 1
"""The largest number that JSON carries everywhere (RFC 7493 §2.2)."""

MAX_REPORTERS = 16
"""Reporters of one device."""

SKEW = 60.0
"""Seconds that a reporter's clock may be ahead."""

OLDEST = 0.0

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

Attributes = tuple[tuple[str, Attribute], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What one reporter measured at a device. Times are in seconds since the epoch; attributes are sorted by name."""

    device: str
    reporter: str
    measured: float
    received: float
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Posture:
    """The last report of each reporter about one device."""

    device: str
    reports: tuple[Report, ...] = ()

    def of(self, reporter: str) -> Report | None:
        """The last report of one reporter."""
        return next((one for one in self.reports if one.reporter == reporter), None)

    def with_report(self, report: Report) -> Posture:
        """The same with a newer report; the oldest reporters are forgotten where there are too many."""
        others = [one for one in self.reports if one.reporter != report.reporter]
        others.sort(key=lambda one: one.received)
        return Posture(self.device, (*others[-(MAX_REPORTERS - 1) :], report))

    def facts(self) -> DeviceFacts:
        """What counts: of each attribute the newest measurement, and of equally new ones the last that was told."""
        known: dict[str, tuple[float, Attribute]] = {}
        for report in sorted(self.reports, key=lambda one: (one.measured, one.received)):
            known.update({name: (report.measured, value) for name, value in report.attributes})
        return DeviceFacts(
            self.device,
            posture=tuple((name, value) for name, (_, value) in sorted(known.items())),
            measured=max((report.measured for report in self.reports), default=None),
            times=tuple((name, measured) for name, (measured, _) in sorted(known.items())),
        )


def check_attributes(attributes: Mapping[str, object]) -> Attributes:
    """The attributes, sorted. Raises ValueError, which says what was expected and repeats no value."""
    if not 1 <= len(attributes) <= MAX_ATTRIBUTES:
        raise ValueError(f"expected 1 to {MAX_ATTRIBUTES} attributes")
    return tuple((_name(name), _value(name, value)) for name, value in sorted(attributes.items()))


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("expected names of attributes in small letters, digits and _, of at most 63 characters")
    return name


def _value(name: str, value: object) -> Attribute:
    if isinstance(value, str) and len(value) <= MAX_VALUE and value.isprintable():
        return value
    if isinstance(value, bool | int) and abs(value) <= MAX_NUMBER:
        return value
    raise ValueError(f"expected {name} to be true, false, a whole number or a printable text of at most {MAX_VALUE}")
