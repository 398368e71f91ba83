"""Somebody of whom some atoms are true and others are not, or that there can be nobody such.

Everything that a principal can be is looked at one by one: its factor, its level, its device. Between these nothing
excludes anything, so that the answer is exact. An expression is taken for something that may be true or not whatever
else is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from zethane.net.prefix import Address, Prefix
from zethane.policy.atom import Atom, Kind
from zethane.policy.condition import fits
from zethane.policy.principal import Attribute, DeviceFacts

TOP_AAL = 3


@dataclass(frozen=True, slots=True)
class DeviceTraits:
    """A device that has proved itself. `posture` has the value of each attribute, and its age in seconds."""

    labels: tuple[tuple[str, str], ...]
    groups: frozenset[str]
    posture: tuple[tuple[str, Attribute, float], ...]

    def facts(self, now: float) -> DeviceFacts:
        """The device as it is at a moment, in seconds since the epoch."""
        values = tuple((name, value) for name, value, _ in self.posture)
        times = tuple((name, now - age) for name, _, age in self.posture)
        newest = max((moment for _, moment in times), default=None)
        return DeviceFacts("a-device", self.groups, self.labels, values, newest, times)


@dataclass(frozen=True, slots=True)
class Traits:
    """What a principal has proved: `factor_age` is how old its second factor is, in seconds; None: it has none."""

    factor_age: float | None
    aal: int
    device: DeviceTraits | None


def traits(held: Sequence[Atom], lacking: Sequence[Atom]) -> Traits | None:
    """Those of somebody of whom all of `held` and none of `lacking` are true; None if there can be nobody.

    The atoms are of one side. Those about segments, labels, groups and addresses are passed over.
    """
    factor = _factor(held, lacking)
    level = _level(held, lacking)
    device = _device(held, lacking)
    if factor is None or level is None or device is None:
        return None
    return Traits(factor[0], level, device[0])


def _values(atoms: Iterable[Atom], kind: Kind) -> list[Any]:
    return [atom.value for atom in atoms if atom.kind == kind]


def _factor(held: Sequence[Atom], lacking: Sequence[Atom]) -> tuple[float | None] | None:
    """The age of the second factor, in a tuple; None if it is asked for what excludes itself."""
    fresh = _values(held, "within")
    if not fresh and not _values(held, "mfa"):
        return (None,)
    age = max(_values(lacking, "within"), default=0.0)
    impossible = _values(lacking, "mfa") or any(age >= bound for bound in fresh)
    return None if impossible else (age,)


def _level(held: Sequence[Atom], lacking: Sequence[Atom]) -> int | None:
    least = max(_values(held, "aal"), default=0)
    below = min(_values(lacking, "aal"), default=TOP_AAL + 1)
    return None if least >= below else max(least, min(1, below - 1))


_OF_DEVICE: tuple[Kind, ...] = ("device", "device-label", "device-groups", "posture")


def _device(held: Sequence[Atom], lacking: Sequence[Atom]) -> tuple[DeviceTraits | None] | None:
    """The device, in a tuple, with None where none is needed; None if it is asked for what excludes itself."""
    if not any(atom.kind in _OF_DEVICE for atom in held):
        return (None,)
    labels = one_value_each(_values(held, "device-label"))
    groups = one_of_each(_values(held, "device-groups"), _values(lacking, "device-groups"))
    posture = _posture(held, lacking)
    if labels is None or groups is None or posture is None or _values(lacking, "device"):
        return None
    if not labels.isdisjoint(_values(lacking, "device-label")):
        return None
    return (DeviceTraits(tuple(sorted(labels)), groups, posture),)


def one_value_each(labels: Iterable[tuple[str, str]]) -> set[tuple[str, str]] | None:
    """The labels, once; None if one of them has two values."""
    found = set(labels)
    return found if len({name for name, _ in found}) == len(found) else None


def one_of_each(wanted: Iterable[frozenset[str]], without: Iterable[frozenset[str]]) -> frozenset[str] | None:
    """Groups of which one is in each of the wanted sets and none in the others; None if there are none such."""
    closed = frozenset[str]().union(*without)
    chosen = [min(groups - closed, default=None) for groups in wanted]
    return None if None in chosen else frozenset(one for one in chosen if one is not None)


def _posture(held: Sequence[Atom], lacking: Sequence[Atom]) -> tuple[tuple[str, Attribute, float], ...] | None:
    asked: dict[str, tuple[list[tuple[Attribute, float]], list[tuple[Attribute, float]]]] = {}
    for side, atoms in enumerate((held, lacking)):
        for name, _, wanted, age in _values(atoms, "posture"):
            asked.setdefault(name, ([], []))[side].append((wanted, age))
    found = []
    for name, (wanted, unwanted) in sorted(asked.items()):
        if not wanted:
            continue  # an attribute that the device does not have
        bound = min(age for _, age in wanted)
        age = max((age for _, age in unwanted if age < bound), default=0.0)
        against = [value for value, limit in unwanted if limit > age]
        value = _value([value for value, _ in wanted], against)
        if value is None:
            return None
        found.append((name, value, age))
    return tuple(found)


def _value(wanted: Sequence[Attribute], against: Sequence[Attribute]) -> Attribute | None:
    """A value that is as each of the wanted ones asks and as none of the others does."""
    for value in _candidates((*wanted, *against)):
        if all(fits(value, one) for one in wanted) and not any(fits(value, one) for one in against):
            return value
    return None


def _candidates(asked: Iterable[Attribute]) -> Iterator[Attribute]:
    """One value for each way in which a value can be as these ask and not."""
    exact = list(asked)
    for one in exact:
        if isinstance(one, str) and one.startswith(">="):
            # The same version, written otherwise: the text itself may be what must not be.
            yield from (one[2:].strip() + ".0" * zeros for zeros in range(len(exact) + 1))
        else:
            yield one


_ANYWHERE: dict[int, Address] = {4: ip_address("10.0.0.1"), 6: ip_address("2001:db8::1")}
"""Addresses to show where none is asked for."""


def addresses(held: Iterable[Atom], lacking: Iterable[Atom]) -> dict[int, Address]:
    """An address of each IP version that is in all of the networks asked for, and in none of the others."""
    inside, outside = _values(held, "address"), _values(lacking, "address")
    if not inside and not outside:
        return dict(_ANYWHERE)
    named = [prefix for networks in (*inside, *outside) for prefix in networks]
    found: dict[int, Address] = {}
    for address in _edges(named):
        if address.version in found:
            continue
        within_all = all(any(address in prefix for prefix in networks) for networks in inside)
        if within_all and not any(address in prefix for networks in outside for prefix in networks):
            found[address.version] = address
    return found


def _edges(prefixes: Sequence[Prefix]) -> Iterator[Address]:
    """One address of every stretch within which these prefixes say the same; those of hosts before others."""
    yield from _ANYWHERE.values()
    yield from (prefix.network_address + 1 for prefix in prefixes if prefix.num_addresses > 1)
    yield from (prefix.network_address for prefix in prefixes)
    for prefix in prefixes:
        last = prefix.broadcast_address
        if int(last) + 1 < 2**last.max_prefixlen:
            yield last + 1
    yield from (ip_address(0), ip_address("::"))
