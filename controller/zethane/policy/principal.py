"""Who or what acts: a user, a device or a workload, with what policy selects on; or an address outside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from zethane.net.prefix import Address

PrincipalKind = Literal["user", "device", "workload", "network", "server"]
"""A network and a server of the infrastructure authenticate nowhere: the words are for the records of flows."""


Attribute = bool | int | str
"""One value of a device's posture."""


DEFAULT_MAX_AGE = 24 * 3600.0
"""Seconds after which a posture that was measured no longer counts, where a rule says nothing else."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """The device that a principal acts from, as it has proved itself, with its posture as last measured.

    `labels`, `posture` and `times` are sorted tuples of pairs. `measured` is when the newest of it was measured, in
    seconds since the epoch (None: never); `times` says when each attribute was, where they differ.
    """

    name: str
    groups: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    posture: tuple[tuple[str, Attribute], ...] = ()
    measured: float | None = None
    times: tuple[tuple[str, float], ...] = ()

    def __eq__(self, other: object) -> bool:
        """Whether the same is known of the same device. To Python 1 and True are equal; as attributes they are not."""
        return self._values() == other._values() if isinstance(other, DeviceFacts) else NotImplemented

    def __hash__(self) -> int:
        """Equal for equal ones."""
        return hash(self._values())

    def _values(self) -> tuple[object, ...]:
        kinds = tuple(type(value) for _, value in self.posture)
        return self.name, self.groups, self.labels, self.posture, kinds, self.measured, self.times

    def measured_of(self, names: Iterable[str]) -> float | None:
        """When the oldest of these attributes was measured; what is not known of it counts as the newest."""
        times = dict(self.times)
        return min((times[name] for name in names if name in times), default=self.measured)


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated principal (NIST SP 800-207 §2: subject).

    `labels` is a sorted tuple of pairs, so that principals are hashable. `mfa` tells whether this authentication used
    more than one factor (RFC 8176 `mfa`), `mfa_at` when that was, in seconds since the epoch. `aal` is the
    authenticator assurance level (NIST SP 800-63B; 0: nothing was proved). `device` is the device that it acts from,
    None unless that has proved itself as well. `address` is the one that a flow of it has; a session may have several,
    so that it is known for a flow, and not for the session (None).
    """

    kind: PrincipalKind
    name: str
    groups: frozenset[str] = field(default_factory=frozenset)
    labels: tuple[tuple[str, str], ...] = ()
    mfa: bool = False
    mfa_at: float | None = None
    aal: int = 1
    device: DeviceFacts | None = None
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class External:
    """An address behind an uplink, where nobody logs in: all that policy can know of it is the address."""

    address: Address

    def __str__(self) -> str:
        return str(self.address)


Party = Principal | External | None
"""One end of a flow. None: it is ours, or claims to be, and is not authenticated."""

Parties = Party | tuple[External, ...]
"""The same for something that may have several addresses outside; it may do what each of them may."""
