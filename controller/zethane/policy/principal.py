"""Who or what acts: a user, a device or a workload, with the attributes that policy selects on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PrincipalKind = Literal["user", "device", "workload"]


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated principal (NIST SP 800-207 §2: subject).

    `labels` is a sorted tuple of pairs, so that principals are hashable. `mfa` tells whether this
    authentication used more than one factor (RFC 8176 `mfa`).
    """

    kind: PrincipalKind
    name: str
    groups: frozenset[str] = field(default_factory=frozenset)
    labels: tuple[tuple[str, str], ...] = ()
    mfa: bool = False
