"""Conditions: what a rule asks of one end of a flow besides its segment: its proof, its device, itself, its address.

Some come true or cease to be with time alone; `until` says when a condition has to be looked at again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from zethane.document.duration import duration_text
from zethane.net.prefix import Prefix
from zethane.policy.expression import Answer, compiled
from zethane.policy.principal import DEFAULT_MAX_AGE, Attribute, DeviceFacts, Principal

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """All of what it names has to hold; None and empty ask for nothing.

    `mfa` asks for a second factor, or for the lack of one, `mfa_within` for one no older than that many seconds,
    `aal` for at least this assurance level. `device` asks for a device that has proved itself, with all of
    `device_labels` and one of `device_groups`; `posture` for these attributes of it, measured no longer than
    `posture_max_age` seconds ago. `labels` and `groups` are asked of the principal itself, as a segment's are, and
    `networks` of the address that it acts from, which has to be in one of them; `expression` is one in CEL that has
    to be true of it, about it and time alone; where it has no answer, `or_error` counts.
    """

    mfa: bool | None = None
    mfa_within: float | None = None
    aal: int | None = None
    device: bool = False
    device_labels: Pairs = ()
    device_groups: frozenset[str] = frozenset()
    posture: tuple[tuple[str, Attribute], ...] = ()
    posture_max_age: float = DEFAULT_MAX_AGE
    labels: Pairs = ()
    groups: frozenset[str] = frozenset()
    networks: tuple[Prefix, ...] = ()
    expression: str | None = None
    or_error: bool = False
    _key: str | None = field(default=None, init=False, repr=False)

    def __eq__(self, other: object) -> bool:
        """Whether it asks for the same. To Python 1 and True are equal; as attributes of a device they are not."""
        if self is other:
            return True
        return self._values() == other._values() if isinstance(other, Condition) else NotImplemented

    def __hash__(self) -> int:
        """Equal for equal ones."""
        return hash(self._values())

    def _values(self) -> tuple[object, ...]:
        kinds = tuple(type(value) for _, value in self.posture)
        return (*(getattr(self, name) for name in _FIELDS), kinds)

    def __reduce__(self) -> tuple[Callable[..., Condition], tuple[object, ...]]:
        """One that comes from another process is the same object as an equal one that is here."""
        return _known, tuple(getattr(self, name) for name in _FIELDS)

    def __bool__(self) -> bool:
        """Whether it asks for anything."""
        return self is not NOTHING_ASKED and self != NOTHING_ASKED

    @property
    def key(self) -> str:
        """The same text for the same condition, and for no other."""
        if self._key is None:  # asked for again and again
            values = [getattr(self, name) for name in _FIELDS]
            object.__setattr__(self, "_key", json.dumps(values, default=_plain, separators=(",", ":")))
        return str(self._key)

    def holds(self, principal: Principal, now: float) -> bool:
        """Whether it holds for a subject at a moment, in seconds since the epoch."""
        return next(self.unmet(principal, now), None) is None

    def unmet(self, principal: Principal, now: float) -> Iterator[str]:
        """What the subject lacks, in words, one for each part."""
        if self.mfa is not None and principal.mfa is not self.mfa:
            yield "a second factor" if self.mfa else "a proof without a second factor"
        elif self.mfa_within is not None and now >= _plus(principal.mfa_at, self.mfa_within):
            yield f"a second factor not older than {duration_text(self.mfa_within)}"
        if self.aal is not None and principal.aal < self.aal:
            yield f"a proof of assurance level {self.aal}"
        yield from self._unmet_by_device(principal.device, now)
        yield from self._unmet_by_itself(principal)
        answer = self.answer(principal, now)
        if answer is not None and not answer.holds(self.or_error):
            yield str(self.expression)

    def can_be_proved(self, principal: Principal, now: float) -> bool:
        """Whether all that a subject lacks may come with another proof or measurement: not what it is, or where."""
        answer = self.answer(principal, now)
        said = answer is None or answer.holds(self.or_error)
        return said and next(self._unmet_by_itself(principal), None) is None

    def _unmet_by_itself(self, principal: Principal) -> Iterator[str]:
        for label in self.labels:
            if label not in principal.labels:
                yield f"the label {label[0]}={label[1]}"
        if self.groups and self.groups.isdisjoint(principal.groups):
            yield f"the group {' or '.join(sorted(self.groups))}"
        address = principal.address
        if self.networks and (address is None or not any(address in network for network in self.networks)):
            yield f"an address in {' or '.join(map(str, self.networks))}"

    def answer(self, principal: Principal, now: float) -> Answer | None:
        """What the expression says; None where there is none."""
        if self.expression is None:
            return None
        return compiled(self.expression).answer(principal, principal, now)

    def _unmet_by_device(self, device: DeviceFacts | None, now: float) -> Iterator[str]:
        if not (self.device or self.posture):
            return
        if device is None:
            yield "a device that has proved itself"
            return
        for name, value in self.device_labels:
            if (name, value) not in device.labels:
                yield f"a device with {name}={value}"
        if self.device_groups and self.device_groups.isdisjoint(device.groups):
            yield f"a device of group {' or '.join(sorted(self.device_groups))}"
        if not self.posture:
            return
        if now >= _plus(self._measured(device), self.posture_max_age):
            yield f"a device whose posture was measured in the last {duration_text(self.posture_max_age)}"
            return
        known = dict(device.posture)
        for name, wanted in self.posture:
            if name not in known or not fits(known[name], wanted):
                yield f"a device with {attribute_text(name, wanted)}"

    def until(self, principal: Principal, now: float) -> float:
        """The first moment after `now` at which it may cease to hold by time alone; infinity if there is none."""
        device, answer = principal.device, self.answer(principal, now)
        moments = (
            math.inf if answer is None else answer.until,
            _plus(principal.mfa_at, self.mfa_within) if self.mfa_within is not None else math.inf,
            _plus(self._measured(device), self.posture_max_age) if self.posture and device is not None else math.inf,
        )
        return min((moment for moment in moments if moment > now), default=math.inf)

    def _measured(self, device: DeviceFacts) -> float | None:
        """When what it asks for was measured."""
        return device.measured_of(name for name, _ in self.posture)

    def __str__(self) -> str:
        parts = []
        if self.mfa_within is not None:
            parts.append(f"mfa within {duration_text(self.mfa_within)}")
        elif self.mfa is not None:
            parts.append("mfa" if self.mfa else "no mfa")
        if self.aal is not None:
            parts.append(f"aal {self.aal}")
        labels = [f"{name}={value}" for name, value in self.device_labels]
        groups = [f"group {' or '.join(sorted(self.device_groups))}"] if self.device_groups else []
        if self.device:
            parts.append("device " + " and ".join((*labels, *groups)) if labels or groups else "a device")
        if self.posture:
            wanted = " and ".join(attribute_text(name, value) for name, value in self.posture)
            parts.append(f"posture {wanted} within {duration_text(self.posture_max_age)}")
        parts.extend(f"{name}={value}" for name, value in self.labels)
        if self.groups:
            parts.append(f"group {' or '.join(sorted(self.groups))}")
        if self.networks:
            parts.append(f"address in {' or '.join(map(str, self.networks))}")
        if self.expression is not None:
            parts.append(self.expression)
        return ", ".join(parts)


_FIELDS = tuple(one.name for one in fields(Condition) if one.init)

NOTHING_ASKED = Condition()


def _known(*values: Any) -> Condition:
    return the_same(Condition(*values))


@lru_cache(maxsize=4096)
def the_same(condition: Condition) -> Condition:
    """One object for conditions that are equal: they are held against one another by the thousand."""
    return condition or NOTHING_ASKED


def _plain(value: object) -> object:
    """What JSON has no word for: sets, sorted, and prefixes as text."""
    return sorted(value) if isinstance(value, frozenset) else str(value)


def fits(value: Attribute, wanted: Attribute) -> bool:
    """Whether an attribute is as it should be: equal, or at least the version in `>=12.5`."""
    if isinstance(wanted, str) and wanted.startswith(">="):
        have, least = version(str(value)), version(wanted[2:])
        return have is not None and least is not None and have >= least
    return type(value) is type(wanted) and value == wanted


MAX_VERSION = 64


def version(text: str) -> tuple[int, ...] | None:
    """Numbers with dots between them, compared number by number; None for anything else."""
    parts = text.strip().split(".")
    if len(text) > MAX_VERSION or not all(part.isascii() and part.isdecimal() for part in parts):
        return None
    numbers = [int(part) for part in parts]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def attribute_text(name: str, wanted: Attribute) -> str:
    """`disk_encrypted=true`, `os_version>=12.5`."""
    if isinstance(wanted, bool):
        return f"{name}={'true' if wanted else 'false'}"
    return f"{name}{wanted}" if isinstance(wanted, str) and wanted.startswith(">=") else f"{name}={wanted}"


def _plus(moment: float | None, length: float) -> float:
    """The end of a length of time; without a beginning it is over already."""
    return -math.inf if moment is None else moment + length
